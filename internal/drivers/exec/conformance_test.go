package exec_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

const canary = "canary-of-the-connection-51"

// dirtool writes the example of the documentation as a program.
func dirtool(t testing.TB) string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/drivers/exec.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```sh\n")
	text, _, end := strings.Cut(rest, "```\n")
	if !ok || !end {
		t.Fatal("the documentation has no example in shell")
	}
	path := filepath.Join(t.TempDir(), "dirtool")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// world is a directory that dirtool keeps.
type world struct {
	dir     string
	connect *exec.Connect
}

func newWorld(t testing.TB) *world {
	tool := dirtool(t)
	w := &world{dir: filepath.Join(t.TempDir(), "dir")}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.connect = &exec.Connect{Plan: []string{tool, "plan", w.dir}, Apply: []string{tool, "apply", w.dir}, Destroy: []string{tool, "destroy", w.dir},
		Selective: true, Secrets: map[string]secret.Ref{"TOKEN": "mem:token"}}
	return w
}

func (w *world) Environment() driver.Environment {
	c := *w.connect
	return environment(&c)
}

func environment(c *exec.Connect) driver.Environment {
	return driver.Environment{Name: "folder", Connect: c, HashKey: []byte("0123456789abcdef"),
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(canary), nil }}
}

func (w *world) Set(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) Unset(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) List(t testing.TB) drivertest.Objects {
	t.Helper()
	out := drivertest.Objects{}
	list, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(w.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// MakeUnreadable takes the directory away.
func (w *world) MakeUnreadable(t testing.TB) func() {
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(w.dir, w.dir+".away")
	return func() { move(w.dir+".away", w.dir) }
}

// TruncateReads cuts what the plan command prints.
func (w *world) TruncateReads(testing.TB) func() {
	was := w.connect.Plan
	w.connect.Plan = append([]string{"/bin/sh", "-c", `"$@" | head -c 40`, "sh"}, was...)
	return func() { w.connect.Plan = was }
}

// Block puts a directory in the object's place.
func (w *world) Block(t testing.TB, name string) func() {
	t.Helper()
	path := filepath.Join(w.dir, name)
	w.Unset(t, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func desired(_ testing.TB, want drivertest.Objects) driver.Input {
	tree := fstest.MapFS{"dir": {Mode: os.ModeDir | 0o755}}
	for name, value := range want {
		tree["dir/"+name] = &fstest.MapFile{Data: []byte(value), Mode: 0o644}
	}
	return driver.Input{Tree: tree, Path: "dir", Spec: &exec.Spec{}, Scope: &exec.Scope{}}
}

func bad() []drivertest.BadInput {
	spec := func(s exec.Spec) driver.Input {
		in := desired(nil, drivertest.Objects{"one": "v1"})
		in.Spec = &s
		return in
	}
	empty := desired(nil, drivertest.Objects{})
	return []drivertest.BadInput{
		{Name: "entry outside", Input: spec(exec.Spec{Entry: "../x"}), Field: "entry"},
		{Name: "entry missing", Input: spec(exec.Spec{Entry: "x"}), Field: "entry"},
		{Name: "value", Input: spec(exec.Spec{Values: map[string]any{"a-b": 1}}), Field: "values.a-b"},
		{Name: "empty", Input: empty, Field: "path", File: "dir"},
	}
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Driver: exec.New(), New: func(t testing.TB) drivertest.World { return newWorld(t) },
		Input: desired, Bad: bad(), Canaries: []string{canary},
		Key: func(name string) plan.Key { return plan.Key{Address: plan.Address(name)} },
		OptOut: map[string]string{
			"PrepareReadsTheSnapshotAlone": "what is desired object by object is known only by running the tool",
			"RenameIsARename":              "renames are the tool's business",
		}})
}
