package files_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

func TestKindsModesAndDirectories(t *testing.T) {
	r := newRig(t)
	r.sync(map[string]string{"a/b/c.txt": "hello", "run*": "#!/bin/sh\n", "a/link@": "b/c.txt"})
	r.mode("a/b/c.txt", 0o644)
	r.mode("run", 0o755)
	r.mode("a/b", 0o755)
	if r.read("a/link") != "hello" {
		t.Error("the link leads elsewhere")
	}
	for _, name := range []string{"a", "a/b", "a/b/c.txt", "a/link", "run"} {
		if _, ok := r.inv[plan.Key{Address: plan.Address(name)}]; !ok {
			t.Errorf("%s is not owned", name)
		}
	}
	// A file becomes a link, a link a file, a file a directory, and back.
	r.sync(map[string]string{"a/b/c.txt@": "../../run", "run/x": "1", "a/link": "file"})
	r.sync(map[string]string{"a": "now a file", "run*": "#!/bin/sh\n"})
	if r.read("a") != "now a file" {
		t.Error("a is no file")
	}
	r.clean()
}

func TestUnknownOwner(t *testing.T) {
	r := newRig(t)
	r.spec.Owners = map[string]string{"**": "no-such-user:root"}
	if _, err := r.session().Plan(t.Context(), r.input(map[string]string{"a": "1"})); err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("an unknown user gives %v", err)
	}
}

// TestDirectoriesOfOthers: a directory that was there before, or that others
// use meanwhile, stays.
func TestDirectoriesOfOthers(t *testing.T) {
	r := newRig(t)
	r.must(os.Mkdir(r.path("theirs"), 0o700))
	r.sync(map[string]string{"theirs/a": "1", "ours/deep/b": "2", "shared/c": "3", "keep": "4"})
	r.mode("theirs", 0o700)
	r.write("shared/stranger", "x")
	r.sync(map[string]string{"keep": "4"})
	r.gone("theirs/a")
	r.gone("ours")
	r.gone("shared/c")
	if r.read("shared/stranger") != "x" {
		t.Error("the stranger was touched")
	}
	if _, err := os.Stat(r.path("theirs")); err != nil {
		t.Error(err)
	}
	if len(r.inv) != 1 {
		t.Errorf("still owned: %v", r.inv)
	}
}

func TestTreeOwnership(t *testing.T) {
	r := newRig(t)
	r.spec = files.Spec{Ownership: files.OwnTree, Ignore: []string{"cache/**", "**/*.log"}}
	r.write("stranger/deep/x", "1")
	r.write("cache/y", "2")
	r.write("app.log", "3")
	r.write("used/deep/by.log", "4")
	r.write("used/x", "5")
	r.sync(map[string]string{"a": "1", "d/b": "2"})
	r.gone("stranger")
	r.gone("used/x")
	if r.read("used/deep/by.log") != "4" {
		t.Error("a directory with ignored files was removed")
	}
	if r.read("cache/y") != "2" || r.read("app.log") != "3" {
		t.Error("ignored files were touched")
	}
	r.write("d/z", "late")
	p := r.plan(map[string]string{"a": "1", "d/b": "2"})
	if c := r.change(p, "d/z"); c.Action != plan.Delete || c.Reason != plan.ByDrift {
		t.Errorf("%+v", c)
	}
	r.sync(map[string]string{"a": "1", "d/b": "2"})
	r.gone("d/z")
	r.write("d/theirs", "x")
	r.in.Mode = plan.Destroy
	if _, err := r.try(nil); err != nil {
		t.Fatal(err)
	}
	r.gone("a")
	r.gone("d/b")
	if r.read("d/theirs") != "x" || len(r.inv) != 0 {
		t.Errorf("destroy took what was not owned, or left: %v", r.inv)
	}
}

func TestTreeWithinAScope(t *testing.T) {
	r := newRig(t)
	r.spec.Ownership = files.OwnTree
	r.in.Scope = &files.Scope{Files: []string{"/web/**"}}
	r.write("db/x", "1")
	r.write("web/old", "1")
	r.sync(map[string]string{"web/new": "1"})
	r.gone("web/old")
	if r.read("db/x") != "1" {
		t.Error("a file outside the scope was touched")
	}
}

