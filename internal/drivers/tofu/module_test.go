package tofu

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func tree(files map[string]string) fstest.MapFS {
	fs := fstest.MapFS{}
	for name, text := range files {
		fs[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return fs
}

func TestFollow(t *testing.T) {
	fs := tree(map[string]string{
		"live/net/main.tf":       "module \"a\" {\n  source = \"../../modules/a\"\n}\nmodule \"r\" {\n  source = \"acme/vpc/aws\"\n}\nmodule \"in\" {\n  source = \"./sub\"\n}\n",
		"live/net/sub/x.tf":      "resource \"null_resource\" \"x\" {}\n",
		"modules/a/main.tf":      "module \"b\" {\n  source = \"../b\"\n}\n",
		"modules/b/main.tf.json": `{"resource": {"t_x": {"y": {}}}, "module": {"c": {"source": "../missing"}}}`,
		"vars/prod.tfvars":       "x = 1\n",
	})
	d := New().(driver.Follower)
	got, err := d.Follow(context.Background(), driver.Input{Tree: fs, Path: "live/net", Spec: &Spec{VarFiles: []string{"../../vars/prod.tfvars"}}})
	if want := []string{"modules/a", "modules/b", "modules/missing", "vars/prod.tfvars"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	p, err := New().Prepare(context.Background(), driver.Input{Tree: fs, Path: "live/net", Spec: &Spec{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "modules/b/main.tf.json") {
		t.Errorf("a missing module gives %v", err)
	}
	r := p.State.(*root)
	for address, file := range map[string]string{"module.a.module.b.t_x.y[0]": "modules/b/main.tf.json", "module.r.aws_vpc.v": "live/net/main.tf",
		`module.in["a.b"].null_resource.x`: "live/net/sub/x.tf"} {
		if at := r.sourceOf(address); at.File != file {
			t.Errorf("%s stands in %v", address, at)
		}
	}
}

func TestPrepareNamesPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"syntax":  {map[string]string{"n/main.tf": "resource \"a_b\" \"c\" {\n  x = \n}\n"}, "n/main.tf:2"},
		"empty":   {map[string]string{"n/readme": "x"}, "holds no resources"},
		"nowhere": {map[string]string{"m/main.tf": ""}, `no directory "n"`},
		"outside": {map[string]string{"n/main.tf": "module \"a\" {\n  source = \"../../x\"\n}\n"}, "leads out of the repository"},
		"circle":  {map[string]string{"n/main.tf": "module \"a\" {\n  source = \"../m\"\n}\n", "m/main.tf": "module \"a\" {\n  source = \"../m\"\n}\n"}, "in a circle"},
		"values":  {map[string]string{"n/main.tf": "output \"x\" {\n  value = 1\n}\n"}, `declares no variable "lb"`},
	} {
		in := driver.Input{Tree: tree(c.files), Path: "n", Spec: &Spec{}, Values: map[string]plan.Output{"lb": {}}}
		p, err := New().Prepare(context.Background(), in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := p.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnectAndSpecNameFields(t *testing.T) {
	for _, c := range []struct {
		v    driver.Validator
		want string
	}{
		{&Connect{Env: map[string]string{"TF_LOG": "x"}}, `env["TF_LOG"]`},
		{&Connect{Env: map[string]string{"TF_CLI_ARGS_plan": "x"}}, `env["TF_CLI_ARGS_plan"]`},
		{&Connect{Env: map[string]string{"a b": "x"}}, `env["a b"]`},
		{&Connect{LockFile: "no"}, "lockFile"},
		{&Connect{Parallelism: -1}, "parallelism"},
		{&Connect{Checks: []Check{{Name: "x"}}}, "checks[0]"},
		{&Connect{Mirrors: Mirrors{Network: "http://x"}}, "mirrors.network"},
		{&Spec{Version: "newest"}, "version"},
		{&Spec{VarFiles: []string{"/etc/passwd"}}, "varFiles[0]"},
		{&Spec{VarFiles: []string{"x.yaml"}}, "varFiles[0]"},
		{&Spec{Workspace: "../x"}, "workspace"},
		{&Spec{RefreshOnly: true, NoRefresh: true}, "noRefresh"},
	} {
		d := c.v.Validate()
		if len(d) != 1 || d[0].Field != c.want {
			t.Errorf("%+v: %v", c.v, d)
		}
	}
}

func TestScope(t *testing.T) {
	s := &Scope{Types: []string{"aws_*"}, Addresses: []string{"module.web[0].**"}}
	for address, want := range map[string]bool{"module.web[0].aws_vpc.x": true, "module.web[1].aws_vpc.x": false, "aws_vpc.x": false} {
		if got := s.Contains(plan.Key{Address: plan.Address(address)}, "aws_vpc"); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if s.Contains(plan.Key{Address: "module.web[0].google_x.x"}, "google_x") || !s.Contains(plan.Key{Address: "output.x"}, kindOutput) {
		t.Error("types or outputs")
	}
}

func FuzzModule(f *testing.F) {
	f.Add("resource \"a\" \"b\" {}\nmodule \"m\" {\n  source = \"../x\"\n}\n")
	f.Add("terraform {\n  backend \"s3\" {}\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		in := driver.Input{Tree: tree(map[string]string{"n/main.tf": text, "n/b.tf.json": text}), Path: "n", Spec: &Spec{}}
		p, err := New().Prepare(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range p.Desired {
			if d.Address == "" {
				t.Error("an empty address")
			}
		}
	})
}

func TestScrub(t *testing.T) {
	s := newScrubber([]string{"hunter22", "pass\"word", "hunter2233"})
	for in, want := range map[string]string{"a hunter2233 b": "a *** b", `{"x":"pass\"word"}`: `{"x":"***"}`, "plain": "plain"} {
		if got := s.text(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
