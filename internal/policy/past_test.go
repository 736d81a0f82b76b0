package policy

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func TestTry(t *testing.T) {
	creates := &plan.Plan{Driver: "dns", Mode: plan.Apply, Changes: []plan.Change{{Key: plan.Key{Scope: "z", Address: "a"}, Kind: "record", Action: plan.Create}}}
	auto := compile(t, config.Approval{When: `driver == "dns" && author == "gitea:paul" && target.name == "zone" && pull == 3`, By: []string{"auto"}}, config.Approval{By: []string{"team:sre"}})
	run := func(approval, gate string, author string) store.Run {
		return store.Run{ID: "r", Target: "infra/zone@dns", Environment: "dns", Approval: approval, Gate: gate, Started: noon,
			Origin: &store.Origin{Forge: "gitea", Number: 3, Proposed: store.Party{Login: author}}}
	}
	zero := 0
	for name, c := range map[string]struct {
		run   store.Run
		guard map[string]config.Limit
		diff  string
		then  string
		needs string
	}{
		"passed, and would":     {run: run("rule x", "", "paul"), diff: Same, then: Passed},
		"held, and would pass":  {run: run("", "approval", "paul"), diff: Looser, then: Held},
		"approved, would pass":  {run: run("approved by user:bob", "", "paul"), diff: Looser, then: Approved},
		"passed, would be held": {run: run("no approval needed", "", "eve"), diff: Stricter, then: Passed, needs: "needs 1 approval by team:sre"},
		"held, and would be":    {run: run("", "rejected", "eve"), diff: Same, then: Held, needs: "needs 1 approval by team:sre"},
		"held by a window":      {run: run("", "window", "paul"), diff: Same, then: Passed},
		"over a guard":          {run: run("rule x", "", "paul"), guard: map[string]config.Limit{"create": {Max: &zero}}, diff: Stricter, then: Passed, needs: "needs 1 approval by team:sre"},
		"drift":                 {run: run("drift of a state that rests on: rule x", "", "eve"), diff: Same, then: Passed},
	} {
		v := auto.Try(c.guard, Past{Run: c.run, Plan: creates})
		if v.Difference != c.diff || v.Then != c.then || v.Needs != c.needs || v.Error != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	looks, v := auto.Explain(nil, Past{Run: run("", "", "eve"), Plan: creates})
	if len(looks) != 2 || looks[0].Matches || !looks[1].Counts || v.Now != Held {
		t.Errorf("%+v %+v", looks, v)
	}
	looks, _ = compile(t, config.Approval{When: "plan.changes[3].address == 'x'", By: []string{"auto"}}).Explain(nil, Past{Run: run("", "", "eve"), Plan: creates})
	if !looks[0].Counts || !strings.Contains(looks[0].Error, "index out of bounds") {
		t.Errorf("%+v", looks)
	}
}
