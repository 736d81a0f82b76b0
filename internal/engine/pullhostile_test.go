package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/source/forge"
)

// Whoever may write to a repository may edit others' comments on most forges:
// words that were put into somebody's mouth are no command.
func TestACommandThatWasEditedInIsNone(t *testing.T) {
	w := newPullWorld(t, "", "approve: [{when: \"pull > 0\", by: [\"team:sre\"]}, {by: auto}]")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(3, "dev", map[string]string{"web/new": "one\n"})
	w.event(forge.PullChanged, 3)
	w.planned(3, head, forge.StatusSuccess)
	w.eventually("quiet", func() bool { return w.quiet(3) })
	id := w.forge.Comment(3, "alice", "I have a question")
	w.forge.Amend(3, id, "trueup approve site")
	w.event(forge.Commented, 3)
	w.contains(w.answered(3, id, forge.Refused), "was edited")
	if b := w.forge.Own(3)[0].Body; !strings.Contains(b, "needs approval") {
		t.Errorf("approved:\n%s", b)
	}
}

// An approval that the forge leaves standing after a push vouches for no code
// that came later.
func TestAStandingApprovalVouchesForNoLaterHead(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {trusted: [\"user:alice\"]}", "")
	w.forge.NoReviewCommits = true
	d := newCodeDriver()
	w.files = d
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "mallory", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusFailure)
	w.eventually("quiet", func() bool { return w.quiet(4) })
	w.forge.Review(4, "alice", "approved")
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	w.eventually("quiet", func() bool { return w.quiet(4) })
	drain(d.opened)
	second := w.propose(4, "mallory", map[string]string{"web/new": "y\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, second, forge.StatusFailure)
	if p := drain(d.opened); len(p) > 0 {
		t.Errorf("sessions were opened for code that nobody has looked at: %v", p)
	}
}

// Somebody who removes a pull request takes its locks away with it; one that
// can't be read keeps them.
func TestARemovedPullRequestGivesItsLocksBack(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {applyBeforeMerge: true}", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	w.answered(4, w.say(4, "dev", "trueup apply"), forge.Done)
	w.eventually("applied", func() bool { return w.file("new") == "x\n" })
	w.forge.Fail(func(call string) error {
		if call == "PullRequest" || call == "Open" {
			return fmt.Errorf("hidden: %w", forge.ErrNotFound)
		}
		return nil
	})
	n := w.forge.Calls("Open")
	w.event(forge.PullChanged, 4)
	w.eventually("asked", func() bool { return w.forge.Calls("Open") > n && w.quiet(4) })
	if x := w.target("infra/site"); x.Desired.Source != "lock" {
		t.Errorf("the lock was given back because the forge could not be read: %+v", x.Desired)
	}
	w.forge.Remove(4)
	w.forge.Fail(nil)
	w.event(forge.PullChanged, 4)
	w.eventually("given back", func() bool { return w.target("infra/site").Desired.Source == "branch" && w.file("new") == "" })
}

// Plans that take too long together are told as that: a status that stays
// pending would hold up the merge for ever.
func TestPlansThatTakeTooLongAreTold(t *testing.T) {
	t.Cleanup(engine.LeastPreview(time.Second))
	w := newPullWorld(t, "", "")
	w.config = strings.Replace(w.config, "limits: {", "limits: {planTimeout: 1s, ", 1)
	d := newCodeDriver()
	w.files = d
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	wait := make(chan struct{})
	defer close(wait)
	d.wait.Store(&wait)
	manifest := strings.TrimSpace(baseManifest)
	files := map[string]string{}
	for i := range 20 {
		manifest += fmt.Sprintf("\n  - {name: n%02d, environment: site, path: n%02d, scope: {files: [\"n%02d*\"]}}", i, i, i)
		files[fmt.Sprintf("n%02d/n%02d", i, i)] = "x\n"
	}
	files["trueup.yaml"] = manifest + "\n"
	head := w.propose(4, "dev", files)
	w.event(forge.PullChanged, 4)
	group := w.run(w.git, "git", "commit-tree", "-m", "group", "-p", head, head+"^{tree}")
	const ref = "refs/heads/gh-readonly-queue/main/pr-4"
	w.run(w.git, "git", "push", "-q", "origin", group+":"+ref)
	if err := w.e.Event(t.Context(), "infra", forge.Event{Kind: forge.MergeQueue, Ref: ref, Commit: group}); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []string{head, group} {
		w.eventually("told", func() bool {
			s := w.forge.Status(commit, "trueup/plan")
			return s.State == forge.StatusFailure && strings.Contains(s.Description, "took too long")
		})
	}
}

// What was carried out is forgotten after a while, also of a pull request that
// stays open: a command of old does not come to life again.
func TestForgottenCommandsAreNotRepeated(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	w.eventually("quiet", func() bool { return w.quiet(4) })
	old := w.forge.Comment(4, "dev", "trueup plan")
	w.forge.Age(4, old, 400*24*time.Hour)
	w.answered(4, w.say(4, "dev", "trueup help"), forge.Done)
	w.eventually("quiet", func() bool { return w.quiet(4) })
	if r := w.forge.Reactions(old); len(r) > 0 {
		t.Errorf("the old command was answered: %v", r)
	}
}
