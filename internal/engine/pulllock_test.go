package engine_test

import (
	"testing"

	"trueup.dev/trueup/internal/source/forge"
)

// Two pull requests were planned while nothing was locked: the second apply
// does not take the target away from the first.
func TestALockIsNotTakenOverByAnOlderPlan(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {applyBeforeMerge: true}", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	other := w.propose(5, "dev", map[string]string{"web/other": "o\n"})
	w.event(forge.PullChanged, 5)
	w.planned(5, other, forge.StatusSuccess)
	w.answered(4, w.say(4, "dev", "trueup apply"), forge.Done)
	w.eventually("applied", func() bool { return w.file("new") == "x\n" })
	w.contains(w.answered(5, w.say(5, "dev", "trueup apply"), forge.Refused), "locked by `infra#4`")
	if x := w.target("infra/site"); x.Desired.Lock != "infra#4" || w.file("new") != "x\n" || w.file("other") != "" {
		t.Errorf("the lock is %+v, new %q, other %q", x.Desired, w.file("new"), w.file("other"))
	}
}
