package git_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

var bot = git.Person{Name: "trueup", Email: "trueup@example.org"}

func change(base string, files map[string][]byte) git.Commit {
	return git.Commit{Base: base, Files: files, Message: "Promote\n\nTrueup-Promote: x", Author: bot, Committer: bot, At: time.Unix(1795000000, 0)}
}

// writable is a bare repository with one commit, and a mirror of it.
func writable(t *testing.T, opt func(dir string) source.Options) (*gitserver.Repo, *git.Mirror, string) {
	t.Helper()
	work := gitserver.NewRepo(t)
	work.Write("a/values.yaml", "tag: v1\n", "a/other", strings.Repeat("x\n", 1000), "b/run.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(work.Dir, "b/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	work.Link("values.yaml", "a/link")
	base := work.Commit("one")
	bare := filepath.Join(t.TempDir(), "bare.git")
	work.Git("clone", "--quiet", "--bare", work.Dir, bare)
	r := gitserver.At(t, bare)
	r.Git("config", "uploadpack.allowFilter", "true")
	r.Git("config", "uploadpack.allowAnySHA1InWant", "true")
	r.Git("config", "http.receivepack", "true")
	o := source.Options{URL: bare}
	if opt != nil {
		o = opt(bare)
	}
	o.Follow.Branch = "main"
	m, err := git.Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, m, base
}

func checkWriting(t *testing.T, r *gitserver.Repo, m *git.Mirror, base string) {
	t.Helper()
	ctx := t.Context()
	raw, err := m.Raw(ctx, base, "a/values.yaml", "b/run.sh")
	if err != nil || string(raw["a/values.yaml"]) != "tag: v1\n" {
		t.Fatalf("%q, %v", raw, err)
	}
	files := map[string][]byte{"a/values.yaml": []byte("tag: v2\n"), "b/run.sh": []byte("#!/bin/sh\ntrue\n")}
	at, err := m.RemoteBranch(ctx, "trueup/x")
	if err != nil || at != "" {
		t.Fatalf("%q, %v", at, err)
	}
	id, err := m.Write(ctx, change(base, files), git.Push{Branch: "trueup/x", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Git("show", "--format=%an <%ae>|%s|%b", "--stat", "trueup/x"); !strings.HasPrefix(got, "trueup <trueup@example.org>|Promote|Trueup-Promote: x") ||
		!strings.Contains(got, "2 files changed") {
		t.Error(got)
	}
	if got := r.Git("ls-tree", "trueup/x:b"); !strings.HasPrefix(got, "100755") {
		t.Errorf("the mode is lost: %s", got)
	}
	if at, err := m.RemoteBranch(ctx, "trueup/x"); err != nil || at != id {
		t.Errorf("%q, %v", at, err)
	}
	// The same parts make the same commit; pushing it again is no change.
	again, err := m.Write(ctx, change(base, files), git.Push{Branch: "trueup/x", Force: true, Expect: id})
	if err != nil || again != id {
		t.Errorf("%s, want %s: %v", again, id, err)
	}
	files["a/values.yaml"] = []byte("tag: v3\n")
	if _, err := m.Write(ctx, change(base, files), git.Push{Branch: "trueup/x", Force: true, Expect: base}); !errors.Is(err, git.ErrMoved) {
		t.Errorf("somebody else's push was overwritten: %v", err)
	}
	if _, err := m.Write(ctx, change(base, files), git.Push{Branch: "trueup/x", Force: true}); !errors.Is(err, git.ErrMoved) {
		t.Errorf("a branch that was thought missing was overwritten: %v", err)
	}
	second, err := m.Write(ctx, change(base, files), git.Push{Branch: "trueup/x", Force: true, Expect: id})
	if err != nil || second == id {
		t.Fatal(err)
	}
	// Straight to the branch that is followed: forward only.
	direct, err := m.Write(ctx, change(base, files), git.Push{Branch: "main"})
	if err != nil || r.Git("rev-parse", "main") != direct {
		t.Fatalf("%v", err)
	}
	files["a/values.yaml"] = []byte("tag: v4\n")
	if _, err := m.Write(ctx, change(base, files), git.Push{Branch: "main"}); !errors.Is(err, git.ErrMoved) {
		t.Errorf("main was not moved forward, but elsewhere: %v", err)
	}
	if err := m.DropBranch(ctx, "trueup/x", id); !errors.Is(err, git.ErrMoved) {
		t.Errorf("a branch that moved was removed: %v", err)
	}
	for range 2 {
		if err := m.DropBranch(ctx, "trueup/x", second); err != nil {
			t.Errorf("%v", err)
		}
	}
	if changed, err := m.Fetch(ctx); err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	if raw, err := m.Raw(ctx, direct, "a/values.yaml"); err != nil || string(raw["a/values.yaml"]) != "tag: v3\n" {
		t.Errorf("%q, %v", raw, err)
	}
	r.Git("fsck", "--strict")
}

func TestWrite(t *testing.T) {
	r, m, base := writable(t, nil)
	checkWriting(t, r, m, base)
}

func TestWriteRefused(t *testing.T) {
	r, m, base := writable(t, nil)
	ctx := t.Context()
	for _, p := range []string{"a/link", "a", "nothing", "../x", "/etc/passwd", "a/../b/run.sh", ".git/config", "a//values.yaml", ""} {
		if _, err := m.Raw(ctx, base, p); err == nil {
			t.Errorf("%q can be read", p)
		}
		if _, err := m.Write(ctx, change(base, map[string][]byte{p: []byte("x")}), git.Push{Branch: "trueup/y", Force: true}); err == nil {
			t.Errorf("%q can be written", p)
		}
	}
	ok := map[string][]byte{"a/values.yaml": []byte("x\n")}
	for name, edit := range map[string]func(*git.Commit, *git.Push){
		"a branch like an option": func(_ *git.Commit, p *git.Push) { p.Branch = "-x" },
		"a branch with a colon":   func(_ *git.Commit, p *git.Push) { p.Branch = "x:refs/heads/main" },
		"a name that breaks out":  func(c *git.Commit, _ *git.Push) { c.Author.Name = "x\ncommitter y" },
		"an address with angles":  func(c *git.Commit, _ *git.Push) { c.Committer.Email = "a> <b" },
		"a base that is no id":    func(c *git.Commit, _ *git.Push) { c.Base = "main" },
		"no message":              func(c *git.Commit, _ *git.Push) { c.Message = " \n" },
	} {
		c, p := change(base, ok), git.Push{Branch: "trueup/y", Force: true}
		edit(&c, &p)
		if _, err := m.Write(ctx, c, p); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	// A rule of the server: refused, and not taken for a branch that moved.
	hook := filepath.Join(r.Dir, "hooks", "pre-receive")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho 'the branch is protected' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := m.Write(ctx, change(base, ok), git.Push{Branch: "trueup/y", Force: true})
	if !errors.Is(err, git.ErrRefused) {
		t.Errorf("%v", err)
	}
	if refs := r.Git("for-each-ref", "--format=%(refname)"); refs != "refs/heads/main" {
		t.Errorf("something was pushed: %s", refs)
	}
}

// TestWriteRunsNoHooks: hooks in the mirror itself never run.
func TestWriteRunsNoHooks(t *testing.T) {
	dir := t.TempDir()
	_, m, base := writable(t, nil)
	_ = filepath.WalkDir(filepath.Dir(dir), func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "repo.git" {
			_ = os.MkdirAll(filepath.Join(p, "hooks"), 0o755)
			_ = os.WriteFile(filepath.Join(p, "hooks", "pre-push"), []byte("#!/bin/sh\ntouch "+filepath.Join(dir, "ran")+"\n"), 0o755)
		}
		return nil
	})
	if _, err := m.Write(context.Background(), change(base, map[string][]byte{"a/values.yaml": []byte("x\n")}), git.Push{Branch: "trueup/z", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("a hook ran")
	}
}

// TestWriteHTTP pushes over smart HTTP with a password, from a mirror that
// has no blobs.
func TestWriteHTTP(t *testing.T) {
	var srv *gitserver.HTTP
	r, m, base := writable(t, func(dir string) source.Options {
		srv = gitserver.StartHTTP(t, gitserver.HTTPOptions{Root: filepath.Dir(dir), User: "bot", Password: "canary-4711"})
		o := source.Options{URL: srv.URL + "/bare.git"}
		o.Credentials.Username, o.Credentials.Password = "bot", secret.New("canary-4711")
		return o
	})
	checkWriting(t, r, m, base)
}