func TestTemplates(t *testing.T) {
	r := newRig(t)
	r.spec.Templates = []string{"*.conf"}
	want := map[string]string{"a.conf": "listen {{ .ip }}{{ range .hosts }} {{ .name }}@{{ $.ip }}{{ end }}\n", "b.txt": "{{ .raw }}"}
	prep, err := files.New().Prepare(t.Context(), r.input(want))
	r.must(err)
	if got := strings.Join(prep.Values, ","); got != "hosts,ip" || prep.Diagnostics.Err() != nil {
		t.Errorf("values %q, %v", got, prep.Diagnostics)
	}
	r.in.Values = map[string]plan.Output{"ip": {Unknown: true}, "hosts": {Value: json.RawMessage(`[{"name":"w1"},{"name":"w2"}]`)}}
	p := r.plan(want)
	if c := r.change(p, "a.conf"); len(c.Unknown) != 1 || !strings.Contains(string(c.After), "known after") {
		t.Errorf("an unknown value shows as %s", c.After)
	}
	if _, err := r.try(want); err == nil {
		t.Error("a file with an unknown value was written")
	}
	r.in.Values["ip"] = plan.Output{Value: json.RawMessage(`"192.0.2.1"`)}
	r.sync(want)
	if r.read("a.conf") != "listen 192.0.2.1 w1@192.0.2.1 w2@192.0.2.1\n" || r.read("b.txt") != "{{ .raw }}" {
		t.Errorf("rendered: %q, %q", r.read("a.conf"), r.read("b.txt"))
	}
	for name, text := range map[string]string{"missing value": "{{ .nope }}", "endless": "{{ range 1000000000 }}{{ end }}",
		"recursion": `{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`, "all values": "{{ . }}"} {
		prep, err := files.New().Prepare(t.Context(), r.input(map[string]string{"a.conf": text}))
		if err != nil || prep.Diagnostics.Err() == nil {
			t.Errorf("%s is not refused: %v", name, err)
		}
	}
}

// TestContentInPlans: text as text, much or binary content as a sum, and
// nothing of files that are not ours.
func TestContentInPlans(t *testing.T) {
	r := newRig(t)
	p := r.plan(map[string]string{"text": "line\n", "big": strings.Repeat("x", 100_000), "binary": "\xff\x00"})
	for name, part := range map[string]string{"text": `"content":"line\n"`, "big": `"sha256"`, "binary": `"sha256"`} {
		if c := r.change(p, name); !strings.Contains(string(c.After), part) {
			t.Errorf("%s shows as %s", name, c.After)
		}
	}
	r.write("shadow", "root:secret-hash")
	p = r.plan(map[string]string{"shadow": "guess"})
	r.must(p.Mask(nil))
	raw, err := json.Marshal(p)
	r.must(err)
	if strings.Contains(string(raw), "secret-hash") {
		t.Errorf("a plan shows the content of a file that is not ours: %s", raw)
	}
	if c := r.change(p, "shadow"); c.Conflict == "" {
		t.Error("it is not held")
	}
}

func TestHashKey(t *testing.T) {
	r := newRig(t)
	base := func() string { return r.plan(map[string]string{"a": "1"}).Scopes[0].Base["a"] }
	r.write("a", "2")
	plain := base()
	r.key = []byte("k")
	if keyed := base(); keyed == plain || keyed != base() {
		t.Error("the key does not go into hashes, or they are not stable")
	}
}

func TestRealmIsTheDirectory(t *testing.T) {
	r := newRig(t)
	want := map[string]string{"a": "1"}
	one := r.plan(want).Scopes[0].Realm
	link := t.TempDir() + "/other-name"
	r.must(os.Symlink(r.root, link))
	real := r.root
	r.root = link
	if two := r.plan(want).Scopes[0].Realm; one != two || one == "" {
		t.Errorf("two names for one directory have realms %q and %q", one, two)
	}
	r.root = t.TempDir()
	if other := r.plan(want).Scopes[0].Realm; other == one {
		t.Error("two directories have one realm")
	}
	r.root = real
}

func TestMissingRootIsNoEmptyRoot(t *testing.T) {
	_, err := files.New().Open(t.Context(), driver.Environment{Name: "dir", Connect: &files.Connect{Root: t.TempDir() + "/none"}}, driver.Read)
	if err == nil || driver.IsPermanent(err) {
		t.Errorf("a missing root gives %v, it should be tried again", err)
	}
}

func TestReadSessionDoesNotWrite(t *testing.T) {
	r := newRig(t)
	s, err := files.New().Open(t.Context(), driver.Environment{Connect: &files.Connect{Root: r.root}}, driver.Read)
	r.must(err)
	defer s.Close()
	p := r.plan(map[string]string{"a": "1"})
	if err := s.Apply(t.Context(), r.input(map[string]string{"a": "1"}), p, nil); err == nil {
		t.Error("a session opened to read writes")
	}
	r.gone("a")
}

func TestImportKeepsModes(t *testing.T) {
	r := newRig(t)
	r.write("conf/a[1]", "x")
	r.must(os.Chmod(r.path("conf/a[1]"), 0o600))
	r.must(os.Symlink("a", r.path("conf/l")))
	in := r.input(map[string]string{"conf/x": "1"})
	got, err := r.session().(driver.Importer).Import(t.Context(), in, []string{"conf/**"})
	r.must(err)
	if string(got.Files["src/conf/a[1]"]) != "x" || len(got.Warnings) != 1 {
		t.Errorf("%v %v", got.Files, got.Warnings)
	}
	r.spec = *got.Spec.(*files.Spec)
	if p := r.plan(map[string]string{"conf/a[1]": "x"}); p.Writes() {
		t.Errorf("%+v", p.Changes)
	}
}
