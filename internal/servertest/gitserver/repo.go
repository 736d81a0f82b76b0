// Package gitserver makes Git repositories for tests and serves them with the
// real programs: OpenSSH's sshd and git http-backend, on loopback.
package gitserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repo is a repository with a working tree, for tests to commit into.
type Repo struct {
	Dir string // of the working tree; clone from here
	tb  testing.TB
}

// NewRepo makes an empty repository on the branch main.
func NewRepo(tb testing.TB) *Repo {
	tb.Helper()
	return NewRepoAt(tb, filepath.Join(tb.TempDir(), "repo"))
}

// NewRepoAt makes an empty repository in a directory.
func NewRepoAt(tb testing.TB, dir string) *Repo {
	tb.Helper()
	r := &Repo{Dir: dir, tb: tb}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	r.Git("init", "--quiet", "--initial-branch=main")
	r.Git("config", "uploadpack.allowFilter", "true")
	r.Git("config", "uploadpack.allowAnySHA1InWant", "true")
	return r
}

// At takes a repository that is already there, bare or not.
func At(tb testing.TB, dir string) *Repo { return &Repo{Dir: dir, tb: tb} }

// Git runs git in the working tree and gives its output, without the last line
// break. The machine's own configuration has no say.
func (r *Repo) Git(args ...string) string {
	r.tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ann Author", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann Author", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Write writes files, given as path and content in turn.
func (r *Repo) Write(pairs ...string) *Repo {
	r.tb.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		name := filepath.Join(r.Dir, pairs[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			r.tb.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(pairs[i+1]), 0o644); err != nil {
			r.tb.Fatal(err)
		}
	}
	return r
}

// Link makes a symbolic link.
func (r *Repo) Link(target, name string) *Repo {
	r.tb.Helper()
	p := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.tb.Fatal(err)
	}
	if err := os.Symlink(target, p); err != nil {
		r.tb.Fatal(err)
	}
	return r
}

// Commit commits everything in the working tree and gives the commit's id.
func (r *Repo) Commit(msg string) string {
	r.tb.Helper()
	r.Git("add", "--all")
	r.Git("commit", "--quiet", "--allow-empty", "--message="+msg)
	return r.Git("rev-parse", "HEAD")
}

// RawTree makes a commit on HEAD whose root tree has exactly these entries, in
// the form of `git mktree` ("100644 blob ID\tname", ended by NUL), so that
// hostile trees can be made which git itself would refuse to add.
func (r *Repo) RawTree(entries ...string) string {
	r.tb.Helper()
	cmd := exec.Command("git", "mktree", "-z", "--missing")
	cmd.Dir = r.Dir
	cmd.Stdin = strings.NewReader(strings.Join(entries, "\x00") + "\x00")
	out, err := cmd.Output()
	if err != nil {
		r.tb.Fatalf("git mktree: %v", err)
	}
	commit := r.Git("commit-tree", "-m", "raw", strings.TrimSpace(string(out)))
	r.Git("update-ref", "refs/heads/main", commit)
	return commit
}

// Blob stores a blob and gives its id.
func (r *Repo) Blob(content string) string {
	r.tb.Helper()
	name := filepath.Join(r.tb.TempDir(), "blob")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		r.tb.Fatal(err)
	}
	return r.Git("hash-object", "-w", name)
}
