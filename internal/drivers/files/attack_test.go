package files_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

// outside makes a directory that must not change.
func outside(r *rig) (dir string, check func()) {
	r.Helper()
	dir = r.TempDir()
	r.must(os.WriteFile(filepath.Join(dir, "passwd"), []byte("untouched"), 0o600))
	return dir, func() {
		r.Helper()
		names, err := os.ReadDir(dir)
		r.must(err)
		b, err := os.ReadFile(filepath.Join(dir, "passwd"))
		r.must(err)
		info, err := os.Stat(filepath.Join(dir, "passwd"))
		r.must(err)
		if len(names) != 1 || string(b) != "untouched" || info.Mode().Perm() != 0o600 {
			r.Errorf("something outside the root changed: %v %q %v", names, b, info.Mode())
		}
	}
}

// TestLinkedDirectoryIsNotEntered: somebody plants links where we are about
// to write, out of the root and within it.
func TestLinkedDirectoryIsNotEntered(t *testing.T) {
	r := newRig(t)
	out, check := outside(r)
	r.must(os.Symlink(out, r.path("etc")))
	r.must(os.Mkdir(r.path("inner"), 0o755))
	r.must(os.Symlink("inner", r.path("alias")))
	results, err := r.try(map[string]string{"etc/passwd": "owned", "etc/new": "owned", "alias/x": "1", "fine": "1"})
	if err != nil {
		t.Fatal(err)
	}
	check()
	if results["fine"].Outcome != plan.Applied {
		t.Error("a healthy file is held up by its neighbours")
	}
	for _, name := range []plan.Address{"etc/passwd", "etc/new", "alias/x"} {
		if results[name].Outcome == plan.Applied {
			t.Errorf("%s was written through a link", name)
		}
	}
	if names, err := os.ReadDir(r.path("inner")); err != nil || len(names) != 0 {
		t.Errorf("%v %v", names, err)
	}
}

// TestOwnedDirectoryBecomesALink: a directory of ours is swapped for a link.
func TestOwnedDirectoryBecomesALink(t *testing.T) {
	r := newRig(t)
	out, check := outside(r)
	want := map[string]string{"d/passwd": "ours"}
	r.sync(want)
	r.must(os.RemoveAll(r.path("d")))
	r.must(os.Symlink(out, r.path("d")))
	r.sync(want)
	check()
	if info, err := os.Lstat(r.path("d")); err != nil || !info.IsDir() {
		t.Errorf("d is %v, %v", info, err)
	}
	// And once more before a prune and a destroy.
	r.must(os.RemoveAll(r.path("d")))
	r.must(os.Symlink(out, r.path("d")))
	if _, err := r.try(map[string]string{"other": "1"}); err != nil {
		t.Fatal(err)
	}
	check()
}

// TestFileBecomesALink: the target's own file is swapped for a link, a hard
// link and a pipe. What they lead to keeps content and mode.
func TestFileBecomesALink(t *testing.T) {
	for name, plant := range map[string]func(r *rig, victim string) error{
		"symbolic link": func(r *rig, victim string) error { return os.Symlink(victim, r.path("f")) },
		"hard link":     func(r *rig, victim string) error { return os.Link(victim, r.path("f")) },
		"pipe":          func(r *rig, _ string) error { return syscall.Mkfifo(r.path("f"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			out, check := outside(r)
			want := map[string]string{"f": "ours"}
			r.sync(want)
			r.must(os.Remove(r.path("f")))
			r.must(plant(r, filepath.Join(out, "passwd")))
			r.sync(want)
			check()
			if info, err := os.Lstat(r.path("f")); err != nil || !info.Mode().IsRegular() || r.read("f") != "ours" {
				t.Errorf("f is %v, %v", info, err)
			}
		})
	}
}

// TestWrittenMeanwhile: a file appears, or changes, between the check of the
// base and the write.
func TestWrittenMeanwhile(t *testing.T) {
	r := newRig(t)
	r.sync(map[string]string{"old": "1", "gone": "1"})
	in := r.input(map[string]string{"old": "2", "new": "1"})
	p := r.plan(map[string]string{"old": "2", "new": "1"})
	j := newHooked(r, p, func() {
		r.write("new", "theirs")
		r.write("old", "theirs")
		r.write("gone", "theirs")
	})
	if err := r.session().Apply(t.Context(), in, p, j); err == nil {
		t.Error("the apply reports success")
	}
	for _, name := range []string{"new", "old", "gone"} {
		if r.read(name) != "theirs" {
			t.Errorf("%s was overwritten", name)
		}
	}
	r.clean()
}
