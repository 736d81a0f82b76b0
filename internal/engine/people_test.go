package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
	"trueup.dev/trueup/internal/store"
)

const ownedConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s, forge: {gitea: {url: "https://git.example.com", project: acme/infra, token: "env:HOME"}}}
policies:
  owned:
    driftInterval: 1s
    approve:
      - {when: "plan.actions == ['create']", by: auto}
      - %[2]s
users:
  alice: {role: approver, teams: [sre], gitea: alice-g}
  vera: {role: viewer, teams: [sre], gitea: vera}
environments:
  site:
    driver: files
    policy: owned
    connect: {root: %[1]s/site}
    allow: [{repository: infra}]
`

func ownedWorld(t *testing.T, rule string) (*world, *forgetest.Forge) {
	t.Helper()
	w := newWorld(t)
	f := forgetest.New("acme/infra")
	w.forges = forge.Registry{"gitea": f.Opener()}
	w.config = fmt.Sprintf(ownedConfig, w.dir, rule)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "CODEOWNERS": "web/.* @olga @acme/web\n", "web/a": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	return w, f
}

// refused approves and expects to be told why not.
func (w *world) refused(by engine.Approver, hash, why string) {
	w.t.Helper()
	_, err := w.e.Approve(context.Background(), by, "infra/site", hash, "")
	if !errors.Is(err, auth.ErrDenied) || !strings.Contains(err.Error(), why) {
		w.t.Errorf("%s: %v, want %q", by.Actor, err, why)
	}
}

func comment(login string) engine.Approver {
	return engine.Approver{Actor: store.Actor("gitea:" + login), Login: login, Via: store.ByComment}
}

// Whoever is made an owner by the change itself has no say in it.
func TestOwnersOfTheBaseApprove(t *testing.T) {
	t.Parallel()
	w, f := ownedWorld(t, `{by: [codeowners]}`)
	f.Team("acme/web", "walt")
	c2 := w.push(map[string]string{"CODEOWNERS": "web/.* @mallory\n", "web/a": "two\n"})
	held := w.held("infra/site", engine.GateApproval)
	if !strings.Contains(held.Status.Message, "needs 1 approval by a code owner of web/a (@olga @acme/web)") {
		t.Errorf("message: %s", held.Status.Message)
	}
	hash := held.Status.PlanHash
	w.refused(comment("mallory"), hash, "the rule asks for a code owner of web/a (@olga @acme/web)")
	w.refused(engine.Approver{Actor: "user:alice", Teams: []string{"sre"}}, hash, "the rule asks for a code owner")
	f.Fail(func(call string) error {
		if call == "InTeam" {
			return forge.ErrUnreachable
		}
		return nil
	})
	w.refused(comment("walt"), hash, "@acme/web could not be looked up")
	f.Fail(nil)
	if w.file("a") != "one\n" {
		t.Fatal("applied without an approval")
	}
	if _, err := w.e.Approve(context.Background(), comment("walt"), "infra/site", hash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c2)
	// From now on the new file counts.
	w.push(map[string]string{"web/a": "three\n"})
	held = w.held("infra/site", engine.GateApproval)
	w.refused(comment("walt"), held.Status.PlanHash, "a code owner of web/a (@mallory)")
}

// The second of two approvers is not taken for the author because the run
// that goes on with the plan is his.
func TestEveryApproverCountsBesideNotAuthor(t *testing.T) {
	t.Parallel()
	w, _ := ownedWorld(t, `{all: [{by: ["team:a"]}, {by: ["team:b"]}], notAuthor: true}`)
	c2 := w.push(map[string]string{"web/a": "two\n"})
	hash := w.held("infra/site", engine.GateApproval).Status.PlanHash
	ctx := context.Background()
	if _, err := w.e.Approve(ctx, engine.Approver{Actor: "user:ann", Teams: []string{"a"}}, "infra/site", hash, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("one approval is not enough", func() bool {
		return w.target("infra/site").Status.Message == "needs 1 approval by team:b"
	})
	w.refused(engine.Approver{Actor: "user:carl", Teams: []string{"c"}}, hash, "the rule asks for team:a, and team:b")
	if _, err := w.e.Approve(ctx, engine.Approver{Actor: "user:bob", Teams: []string{"b"}}, "infra/site", hash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c2)
	runs, _, err := w.st.Runs(ctx, store.RunFilter{Target: "infra/site", State: store.RunSucceeded})
	if err != nil || len(runs) == 0 || runs[0].Approval != "approved by user:ann; user:bob" || runs[0].First == nil || !strings.HasPrefix(string(runs[0].First.Actor), "system:") {
		t.Errorf("%+v %v", runs, err)
	}
}

func TestApproverOnForge(t *testing.T) {
	t.Parallel()
	w, _ := ownedWorld(t, `{by: [codeowners]}`)
	for login, want := range map[string]string{"alice-g": "user:alice", "olga": "gitea:olga"} {
		if a, err := w.e.ApproverOnForge("infra", login, "site", ""); err != nil || string(a.Actor) != want || a.Via != store.ByComment {
			t.Errorf("%s: %+v %v", login, a, err)
		}
	}
	if _, err := w.e.ApproverOnForge("infra", "vera", "site", ""); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("a viewer approves: %v", err)
	}
}

// A stranger may not hold what he could not approve.
func TestStrangersMayNotReject(t *testing.T) {
	t.Parallel()
	w, _ := ownedWorld(t, `{by: [codeowners]}`)
	w.push(map[string]string{"web/a": "two\n"})
	hash := w.held("infra/site", engine.GateApproval).Status.PlanHash
	if _, err := w.e.Reject(context.Background(), comment("mallory"), "infra/site", hash, "no"); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("a stranger rejected: %v", err)
	}
	if _, err := w.e.Reject(context.Background(), comment("olga"), "infra/site", hash, "no"); err != nil {
		t.Errorf("an owner: %v", err)
	}
}

// A review counts for the plan that it was given to, as long as it stands.
func TestDismissedReviewCountsNoLonger(t *testing.T) {
	w := newPullWorld(t, "", `approve: [{when: "plan.actions == ['create']", by: auto}, {by: ["team:sre"], reviews: true}]`)
	c1 := w.push(many(3))
	w.start()
	w.synced("infra/site", c1)
	head := w.propose(5, "dev", map[string]string{"web/f001": "changed\n"})
	w.event(forge.PullChanged, 5)
	w.planned(5, head, forge.StatusSuccess)
	review := func(state string) {
		w.forge.Review(5, "alice", state)
		w.event(forge.PullChanged, 5)
	}
	review("approved")
	w.eventually("the review counts", func() bool { return strings.Contains(w.forge.Own(5)[0].Body, "approved by `user:alice`") })
	review("dismissed")
	commit := w.merge(5, "dev", false)
	w.event(forge.Pushed, 0)
	w.held("infra/site", engine.GateApproval)
	if w.file("f001") == "changed\n" {
		t.Fatal("applied on a review that was withdrawn")
	}
	// Given again, it is a new one: the plan that it saw is the same.
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:alice", Teams: []string{"sre"}}, "infra/site",
		w.target("infra/site").Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", commit)
}

// What somebody left waiting does not pass because the next change is by
// somebody who is trusted.
func TestATrustedAuthorCarriesNobodyElse(t *testing.T) {
	w := newPullWorld(t, "", `approve: [{when: "plan.actions == ['create']", by: auto}, {when: "author == 'user:alice'", by: auto}, {by: ["team:sre"], notAuthor: true}]`)
	c1 := w.push(many(5))
	w.start()
	w.synced("infra/site", c1)
	w.propose(1, "alice", map[string]string{"web/f001": "by alice\n"})
	w.synced("infra/site", w.merge(1, "alice", false))

	w.propose(2, "dev", map[string]string{"web/f002": "by dev\n"})
	w.merge(2, "dev", false)
	w.held("infra/site", engine.GateApproval)
	w.propose(3, "alice", map[string]string{"web/f003": "by alice\n"})
	c3 := w.merge(3, "alice", false)
	w.eventually("planned with both", func() bool {
		s := w.target("infra/site")
		return s.Desired.Commit == c3 && s.Status.Gate == string(engine.GateApproval) && w.planOf("infra/site") == 2
	})
	if w.file("f002") != "file 2\n" || w.file("f003") != "file 3\n" {
		t.Fatal("dev's change was applied under alice's name")
	}
	ctx, hash := context.Background(), w.target("infra/site").Status.PlanHash
	alice := engine.Approver{Actor: "user:alice", Teams: []string{"sre"}}
	if _, err := w.e.Approve(ctx, alice, "infra/site", hash, ""); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("one of the authors approved: %v", err)
	}
	if _, err := w.e.Approve(ctx, engine.Approver{Actor: "user:carl", Teams: []string{"sre"}}, "infra/site", hash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c3)
}

// planOf gives the number of changes in the plan that waits.
func (w *world) planOf(target string) int {
	p, _, err := w.st.PlanByHash(context.Background(), target, w.target(target).Status.PlanHash)
	if err != nil {
		return 0
	}
	return len(p.Changes)
}
