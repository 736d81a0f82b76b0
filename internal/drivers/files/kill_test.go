package files_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

// durable is a journal whose inventory is on disk before the driver goes on.
type durable struct {
	*drivertest.Journal
	path string
}

func (d durable) Pending(ctx context.Context, keys []plan.Key) error {
	return errors.Join(d.Journal.Pending(ctx, keys), d.save())
}

func (d durable) Done(ctx context.Context, results []plan.Result) error {
	return errors.Join(d.Journal.Done(ctx, results), d.save())
}

func (d durable) save() error {
	var list []driver.Owned
	for _, o := range d.Inventory() {
		list = append(list, o)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(d.path+".new", d.path)
}

func load(t *testing.T, path string) driver.Inventory {
	t.Helper()
	inv := driver.Inventory{}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return inv
	}
	var list []driver.Owned
	if err := errors.Join(err, json.Unmarshal(raw, &list)); err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		inv[o.Key] = o
	}
	return inv
}

// state is the desired state of one round: files that come, change and go.
func state(round int) map[string]string {
	want := map[string]string{}
	for i := range 150 {
		if (i+round)%5 != 0 {
			want[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprintf("round %d\n", round)
		}
	}
	return want
}

// TestKilled kills a process at a random moment of its apply, again and again
// (kill -9), and continues from what it left on disk.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("FILES_TEST_KILL"); dir != "" {
		var round int
		if _, err := fmt.Sscan(os.Getenv("FILES_TEST_ROUND"), &round); err != nil {
			t.Fatal(err)
		}
		killedChild(t, dir, round)
		return
	}
	r := newRig(t)
	inventory := r.TempDir() + "/inventory.json"
	kills := 0
	for round := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "FILES_TEST_KILL="+r.root, fmt.Sprint("FILES_TEST_ROUND=", round), "FILES_TEST_INVENTORY="+inventory)
		r.must(cmd.Start())
		timer := time.AfterFunc(time.Duration(10+rand.IntN(80))*time.Millisecond, cancel)
		if cmd.Wait() != nil {
			kills++
		}
		timer.Stop()
		cancel()
		r.inv = load(t, inventory)
		r.truthful()
	}
	if kills == 0 {
		t.Fatal("no process was killed before it was done")
	}
	r.sync(state(99))
	for name, content := range state(99) {
		if r.read(name) != content {
			t.Errorf("%s holds %q", name, r.read(name))
		}
	}
	for k := range r.inv {
		if _, err := os.Lstat(r.path(string(k.Address))); err != nil {
			t.Errorf("%s is owned, but %v", k, err)
		}
	}
}

func killedChild(t *testing.T, dir string, round int) {
	t.Helper()
	r := &rig{T: t, root: dir, inv: load(t, os.Getenv("FILES_TEST_INVENTORY"))}
	p := r.plan(state(round))
	j := durable{drivertest.NewJournal(r.inv, p), os.Getenv("FILES_TEST_INVENTORY")}
	r.must(r.session().Apply(t.Context(), r.input(state(round)), p, j))
}

// truthful expects every file to be whole, and to be owned.
func (r *rig) truthful() {
	r.Helper()
	err := fs.WalkDir(os.DirFS(r.root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." || d.Name()[0] == '.' {
			return err
		}
		if _, owned := r.inv[plan.Key{Address: plan.Address(name)}]; !owned {
			r.Errorf("%s was written, and is not owned", name)
		}
		if !d.IsDir() && (len(r.read(name)) < len("round 0\n") || r.read(name)[:6] != "round ") {
			r.Errorf("%s is not whole: %q", name, r.read(name))
		}
		return nil
	})
	r.must(err)

}
