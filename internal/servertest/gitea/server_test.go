//go:build real

package gitea_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitea"
)

func TestServer(t *testing.T) {
	s := gitea.Start(t)
	ann, eve := s.User("ann"), s.User("eve")
	s.Org("acme")
	s.Team("acme", "sre", "write", ann)
	repo := s.Repo("acme/infra", map[string]string{"dns/zone": "a\n", "old": "x"})
	s.Protect(repo, gitea.Protection{Branch: "main", Statuses: []string{"trueup/plan"}, Approvals: 1})
	head := ann.Commit(repo, "main", "change", "change", map[string]string{"dns/zone": "b\n", "old": ""})
	n := ann.Pull(repo, "change", "main", "A change")

	var refused *gitea.StatusError
	if err := ann.Merge(repo, n); !errors.As(err, &refused) {
		t.Fatalf("merged without status and approval: %v", err)
	}
	s.Collaborate(repo, eve, "write")
	eve.Review(repo, n, "APPROVED", "fine")
	if err := s.Admin.API("POST", "/repos/"+repo+"/statuses/"+head, map[string]any{"context": "trueup/plan", "state": "success"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := ann.Merge(repo, n); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("git", "clone", "-q", ann.CloneURL(repo), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("git", "-C", dir, "ls-files").CombinedOutput(); err != nil || strings.Contains(string(out), "old") {
		t.Fatalf("%v: %s", err, out)
	}
	fork := eve.Fork(repo)
	eve.Commit(fork, "main", "mine", "mine", map[string]string{"new": "1"})
	eve.Pull(repo, "eve:mine", "main", "From a fork")
}
