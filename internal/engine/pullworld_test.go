package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
	"trueup.dev/trueup/internal/store"
)

const pullConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra:
    url: %[1]s/origin.git
    branch: main
    poll: 1s
    forge: {gitea: {token: "env:FORGE_TOKEN", url: "http://forge.test", project: acme/infra}}
    %[2]s
policies:
  quick: {driftInterval: 1s, %[3]s}
environments:
  site:
    driver: files
    policy: quick
    connect: {root: %[1]s/site}
    allow: [{repository: infra}]
users:
  alice: {role: approver, teams: [sre], gitea: alice}
  bob: {role: viewer, gitea: bob}
`

// newPullWorld is a world whose repository is on a forge.
func newPullWorld(t *testing.T, repository, policy string) *world {
	t.Helper()
	t.Setenv("FORGE_TOKEN", "canary-forge-token")
	w := newWorld(t)
	w.forge = forgetest.New("acme/infra")
	w.forge.Grant("dev", forge.CanWrite)
	w.forge.Grant("alice", forge.CanWrite)
	w.forge.Grant("bob", forge.CanRead)
	w.config = fmt.Sprintf(pullConfig, w.dir, repository, policy)
	return w
}

// propose pushes a branch with files and opens a pull request for it, or
// pushes to the one that is there.
func (w *world) propose(number int, author string, files map[string]string) string {
	w.t.Helper()
	branch := fmt.Sprintf("feature-%d", number)
	w.run(w.git, "git", "fetch", "-q", "origin")
	if w.run(w.git, "git", "branch", "--list", branch) == "" {
		w.run(w.git, "git", "checkout", "-q", "-b", branch, "origin/main")
	} else {
		w.run(w.git, "git", "checkout", "-q", branch)
	}
	w.put(files)
	w.run(w.git, "git", "add", "-A")
	w.run(w.git, "git", "commit", "-qm", "proposal", "--allow-empty")
	w.run(w.git, "git", "push", "-q", "-f", "origin", "HEAD:refs/heads/"+branch, fmt.Sprintf("HEAD:refs/pull/%d/head", number))
	head := w.run(w.git, "git", "rev-parse", "HEAD")
	w.run(w.git, "git", "checkout", "-q", "main")
	w.forge.Put(forge.PullRequest{Number: number, Title: "a change", Author: author, Head: branch, HeadCommit: head})
	return head
}

// put writes files into the working copy; an empty text removes one.
func (w *world) put(files map[string]string) {
	w.t.Helper()
	for name, text := range files {
		p := filepath.Join(w.git, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		if text == "" {
			err = os.Remove(p)
		} else if err == nil {
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// merge merges a pull request as a forge would, and pushes. squash makes one
// new commit of it.
func (w *world) merge(number int, by string, squash bool) string {
	w.t.Helper()
	branch := fmt.Sprintf("feature-%d", number)
	w.run(w.git, "git", "checkout", "-q", "main")
	w.run(w.git, "git", "pull", "-q", "--ff-only", "origin", "main")
	if squash {
		w.run(w.git, "git", "merge", "-q", "--squash", branch)
		w.run(w.git, "git", "commit", "-qm", "squashed")
	} else {
		w.run(w.git, "git", "merge", "-q", "--no-ff", "-m", "merged", branch)
	}
	commit := w.run(w.git, "git", "rev-parse", "HEAD")
	w.forge.Merge(number, commit, by)
	w.run(w.git, "git", "push", "-q", "origin", "HEAD:main")
	return commit
}

// event delivers a hint as the webhook would.
func (w *world) event(kind forge.EventKind, number int) {
	w.t.Helper()
	if err := w.e.Event(context.Background(), "infra", forge.Event{Kind: kind, Number: number}); err != nil {
		w.t.Fatal(err)
	}
}

// planned waits for the final status of a head and gives the comment.
func (w *world) planned(number int, head string, state forge.StatusState) string {
	w.t.Helper()
	w.eventually(fmt.Sprintf("status %s on %.8s", state, head), func() bool {
		return w.forge.Status(head, "trueup/plan").State == state
	})
	text := ""
	w.eventually("comment of "+head, func() bool {
		own := w.forge.Own(number)
		if len(own) == 0 {
			return w.quiet(number)
		}
		text = own[0].Body
		return strings.Contains(text, head[:8]) && !strings.Contains(text, "Planning ")
	})
	return text
}

// quiet tells that the outbox has nothing more to say about a pull request.
func (w *world) quiet(number int) bool {
	ctx := context.Background()
	_, err := w.st.Work(ctx, store.Outbox, fmt.Sprintf("forge/infra/pull/%d", number))
	_, err2 := w.st.Work(ctx, store.Preview, fmt.Sprintf("infra#%d", number))
	return err != nil && err2 != nil
}

func (w *world) contains(text string, wants ...string) {
	w.t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			w.t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
