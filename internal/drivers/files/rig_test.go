package files_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

// rig is a directory and one target that owns files in it.
type rig struct {
	*testing.T
	root string
	inv  driver.Inventory
	spec files.Spec
	in   driver.Input // extras: Values, Scope, Mode, Previously
	key  []byte
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{T: t, root: t.TempDir(), inv: driver.Inventory{}}
}

// tree makes a snapshot: "name": content, "name@": link target, "name*":
// content of an executable.
func tree(want map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, content := range want {
		f := &fstest.MapFile{Data: []byte(content), Mode: 0o644}
		switch {
		case strings.HasSuffix(name, "@"):
			f.Mode = fs.ModeSymlink | 0o777
		case strings.HasSuffix(name, "*"):
			f.Mode = 0o755
		}
		m["src/"+strings.TrimRight(name, "@*")] = f
	}
	return m
}

func (r *rig) input(want map[string]string) driver.Input {
	in := r.in
	spec := r.spec
	in.Target, in.Path, in.Tree, in.Spec, in.Inventory = "t", "src", tree(want), &spec, maps.Clone(r.inv)
	in.Now = time.Now()
	if in.Mode == "" {
		in.Mode = plan.Apply
	}
	return in
}

func (r *rig) session() driver.Session {
	r.Helper()
	s, err := files.New().Open(r.Context(), driver.Environment{Name: "dir", Connect: &files.Connect{Root: r.root}, HashKey: r.key}, driver.Write)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { s.Close() })
	return s
}

func (r *rig) plan(want map[string]string) *plan.Plan {
	r.Helper()
	p, err := r.session().Plan(r.Context(), r.input(want))
	if err != nil {
		r.Fatalf("plan: %v", err)
	}
	return p
}

// try plans and applies and gives the results by address.
func (r *rig) try(want map[string]string) (map[plan.Address]plan.Result, error) {
	r.Helper()
	in := r.input(want)
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	err := r.session().Apply(r.Context(), in, p, j)
	r.inv = j.Inventory()
	out := map[plan.Address]plan.Result{}
	for _, res := range j.Results() {
		out[res.Address] = res
	}
	return out, err
}

// sync expects everything to be applied, and then nothing more to do.
func (r *rig) sync(want map[string]string) {
	r.Helper()
	results, err := r.try(want)
	if err != nil {
		r.Fatalf("apply: %v", err)
	}
	for _, res := range results {
		if res.Outcome != plan.Applied {
			r.Fatalf("%s: %s is %s: %s", res.Key, res.Action, res.Outcome, res.Error)
		}
	}
	if p := r.plan(want); !p.Empty() {
		r.Fatalf("the plan after apply has changes: %+v", p.Changes)
	}
}

func (r *rig) path(name string) string { return filepath.Join(r.root, name) }

func (r *rig) read(name string) string {
	r.Helper()
	b, err := os.ReadFile(r.path(name))
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

func (r *rig) write(name, content string) {
	r.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(content), 0o644); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) gone(name string) {
	r.Helper()
	if _, err := os.Lstat(r.path(name)); !errors.Is(err, fs.ErrNotExist) {
		r.Errorf("%s is still there (%v)", name, err)
	}
}

func (r *rig) mode(name string, want fs.FileMode) {
	r.Helper()
	info, err := os.Lstat(r.path(name))
	r.must(err)
	if info.Mode().Perm() != want {
		r.Errorf("%s has mode %o, it should have %o", name, info.Mode().Perm(), want)
	}
}

// clean expects no unfinished files.
func (r *rig) clean() {
	r.Helper()
	err := filepath.WalkDir(r.root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".trueup-") {
			r.Errorf("%s is left over", p)
		}
		return err
	})
	r.must(err)
}

func (r *rig) change(p *plan.Plan, name string) plan.Change {
	r.Helper()
	for _, c := range p.Changes {
		if string(c.Address) == name {
			return c
		}
	}
	r.Fatalf("no change of %s in %+v", name, p.Changes)
	return plan.Change{}
}
