//go:build real

package tofu_test

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/tofu"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// pack makes a mirror of archives, which have to be unpacked somewhere.
func pack(t *testing.T, mirror string) string {
	t.Helper()
	dir := t.TempDir()
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		arch := runtime.GOOS + "_" + runtime.GOARCH
		body, err := os.ReadFile(filepath.Join(mirror, host, "trueup", "things", "1.0.0", arch, "terraform-provider-things_v1.0.0"))
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, host, "trueup", "things")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(at, "terraform-provider-things_1.0.0_"+arch+".zip"))
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		h := &zip.FileHeader{Name: "terraform-provider-things_v1.0.0", Method: zip.Store}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(body)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return dir
}

func TestTenRootsWithOnePluginStore(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.connect.Mirrors.Filesystem = pack(t, r.connect.Mirrors.Filesystem)
		r.main("resource \"things_thing\" \"a\" {\n  name  = terraform.workspace\n  value = \"v\"\n}\n")
		r.plan()
		locks, _ := filepath.Glob(filepath.Join(r.connect.Cache, "targets", "*", "lock.hcl"))
		if len(locks) != 1 {
			t.Fatal(locks)
		}
		lock, err := os.ReadFile(locks[0])
		if err != nil {
			t.Fatal(err)
		}
		r.file("net/.terraform.lock.hcl", string(lock))
		if err := os.RemoveAll(r.connect.Cache); err != nil {
			t.Fatal(err)
		}
		s := r.open()
		var mu sync.Mutex
		var errs []error
		forEach(10, func(i int) {
			in := r.input()
			in.Target, in.Spec = fmt.Sprintf("infra/root%d", i), &tofu.Spec{Workspace: fmt.Sprintf("w%d", i)}
			p, err := s.Plan(context.Background(), in)
			if err == nil {
				inner := &rig{t: t, target: in.Target}
				err = inner.applyIn(s, in, p)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
		})
		for _, err := range errs {
			t.Error(err)
		}
		if n := len(r.there()); n != 10 {
			t.Errorf("on the server are %d things", n)
		}
		packages := map[string]bool{}
		leaves, _ := filepath.Glob(filepath.Join(r.connect.Cache, "targets", "*", "data", "providers", "*", "trueup", "things", "1.0.0", "*"))
		for _, l := range leaves {
			to, err := os.Readlink(l)
			if err != nil {
				t.Fatal(err)
			}
			packages[to] = true
		}
		if len(leaves) != 10 || len(packages) != 1 {
			t.Errorf("%d roots use %d packages: %v", len(leaves), len(packages), packages)
		}
		if left, _ := filepath.Glob(filepath.Join(r.connect.Cache, "plugins", "staging-*")); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	})
}

