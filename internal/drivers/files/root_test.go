//go:build real

package files_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

// The tests in this file need root: they mount file systems, give files away
// and become another user.

type rootWorld struct{ *world }

// Block mounts the file onto itself: nothing can be moved over a mount point,
// while everything beside it can be written.
func (w rootWorld) Block(t testing.TB, name string) func() {
	t.Helper()
	p := filepath.Join(w.root, name)
	if err := syscall.Mount(p, p, "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("mount --bind (this test needs root): %v", err)
	}
	done := false
	mend := func() {
		if !done {
			done = true
			if err := syscall.Unmount(p, 0); err != nil {
				t.Errorf("umount: %v", err)
			}
		}
	}
	t.Cleanup(mend)
	return mend
}

func TestConformanceAsRoot(t *testing.T) {
	h := harness()
	delete(h.OptOut, "PartialFailureKeepsOwnership")
	h.New = func(t testing.TB) drivertest.World { return rootWorld{newWorld(t).(*world)} }
	drivertest.Run(t, h)
}

func TestSpecModesAndOwners(t *testing.T) {
	r := newRig(t)
	r.spec = files.Spec{Modes: map[string]string{"**": "0640", "bin/**": "0750"}, DirMode: "0750",
		Owners: map[string]string{"bin/**": "65534:65534", "named": "nobody:nogroup"}}
	want := map[string]string{"bin/x": "1", "bin/l@": "x", "named": "2", "conf": "3"}
	r.sync(want)
	r.mode("bin/x", 0o750)
	r.mode("conf", 0o640)
	r.mode("bin", 0o750)
	for _, name := range []string{"bin/x", "bin/l", "named"} {
		info, err := os.Lstat(r.path(name))
		r.must(err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 65534 || st.Gid != 65534 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	r.must(os.Lchown(r.path("bin/x"), 0, 0))
	r.must(os.Chmod(r.path("conf"), 0o755|os.ModeSetuid))
	p := r.plan(want)
	if c := r.change(p, "conf"); len(p.Changes) != 2 || !strings.Contains(string(c.Before), "4755") {
		t.Errorf("drift of owner and setuid bit: %s", c.Before)
	}
	r.sync(want)
	r.mode("conf", 0o640)
}

// TestRootWritesThroughNobodysDirectory: as root we don't write where another
// user could swap what we write.
func TestRootWritesThroughNobodysDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, as the rule it checks is about root")
	}
	for name, give := range map[string]func(r *rig) error{
		"root of another user":      func(r *rig) error { return os.Chown(r.root, 65534, 65534) },
		"directory of another user": func(r *rig) error { return os.Chown(r.path("d"), 65534, 65534) },
		"directory open to all":     func(r *rig) error { return os.Chmod(r.path("d"), 0o777) },
		"directory above the root":  func(r *rig) error { return os.Chown(filepath.Dir(r.root), 65534, 65534) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.root = filepath.Join(r.root, "above", "root")
			r.must(os.MkdirAll(r.path("d"), 0o755))
			r.must(give(r))
			results, err := r.try(map[string]string{"d/f": "1"})
			if err != nil {
				t.Fatal(err)
			}
			if res := results["d/f"]; res.Outcome != plan.Failed || !strings.Contains(res.Error, "root does not write") {
				t.Errorf("%+v", res)
			}
			r.gone("d/f")
		})
	}
	r := newRig(t)
	r.must(os.Mkdir(r.path("d"), 0o755))
	r.must(os.Chmod(r.path("d"), 0o1777|os.ModeSticky))
	r.sync(map[string]string{"d/f": "1"})
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
