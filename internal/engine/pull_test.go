package engine_test

import (
	"testing"

	"trueup.dev/trueup/internal/source/forge"
)

func TestPlanOnAPullRequestChangesNothingAndFollowsPushes(t *testing.T) {
	w := newPullWorld(t, "", "")
	c := w.push(many(3))
	w.start()
	w.synced("infra/site", c)
	head := w.propose(7, "dev", map[string]string{"web/new": "hello\n", "web/f001": "changed\n", "web/f002": ""})
	w.event(forge.PullChanged, 7)
	text := w.planned(7, head, forge.StatusSuccess)
	w.contains(text, "### trueup plan", "| `infra/site` | `site` | 1 to create, 1 to update, 1 to delete | ready |", "+ new", "! f001", "- f002", "```diff", "trueup show r")
	if w.file("new") != "" || w.file("f002") == "" {
		t.Error("the plan was applied")
	}
	if all := w.forge.Statuses(head, "trueup/plan"); all[0].State != forge.StatusPending {
		t.Errorf("the first status was %+v", all[0])
	}
	second := w.propose(7, "dev", map[string]string{"web/another": "x\n"})
	w.event(forge.PullChanged, 7)
	text = w.planned(7, second, forge.StatusSuccess)
	w.contains(text, "2 to create", "+ another")
	if n := len(w.forge.Own(7)); n != 1 {
		t.Errorf("there are %d comments", n)
	}
	w.synced("infra/site", c)
}