func TestSecretsShowNowhere(t *testing.T) {
	const variable, value, marked = "canary-variable-9a", "canary-value-3c", "canary-marked-1d"
	t.Setenv("TRUEUP_TEST_CANARY", "canary-of-trueups-own-environment")
	both(t, func(t *testing.T, r *rig) {
		r.secrets["env:VAR"] = variable
		r.connect.Variables = map[string]secret.Ref{"password": "env:VAR", "undeclared": "env:VAR"}
		r.values = map[string]plan.Output{"upstream": {Value: []byte(`"` + value + `"`), Sensitive: true}}
		r.main("variable \"password\" {}\nvariable \"upstream\" {}\n" +
			"resource \"things_thing\" \"a\" {\n  name   = \"alpha\"\n  value  = \"user:${var.password}\"\n  secret = \"" + marked + "\"\n}\n" +
			"resource \"things_thing\" \"b\" {\n  name  = \"beta\"\n  value = var.upstream\n}\n" +
			"resource \"terraform_data\" \"env\" {\n  provisioner \"local-exec\" {\n    command = \"env > " + filepath.Join(r.dir, "environment") + "\"\n  }\n}\n" +
			"output \"leak\" {\n  value = nonsensitive(sensitive(var.upstream))\n}\n")
		p := r.plan()
		if err := p.Mask(nil); err != nil {
			t.Fatal(err)
		}
		shown := *p
		shown.Artefact = nil
		text := fmt.Sprintf("%+v", shown)
		for _, c := range shown.Changes {
			text += string(c.Before) + string(c.After)
		}
		for name, o := range shown.Outputs {
			text += name + string(o.Value)
		}
		mend := r.things.Block("beta")
		if err := r.applyWith(context.Background(), p); err != nil {
			text += err.Error()
		}
		mend()
		text += r.journal.Log() + fmt.Sprintf("%+v", r.journal.Results())
		for k, o := range r.inv {
			text += fmt.Sprintf("%s %+v %s", k, o, o.LastApplied)
		}
		for _, canary := range []string{canaryToken, variable, value, marked} {
			if strings.Contains(text, canary) {
				t.Errorf("%s shows up in\n%s", canary, text)
			}
		}
		env, err := os.ReadFile(filepath.Join(r.dir, "environment"))
		if err != nil {
			t.Fatal(err)
		}
		allowed := map[string]bool{"PATH": true, "LANG": true, "HOME": true, "TMPDIR": true, "THINGS_URL": true, "THINGS_TOKEN": true, "PWD": true,
			"SHLVL": true, "_": true, "OLDPWD": true, "GIT_TERMINAL_PROMPT": true, "CHECKPOINT_DISABLE": true, "TF_VAR_password": true}
		for line := range strings.Lines(string(env)) {
			name, _, ok := strings.Cut(line, "=")
			if ok && !allowed[name] && !strings.HasPrefix(name, "TF_IN") && name != "TF_CLI_CONFIG_FILE" && name != "TF_DATA_DIR" {
				t.Errorf("the program's environment has %s", name)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(r.connect.Cache, "targets", "*", "secrets")); len(left) > 0 {
			t.Errorf("secrets are left in %v", left)
		}
	})
}

func TestChecks(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		script := filepath.Join(r.dir, "check")
		text := "#!/bin/sh\nif grep -q forbidden; then echo 'no forbidden things'; exit 1; fi\necho 'about 3 EUR a month'\n[ -z \"$THINGS_TOKEN\" ]\n"
		if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		r.connect.Checks = []tofu.Check{{Name: "cost", Run: []string{script}}}
		if p := r.plan(); len(p.Warnings) != 1 || p.Warnings[0].Message != "about 3 EUR a month" {
			t.Errorf("%v", p.Warnings)
		}
		r.main(thing("a", "alpha", "forbidden"))
		if _, err := r.tryPlan(); !driver.IsPermanent(err) || !strings.Contains(err.Error(), "no forbidden things") {
			t.Errorf("a refusal gives %v", err)
		}
	})
}

func TestVersionVariablesAndMistakes(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main("variable \"size\" { type = number }\nvariable \"zone\" {}\n" + thing("a", "alpha", "${var.size} ${var.zone}"))
		r.file("net/prod.tfvars", "size = 2\nzone = \"file\"\n")
		r.spec.VarFiles, r.spec.Variables = []string{"prod.tfvars"}, map[string]any{"size": 3}
		r.values = map[string]plan.Output{"zone": {Value: []byte(`"eu"`)}}
		r.apply()
		if r.there()["alpha"] != "3 eu" {
			t.Errorf("on the server is %v", r.there())
		}
		r.values["zone"] = plan.Output{Unknown: true}
		if _, err := r.tryPlan(); err == nil || driver.IsPermanent(err) || !strings.Contains(err.Error(), "zone is not known yet") {
			t.Errorf("an unknown value gives %v", err)
		}
		r.values = nil
		r.spec.Version = "< 1.0"
		if _, err := r.tryPlan(); !driver.IsPermanent(err) || !strings.Contains(err.Error(), "asks for < 1.0") {
			t.Errorf("another version gives %v", err)
		}
		r.spec.Version = ">= 1.5"
		r.main("variable \"size\" { type = number }\nvariable \"zone\" {}\n" + thing("a", "alpha", "${var.sise}"))
		_, err := r.tryPlan()
		if err == nil || !strings.Contains(err.Error(), "net/main.tf:10:") {
			t.Errorf("a mistake does not name its place: %v", err)
		}
		r.connect.Backend.LocalState = ""
		if _, err := r.tryPlan(); !driver.IsPermanent(err) || !strings.Contains(err.Error(), "localState") {
			t.Errorf("a root without a backend gives %v", err)
		}
	})
}
