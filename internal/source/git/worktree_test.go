package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

func checkout(t *testing.T, dir string) (*git.Snapshot, source.Revision) {
	t.Helper()
	s, rev, err := git.Worktree(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, rev
}

func TestWorktree(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("app/a", "a", "app/run.sh", "#!/bin/sh", "other", "o", ".gitignore", "*.tmp\n").Link("a", "app/l").Commit("c")
	r.Git("update-index", "--chmod=+x", "app/run.sh")
	os.Chmod(filepath.Join(r.Dir, "app/run.sh"), 0o755)
	c := r.Commit("mode")
	s, rev := checkout(t, filepath.Join(r.Dir, "app"))
	if rev.Commit != c || rev.Dirty || rev.Tree != r.Git("rev-parse", c+"^{tree}") {
		t.Errorf("clean: %+v", rev)
	}
	onDisk, err := s.View("app", nil).ID(t.Context())
	fromGit, err2 := view(t, mirrorOf(t, r), c, "app").ID(t.Context())
	if err != nil || err2 != nil || onDisk != fromGit {
		t.Errorf("the same files have the ids %s and %s: %v %v", onDisk, fromGit, err, err2)
	}
	r.Write("app/a", "changed", "app/new", "new", "app/x.tmp", "ignored")
	s, rev = checkout(t, r.Dir)
	if !rev.Dirty || rev.Commit != c {
		t.Errorf("dirty: %+v", rev)
	}
	v := s.View("app", nil)
	for name, want := range map[string]string{"app/a": "changed", "app/new": "new", "app/l": "changed"} {
		if b, err := v.ReadFile(name); string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if _, err := v.ReadFile("app/x.tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ignored: %v", err)
	}
	if _, err := v.ReadFile("other"); !errors.Is(err, source.ErrOutside) {
		t.Errorf("outside: %v", err)
	}
	old, rev, err := git.Worktree(t.Context(), r.Dir, "main~0")
	if err == nil {
		t.Errorf("an expression is no name: %v %v", old, rev)
	}
	old, rev, err = git.Worktree(t.Context(), r.Dir, "main")
	if err != nil || rev.Commit != c {
		t.Fatal(rev, err)
	}
	if b, err := old.View("app", nil).ReadFile("app/a"); string(b) != "a" {
		t.Errorf("at a ref: %q %v", b, err)
	}
}

func TestWorktreeOutsideGit(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "s")
	write(t, filepath.Join(dir, "a"), "a")
	if err := errors.Join(os.Symlink(secret, filepath.Join(dir, "abs")), os.Symlink("../../../../../.."+secret, filepath.Join(dir, "up")),
		os.Mkdir(filepath.Join(dir, ".git2"), 0o755), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s, rev := checkout(t, dir)
	if rev.Commit != "" {
		t.Errorf("%+v", rev)
	}
	v := s.View(".", nil)
	if b, err := v.ReadFile("a"); string(b) != "a" {
		t.Errorf("%q %v", b, err)
	}
	for _, n := range []string{"abs", "up", "pipe"} {
		if b, err := v.ReadFile(n); !errors.Is(err, source.ErrUnsafe) {
			t.Errorf("%s: %q %v", n, b, err)
		}
	}
	if _, _, err := git.Worktree(t.Context(), dir, "main"); !errors.Is(err, source.ErrNoRef) {
		t.Errorf("%v", err)
	}
}

func TestWorktreeWithoutCommits(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "a")
	s, rev := checkout(t, r.Dir)
	if b, err := s.View(".", nil).ReadFile("a"); string(b) != "a" || rev.Commit != "" || !rev.Dirty {
		t.Errorf("%q %v %+v", b, err, rev)
	}
}
