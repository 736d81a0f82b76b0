package files_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

// world is a directory on the real file system.
type world struct{ root string }

func newWorld(t testing.TB) drivertest.World { return &world{root: t.TempDir()} }

func (w *world) Environment() driver.Environment {
	return driver.Environment{Name: "dir", Connect: &files.Connect{Root: w.root}}
}

func (w *world) Set(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.root, name), []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) Unset(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(w.root, name)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) List(t testing.TB) drivertest.Objects {
	t.Helper()
	out := drivertest.Objects{}
	err := filepath.WalkDir(w.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(w.root, p)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// MakeUnreadable takes the directory away, as a disk that is not mounted.
func (w *world) MakeUnreadable(t testing.TB) func() {
	t.Helper()
	away := w.root + ".away"
	if err := os.Rename(w.root, away); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(away, w.root); err != nil {
			t.Fatal(err)
		}
	}
}

func desired(_ testing.TB, want drivertest.Objects) driver.Input {
	tree := fstest.MapFS{"dir": {Mode: fs.ModeDir | 0o755}}
	for name, value := range want {
		tree["dir/"+name] = &fstest.MapFile{Data: []byte(value), Mode: 0o644}
	}
	return driver.Input{Tree: tree, Path: "dir", Spec: &files.Spec{}, Scope: &files.Scope{}}
}

func secretInput(_ testing.TB, canary string) driver.Input {
	return driver.Input{Path: "dir", Spec: &files.Spec{Sensitive: []string{"secrets/**"}, Templates: []string{"*.conf"}},
		Tree: fstest.MapFS{
			"dir/secrets/key": {Data: []byte(canary)},
			"dir/app.conf":    {Data: []byte("password = {{ .password }}\n")},
		},
		Values: map[string]plan.Output{"password": {Value: []byte(`"` + canary + `"`), Sensitive: true}}}
}

func bad() []drivertest.BadInput {
	spec := func(s files.Spec) driver.Input {
		in := desired(nil, drivertest.Objects{"one": "v1"})
		in.Spec = &s
		return in
	}
	outside := desired(nil, drivertest.Objects{"one": "v1"})
	outside.Scope = &files.Scope{Files: []string{"elsewhere/**"}}
	temp := desired(nil, drivertest.Objects{".trueup-x": "v1"})
	template := desired(nil, drivertest.Objects{"t": "{{ .a"})
	template.Spec = &files.Spec{Templates: []string{"t"}}
	return []drivertest.BadInput{
		{Name: "mode", Input: spec(files.Spec{Modes: map[string]string{"*": "rw"}}), Field: `modes["*"]`},
		{Name: "setuid", Input: spec(files.Spec{Modes: map[string]string{"*": "4755"}}), Field: `modes["*"]`},
		{Name: "owner", Input: spec(files.Spec{Owners: map[string]string{"*": "root"}}), Field: `owners["*"]`},
		{Name: "glob", Input: spec(files.Spec{Ignore: []string{"a", "[z"}}), Field: "ignore[1]"},
		{Name: "up", Input: spec(files.Spec{Sensitive: []string{"../x"}}), Field: "sensitive[0]"},
		{Name: "dirMode", Input: spec(files.Spec{DirMode: "1777"}), Field: "dirMode"},
		{Name: "ownership", Input: spec(files.Spec{Ownership: "all"}), Field: "ownership"},
		{Name: "scope", Input: outside, Field: "scope", File: "dir/one"},
		{Name: "temporary name", Input: temp, File: "dir/.trueup-x"},
		{Name: "template", Input: template, Field: "templates", File: "dir/t", Line: 1},
	}
}

func harness() drivertest.Harness {
	return drivertest.Harness{
		Driver: files.New(), New: newWorld, Input: desired, SecretInput: secretInput, Bad: bad(),
		Key: func(name string) plan.Key { return plan.Key{Address: plan.Address(name)} },
		OptOut: map[string]string{
			"TruncatedReadPlansNoDelete":   "a directory is read through the kernel, which gives all of it or an error",
			"PartialFailureKeepsOwnership": "refusing writes to one file takes root: TestConformanceAsRoot, with -tags real",
		},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness()) }
