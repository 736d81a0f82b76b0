package engine_test

import (
	"strings"
	"testing"

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
