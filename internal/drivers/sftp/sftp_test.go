package sftp_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/sftp"
	"trueup.dev/trueup/internal/plan"
)

// rig is a world with one target and one session.
type rig struct {
	*testing.T
	*world
	s    driver.Session
	inv  driver.Inventory
	spec sftp.Spec
}

func newRig(t *testing.T, w *world) *rig {
	t.Helper()
	s, err := sftp.New().Open(t.Context(), w.Environment(), driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &rig{T: t, world: w, s: s, inv: driver.Inventory{}}
}

// input is a desired state: "name": content, "name@": a link.
func (r *rig) input(want map[string]string) driver.Input {
	tree := fstest.MapFS{}
	for n, body := range want {
		f := &fstest.MapFile{Data: []byte(body), Mode: 0o644}
		if strings.HasSuffix(n, "@") {
			f.Mode = os.ModeSymlink | 0o777
		}
		tree["dir/"+strings.TrimSuffix(n, "@")] = f
	}
	spec := r.spec
	return driver.Input{Target: "t", Tree: tree, Path: "dir", Spec: &spec, Scope: &sftp.Scope{}, Inventory: maps.Clone(r.inv), Mode: plan.Apply, Now: time.Now()}
}

func (r *rig) plan(want map[string]string) *plan.Plan {
	r.Helper()
	p, err := r.s.Plan(r.Context(), r.input(want))
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func (r *rig) try(want map[string]string) (map[plan.Address]plan.Result, error) {
	r.Helper()
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	err := r.s.Apply(r.Context(), r.input(want), p, j)
	r.inv = j.Inventory()
	out := map[plan.Address]plan.Result{}
	for _, res := range j.Results() {
		out[res.Address] = res
	}
	return out, err
}

func (r *rig) sync(want map[string]string) {
	r.Helper()
	results, err := r.try(want)
	if err != nil {
		r.Fatal(err)
	}
	for _, res := range results {
		if res.Outcome != plan.Applied {
			r.Fatalf("%s %s: %s %s", res.Action, res.Key, res.Outcome, res.Error)
		}
	}
	if p := r.plan(want); !p.Empty() {
		r.Fatalf("the plan after apply has changes: %+v", p.Changes)
	}
}

func (r *rig) path(n string) string { return filepath.Join(r.root, n) }

func (r *rig) holds(n, want string) {
	r.Helper()
	if b, err := os.ReadFile(r.path(n)); err != nil || string(b) != want {
		r.Errorf("%s holds %.40q (%v), it should hold %.40q", n, b, err, want)
	}
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) gone(n string) {
	r.Helper()
	if _, err := os.Lstat(r.path(n)); !os.IsNotExist(err) {
		r.Errorf("%s is there (%v)", n, err)
	}
}

func TestTrees(t *testing.T) { trees(newRig(t, newWorld(t))) }

// trees brings a tree with links and a large file there, and changes it.
func trees(r *rig) {
	big := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	r.ok(os.Mkdir(r.path("theirs"), 0o755))
	r.ok(os.WriteFile(r.path("theirs/x"), []byte("x"), 0o644))
	want := map[string]string{"a/b/c.txt": "c", "a/big": big, "theirs/ours": "o", "link@": "a/b/c.txt"}
	for i := range 100 {
		want[fmt.Sprintf("many/%03d", i)] = fmt.Sprint(i)
	}
	r.sync(want)
	r.holds("a/big", big)
	r.holds("link", "c")
	r.holds("many/042", "42")
	for i := range 100 {
		delete(want, fmt.Sprintf("many/%03d", i))
	}
	want["a/b/c.txt"], want["link@"] = "changed", "a/big"
	delete(want, "theirs/ours")
	r.sync(want)
	r.holds("a/b/c.txt", "changed")
	r.holds("link", big)
	r.gone("many")
	r.gone("theirs/ours")
	r.holds("theirs/x", "x")
	delete(want, "a/b/c.txt")
	want["a/b"] = "a file now"
	r.sync(want)
	r.holds("a/b", "a file now")
	delete(want, "a/b")
	want["a/b/deep/er"] = "a directory again"
	r.sync(want)
	r.holds("a/b/deep/er", "a directory again")
}

// TestPlantedLinksLeadNowhere: nothing is written or removed through a link
// that somebody put in a directory's place.
func TestPlantedLinksLeadNowhere(t *testing.T) { planted(newRig(t, newWorld(t)), t.TempDir()) }

func planted(r *rig, outside string) {
	r.sync(map[string]string{"sub/f": "1", "sub/g": "1"})
	r.ok(os.WriteFile(filepath.Join(outside, "f"), []byte("not ours"), 0o644))
	r.ok(os.WriteFile(filepath.Join(outside, "g"), []byte("not ours"), 0o644))
	r.ok(os.RemoveAll(r.path("sub")))
	rel, err := filepath.Rel(r.root, outside) // so that it leads there from inside a chroot too
	r.ok(err)
	r.ok(os.Symlink(rel, r.path("sub")))
	check := func(when string) {
		r.Helper()
		for _, n := range []string{"f", "g"} {
			if b, err := os.ReadFile(filepath.Join(outside, n)); err != nil || string(b) != "not ours" {
				r.Errorf("%s: a link led out of the root: %s holds %q (%v)", when, n, b, err)
			}
		}
		if _, err := os.Lstat(filepath.Join(outside, "new")); err == nil {
			r.Errorf("%s: a new file was written through a link", when)
		}
	}
	_, _ = r.try(map[string]string{"sub/f": "2", "sub/new": "2"})
	check("planted before the plan")

	// Between plan and write.
	r.sync(map[string]string{"sub/f": "3", "sub/g": "3"})
	want := map[string]string{"sub/f": "4", "sub/new": "4"}
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	var once sync.Once
	j.OnPending = func([]plan.Key) error {
		once.Do(func() {
			r.ok(os.RemoveAll(r.path("sub")))
			r.ok(os.Symlink(rel, r.path("sub")))
		})
		return nil
	}
	_ = r.s.Apply(r.Context(), r.input(want), p, j)
	check("planted between plan and write")
}

// TestQuickCheckReadsNothing: what size, time and record say is not read
// again, until the record is too old or says otherwise.
func TestQuickCheckReadsNothing(t *testing.T) {
	r := newRig(t, newWorld(t))
	want := map[string]string{"a": "1234"}
	r.sync(want)
	info, err := os.Stat(r.path("a"))
	r.ok(err)
	edit := func(body string) {
		r.ok(os.WriteFile(r.path("a"), []byte(body), 0o644))
		r.ok(os.Chtimes(r.path("a"), info.ModTime(), info.ModTime()))
	}
	edit("4321") // same size, same time
	if p := r.plan(want); !p.Empty() {
		t.Errorf("a quick check reads the content: %+v", p.Changes)
	}
	in := r.input(want)
	in.Now = in.Now.Add(7 * time.Hour)
	p, err := r.s.Plan(t.Context(), in)
	r.ok(err)
	if len(p.Changes) != 1 || p.Changes[0].Reason != plan.ByDrift {
		t.Errorf("the whole read after six hours finds %+v", p.Changes)
	}
	r.spec.Check = sftp.CheckFull
	if p := r.plan(want); len(p.Changes) != 1 {
		t.Errorf("a full check finds %+v", p.Changes)
	}
	r.spec.Check = sftp.CheckQuick
	edit("12345")
	if p := r.plan(want); len(p.Changes) != 1 {
		t.Errorf("another size is not noticed: %+v", p.Changes)
	}
	r.sync(want)
	r.holds("a", "1234")
}

func TestMappedFilesAndModes(t *testing.T) {
	r := newRig(t, newWorld(t))
	r.spec = sftp.Spec{Files: map[string]string{"etc/app.conf": "prod.conf"}, Modes: map[string]string{"etc/*": "0600"}, DirMode: "0700"}
	r.sync(map[string]string{"prod.conf": "x", "other": "not taken"})
	r.holds("etc/app.conf", "x")
	r.gone("other")
	for n, want := range map[string]os.FileMode{"etc/app.conf": 0o600, "etc": 0o700} {
		if info, err := os.Stat(r.path(n)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", n, info.Mode())
		}
	}
	r.ok(os.Chmod(r.path("etc/app.conf"), 0o644))
	if p := r.plan(map[string]string{"prod.conf": "x"}); len(p.Changes) != 1 {
		t.Errorf("a changed mode is planned as %+v", p.Changes)
	}
	r.spec.IgnoreModes = true
	r.sync(map[string]string{"prod.conf": "y"})
	r.holds("etc/app.conf", "y")
}

func TestLeftoversAreSwept(t *testing.T) {
	r := newRig(t, newWorld(t))
	for n, age := range map[string]time.Duration{".trueup-OLD": 13 * time.Hour, ".trueup-NEW": time.Hour} {
		r.ok(os.WriteFile(r.path(n), []byte("half"), 0o600))
		at := time.Now().Add(-age)
		r.ok(os.Chtimes(r.path(n), at, at))
	}
	r.sync(map[string]string{"a": "1"})
	r.gone(".trueup-OLD")
	r.holds(".trueup-NEW", "half")
}

// TestConnectionCutWhileWriting leaves the old content or the new, whole, and
// converges afterwards.
func TestConnectionCutWhileWriting(t *testing.T) {
	w := newWorld(t)
	r := newRig(t, w)
	old, now := strings.Repeat("old ", 1<<20), strings.Repeat("new ", 1<<20)
	r.sync(map[string]string{"f": old})
	p := r.plan(map[string]string{"f": now})
	j := drivertest.NewJournal(r.inv, p)
	j.OnPending = func([]plan.Key) error { time.AfterFunc(3*time.Millisecond, w.stop); return nil }
	_ = r.s.Apply(t.Context(), r.input(map[string]string{"f": now}), p, j)
	r.inv = j.Inventory()
	b, err := os.ReadFile(r.path("f"))
	r.ok(err)
	if string(b) != old && string(b) != now {
		t.Fatalf("the file is neither old nor new: %d bytes", len(b))
	}
	r.s, err = sftp.New().Open(t.Context(), w.Environment(), driver.Write)
	r.ok(err)
	r.sync(map[string]string{"f": now})
	r.holds("f", now)
}

func TestWrongHostKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t)
	c := *w.connect
	text, err := os.ReadFile(other.connect.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	mine, err := os.ReadFile(c.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(string(mine), " ")
	if err := os.WriteFile(c.KnownHosts[0], []byte(host+" "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := w.Environment()
	s, err := sftp.New().Open(t.Context(), env, driver.Read)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Plan(t.Context(), desired(t, drivertest.Objects{"a": "1"})); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("another host key gives %v", err)
	}
}
