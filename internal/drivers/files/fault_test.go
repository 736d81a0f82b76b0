package files_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

// newHooked is a journal that lets somebody else in once, just before the
// first write.
func newHooked(r *rig, p *plan.Plan, meanwhile func()) *drivertest.Journal {
	j := drivertest.NewJournal(r.inv, p)
	var once sync.Once
	j.OnPending = func([]plan.Key) error { once.Do(meanwhile); return nil }
	return j
}

// TestDiskFull writes to a file system that is too small.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	if err := syscall.Mount("tmpfs", r.root, "tmpfs", 0, "size=256k,mode=0755"); err != nil {
		t.Fatalf("mount a tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(r.root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	r.sync(map[string]string{"big": "old", "small": "old"})
	want := map[string]string{"big": strings.Repeat("x", 1<<20), "small": "new"}
	results, err := r.try(want)
	if err != nil {
		t.Fatal(err)
	}
	if res := results["big"]; res.Outcome != plan.Failed || !strings.Contains(res.Error, "no space left") {
		t.Errorf("%+v", res)
	}
	if r.read("big") != "old" || r.read("small") != "new" {
		t.Error("a full disk damaged the old content, or held up the small file")
	}
	r.clean()
	r.sync(map[string]string{"big": "fits", "small": "new"})
}

// TestReadOnlyFileSystem: nothing can be written, everything says so.
func TestReadOnlyFileSystem(t *testing.T) {
	r := newRig(t)
	r.sync(map[string]string{"a": "1"})
	r.must(syscall.Mount(r.root, r.root, "", syscall.MS_BIND, ""))
	t.Cleanup(func() { r.must(syscall.Unmount(r.root, syscall.MNT_DETACH)) })
	r.must(syscall.Mount("", r.root, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	results, err := r.try(map[string]string{"a": "2", "b": "1"})
	if err != nil || results["a"].Outcome != plan.Failed || results["b"].Outcome != plan.Failed {
		t.Errorf("%v %v", results, err)
	}
	if r.read("a") != "1" {
		t.Error("a changed")
	}
}

// TestLeftoversAreSwept: what a killed process left is removed, what another
// process is writing at this moment is not.
func TestLeftoversAreSwept(t *testing.T) {
	r := newRig(t)
	r.write(".trueup-OLD", "half")
	r.write(".trueup-BUSY", "half")
	r.must(os.Symlink("nowhere", r.path(".trueup-LINK")))
	busy, err := os.Open(r.path(".trueup-BUSY"))
	r.must(err)
	defer busy.Close()
	r.must(syscall.Flock(int(busy.Fd()), syscall.LOCK_EX))
	in := r.input(map[string]string{"a": "1"})
	p := r.plan(map[string]string{"a": "1"})
	if p.Scopes[0].Unmanaged != 0 {
		t.Error("unfinished files count as unmanaged")
	}
	in.Now = time.Now().Add(time.Hour)
	j := drivertest.NewJournal(r.inv, p)
	r.must(r.session().Apply(t.Context(), in, p, j))
	r.gone(".trueup-OLD")
	r.gone(".trueup-LINK")
	if r.read(".trueup-BUSY") != "half" {
		t.Error("another process' file was removed")
	}
	if !strings.Contains(j.Log(), ".trueup-OLD") {
		t.Error("it is not logged")
	}
}

// TestUnreadableFile: as another user than root a file that can't be read
// makes the directory unknown; nothing is planned.
func TestUnreadableFile(t *testing.T) {
	if os.Getenv("FILES_TEST_CHILD") == "" {
		dir := t.TempDir()
		for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatalf("this test needs root, to become another user: %v", err)
		}
		bin := filepath.Join(dir, "test")
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(bin, self, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), bin, "-test.run=^TestUnreadableFile$", "-test.v")
		cmd.Env = append(os.Environ(), "FILES_TEST_CHILD=1", "TMPDIR="+dir, "HOME="+dir)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("as another user: %v\n%s", err, out)
		}
		return
	}
	r := newRig(t)
	r.sync(map[string]string{"a": "1", "d/b": "2"})
	r.must(os.Chmod(r.path("d"), 0))
	p := r.plan(map[string]string{"a": "2"})
	r.must(os.Chmod(r.path("d"), 0o755))
	if len(p.Changes) != 0 || len(p.UnknownScopes()) != 1 || !strings.Contains(p.Scopes[0].Unknown, "permission denied") {
		t.Errorf("%+v", p)
	}
	r.must(os.Chmod(r.root, 0o500))
	results, err := r.try(map[string]string{"a": "2"})
	r.must(os.Chmod(r.root, 0o755))
	if err != nil || results["a"].Outcome != plan.Failed {
		t.Errorf("%v %v", results, err)
	}
}

// TestReadersSeeOldOrNew reads a file all the time while it is replaced.
func TestReadersSeeOldOrNew(t *testing.T) {
	r := newRig(t)
	one, two := strings.Repeat("1", 200_000), strings.Repeat("2", 300_000)
	r.sync(map[string]string{"f": one})
	ctx, stop := context.WithCancel(t.Context())
	bad := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			b, err := os.ReadFile(r.path("f"))
			if err != nil || string(b) != one && string(b) != two {
				bad <- "a reader saw something else than the old or the new content"
				return
			}
		}
	})
	for range 10 {
		r.sync(map[string]string{"f": two})
		r.sync(map[string]string{"f": one})
	}
	stop()
	wg.Wait()
	select {
	case msg := <-bad:
		t.Fatal(msg)
	default:
	}
}

// TestCancelledMidFile cancels while one large file is being written.
func TestCancelledMidFile(t *testing.T) {
	r := newRig(t)
	want := map[string]string{"big": strings.Repeat("x", 64<<20)}
	p := r.plan(want)
	ctx, cancel := context.WithCancel(t.Context())
	j := newHooked(r, p, func() { time.AfterFunc(5*time.Millisecond, cancel) })
	start := time.Now()
	err := r.session().Apply(ctx, r.input(want), p, j)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	r.clean()
}
