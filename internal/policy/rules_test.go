package policy

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday

func facts() Facts {
	return Facts{Target: config.Resolved{ID: "infra/zone", Name: "zone", Environment: "dns-public", Repository: "infra"},
		Actor: "user:alice", Cause: "push", Teams: []string{"dev"}, Now: noon}
}

func compile(t *testing.T, rules ...config.Approval) *Rules {
	t.Helper()
	r, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func approve(who string, at int, teams ...string) store.Approval {
	return store.Approval{Approved: true, Actor: store.Actor(who), Teams: teams, At: noon.Add(time.Duration(at) * time.Minute)}
}

func reject(who string, at int, why string) store.Approval {
	a := approve(who, at)
	a.Approved, a.Reason = false, why
	return a
}

// mixed has one change of every action, and a secret.
func mixed() *plan.Plan {
	p := &plan.Plan{Target: "infra/zone", Digest: "d1", Mode: plan.Apply, Scopes: []plan.ScopePlan{{Scope: "z", Owned: map[string]int{"record": 40, "file": 2}}}}
	for _, a := range []plan.Action{plan.Create, plan.Update, plan.Update, plan.Delete, plan.Replace, plan.Rename, plan.Adopt, plan.Disable, plan.Forget} {
		p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Scope: "z", Address: plan.Address(fmt.Sprintf("a%d", len(p.Changes)))},
			Kind: "rrset", Action: a, Reason: plan.BySpec})
	}
	p.Changes[0].After = []byte(`{"ttl":300,"values":["10.0.0.1"],"password":"canary-9f3"}`)
	p.Changes[0].Sensitive = []string{"/password"}
	p.Changes[3].Impact = []plan.Impact{{Class: "record", Delete: 5}}
	p.Changes[4].Impact = []plan.Impact{{Class: "record", Replace: 2}}
	return p
}

func TestExpressions(t *testing.T) {
	for expr, want := range map[string]bool{
		"plan.creates == 1 && plan.updates == 2 && plan.renames == 1 && plan.adopts == 1 && plan.disables == 1 && plan.forgets == 1": true,
		// A replace takes something away as well.
		"plan.deletes == 2 && plan.replaces == 1": true,
		"plan.deletes == 0":                       false,
		"plan.impact.record.delete == 7":          true,
		`plan.impact["record"].owned == 40`:       true,
		`plan.impact["file"].owned == 2`:          true,
		// A class that the plan leaves alone has zeros.
		`plan.impact["user"].delete == 0`:                                   true,
		`"user" in plan.impact`:                                             false,
		`plan.impact["rrset"].create == 1`:                                  true,
		`plan.mode == "apply"`:                                              true,
		`size(plan.changes) == 9`:                                           true,
		`plan.changes.all(c, c.scope == "z" && c.kind == "rrset")`:          true,
		`plan.changes.exists(c, c.action == "delete" && c.address == "a3")`: true,
		`plan.changes.exists(c, c.action == "create" && c.after.ttl < 600 && c.before == null)`:       true,
		`plan.changes.exists(c, c.after != null && c.after.ttl == 300)`:                               true,
		`plan.changes.exists(c, has(c.after.values) && c.after.values[0].startsWith("10."))`:          true,
		`plan.changes.exists(c, c.after != null && has(c.after.password) && c.after.password=="***")`: true,
		`target.name == "zone" && target.environment == "dns-public" && target.repository == "infra"`: true,
		`actor == "user:alice" && cause == "push" && "dev" in teams`:                                  true,
		`now.getDayOfWeek("Europe/Berlin") == 1 && now.getHours("Europe/Berlin") == 13`:               true,
		`now > timestamp("2027-01-01T00:00:00Z")`:                                                     false,
	} {
		r := compile(t, config.Approval{When: expr, By: []string{"auto"}})
		d, err := r.Decide(mixed(), facts(), nil, nil)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		}
		if d.Auto != want || d.Needed == want {
			t.Errorf("%s: auto %v, needed %v, want auto %v", expr, d.Auto, d.Needed, want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for want, a := range map[string]config.Approval{
		"approve[0].when: 1:5: undefined field 'deltes'":       {When: "plan.deltes == 0"},
		"approve[0].when: 2:1: undeclared reference to 'plon'": {When: "plan.deletes == 0 &&\nplon.x"},
		"approve[0].when: 1:17: Syntax error":                  {When: "plan.deletes == )"},
		"1:14: found no matching overload":                     {When: `plan.deletes == "none"`},
		"approve[0].when: 1:1: the expression gives int":       {When: "plan.deletes"},
		"limit is 4096":                                          {When: strings.Repeat("true && ", 1000) + "true"},
		"approve[0].by[1]: auto stands beside":                   {By: []string{"team:sre", "auto"}},
		`approve[0].by[0]: "sre" is no approver`:                 {By: []string{"sre"}},
		`"team:" is no approver`:                                 {By: []string{"team:"}},
		"approve[0].count: count is -1":                          {Count: -1},
		"approve[0].count: needs 3 approvals but names 2 people": {By: []string{"user:a", "user:b", "user:a"}, Count: 3},
	} {
		_, err := Compile([]config.Approval{a})
		var found plan.Diagnostics
		if !errors.As(err, &found) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v:\n got %v\nwant %s", a, err, want)
		}
	}
	// All mistakes at once.
	_, err := Compile([]config.Approval{{When: "x"}, {When: "true"}, {When: "y"}})
	if err == nil || !strings.Contains(err.Error(), "approve[0]") || !strings.Contains(err.Error(), "approve[2]") {
		t.Errorf("not all mistakes: %v", err)
	}
}

func TestEvaluationFailsClosed(t *testing.T) {
	for _, expr := range []string{
		`plan.changes.exists(c, c.after.nosuch == 1)`,
		`1 / plan.impact["user"].delete == 1`,
		`plan.changes[99].address == "x"`,
	} {
		d, err := compile(t, config.Approval{When: expr, By: []string{"auto"}}).Decide(mixed(), facts(), []store.Approval{approve("user:bob", 1)}, nil)
		if err == nil || d.Auto || !d.Needed || d.Allowed() {
			t.Errorf("%s passes: %+v, %v", expr, d, err)
		}
		if strings.Contains(fmt.Sprint(d, err), "canary") {
			t.Errorf("%s shows a secret: %v", expr, err)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	p := &plan.Plan{}
	for i := range 100_000 {
		p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Address: plan.Address(fmt.Sprint(i))}, Action: plan.Update})
	}
	start := time.Now()
	r := compile(t, config.Approval{When: `plan.changes.all(a, plan.changes.all(b, plan.changes.all(c, a.address + b.address != c.address + "x")))`, By: []string{"auto"}})
	d, err := r.Decide(p, facts(), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "cost limit") || d.Allowed() {
		t.Errorf("an expression without end was evaluated: %+v", d)
	}
	if took := time.Since(start); took > 2*maxTime {
		t.Errorf("took %v", took)
	}
	// An ordinary rule over a large plan is not in danger.
	d, err = compile(t, config.Approval{When: `plan.changes.all(c, c.action == "update" && !c.address.startsWith("x"))`, By: []string{"auto"}}).Decide(p, facts(), nil, nil)
	if err != nil || !d.Auto {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWhoCounts(t *testing.T) {
	sre := config.Approval{By: []string{"team:sre", "user:cto"}, Count: 2}
	for name, c := range map[string]struct {
		rule   config.Approval
		given  []store.Approval
		have   []string
		reject bool
	}{
		"nobody":                {rule: sre},
		"one of two":            {rule: sre, given: []store.Approval{approve("user:bob", 1, "sre")}, have: []string{"user:bob"}},
		"two":                   {rule: sre, given: []store.Approval{approve("user:bob", 1, "sre"), approve("user:cto", 2)}, have: []string{"user:bob", "user:cto"}},
		"the same person twice": {rule: sre, given: []store.Approval{approve("user:bob", 1, "sre"), approve("user:bob", 2, "sre")}, have: []string{"user:bob"}},
		"another team":          {rule: sre, given: []store.Approval{approve("user:eve", 1, "dev")}},
		"a user named as team":  {rule: sre, given: []store.Approval{approve("team:sre", 1)}},
		"a team named as user":  {rule: config.Approval{By: []string{"user:sre"}}, given: []store.Approval{approve("user:bob", 1, "sre")}},
		"the machine":           {rule: config.Approval{}, given: []store.Approval{approve("system:poll", 1), approve("webhook:infra", 1), approve("", 1)}},
		"anybody":               {rule: config.Approval{}, given: []store.Approval{approve("cli:root@host", 1)}, have: []string{"cli:root@host"}},
		"the author":            {rule: config.Approval{}, given: []store.Approval{approve("user:alice", 1)}, have: []string{"user:alice"}},
		"not the author":        {rule: config.Approval{NotAuthor: true}, given: []store.Approval{approve("user:alice", 1)}},
		"another inputs digest": {rule: config.Approval{}, given: []store.Approval{{Approved: true, Actor: "user:bob", Digest: "d0"}}},
		"another target":        {rule: config.Approval{}, given: []store.Approval{{Approved: true, Actor: "user:bob", Target: "infra/other"}}},
		"rejected afterwards":   {rule: config.Approval{}, given: []store.Approval{approve("user:bob", 1), reject("user:eve", 2, "no")}, reject: true},
		"at the same time":      {rule: config.Approval{}, given: []store.Approval{reject("user:eve", 1, "no"), approve("user:bob", 1)}, reject: true},
		"rejected before":       {rule: config.Approval{}, given: []store.Approval{reject("user:eve", 1, "no"), approve("user:bob", 2)}, have: []string{"user:bob"}},
		"unordered":             {rule: config.Approval{}, given: []store.Approval{reject("user:eve", 2, "no"), approve("user:bob", 1)}, reject: true},
	} {
		d, err := compile(t, c.rule).Decide(mixed(), facts(), c.given, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(d.Have, c.have) {
			t.Errorf("%s: have %v, want %v", name, d.Have, c.have)
		}
		if enough := len(c.have) >= max(c.rule.Count, 1); d.Allowed() != enough {
			t.Errorf("%s: allowed %v, want %v: %+v", name, d.Allowed(), enough, d)
		}
		if (d.Rejected != "") != c.reject {
			t.Errorf("%s: rejected %q, want %v", name, d.Rejected, c.reject)
		}
	}
}

func TestWhichRule(t *testing.T) {
	small := config.Approval{When: "plan.deletes == 0", By: []string{"auto"}}
	big := config.Approval{When: "plan.deletes > 100", By: []string{"user:cto"}}
	sre := config.Approval{By: []string{"team:sre"}}
	creates := &plan.Plan{Changes: []plan.Change{{Action: plan.Create}}}
	forced := []Violation{{Text: "too much"}}
	for name, c := range map[string]struct {
		rules  []config.Approval
		plan   *plan.Plan
		forced []Violation
		given  []store.Approval
		auto   bool
		needed bool
		miss   string
	}{
		"no rules":                     {plan: mixed()},
		"no rules, but a guard":        {plan: mixed(), forced: forced, needed: true, miss: "needs 1 approval by any approver"},
		"auto":                         {rules: []config.Approval{small, sre}, plan: creates, auto: true},
		"the second":                   {rules: []config.Approval{small, sre}, plan: mixed(), needed: true, miss: "needs 1 approval by team:sre"},
		"the first that matches":       {rules: []config.Approval{small, big, sre}, plan: mixed(), needed: true, miss: "needs 1 approval by team:sre"},
		"none matches":                 {rules: []config.Approval{small}, plan: mixed(), needed: true, miss: "needs 1 approval by any approver (no approval rule matches this plan)"},
		"auto, but a guard":            {rules: []config.Approval{small, big, sre}, plan: creates, forced: forced, needed: true, miss: "needs 1 approval by team:sre"},
		"auto, a guard, no other rule": {rules: []config.Approval{small}, plan: creates, forced: forced, needed: true, miss: "needs 1 approval by any approver"},
		"auto, but rejected":           {rules: []config.Approval{small, sre}, plan: creates, given: []store.Approval{reject("user:eve", 1, "")}, needed: true, miss: "needs 1 approval by team:sre"},
		"two of three": {rules: []config.Approval{{By: []string{"team:sre"}, Count: 3}}, plan: mixed(), needed: true,
			given: []store.Approval{approve("user:b", 1, "sre")}, miss: "needs 2 more approvals by team:sre"},
	} {
		d, err := compile(t, c.rules...).Decide(c.plan, facts(), c.given, c.forced)
		if err != nil {
			t.Fatal(err)
		}
		if d.Auto != c.auto || d.Needed != c.needed || d.Missing != c.miss {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d, err := (*Rules)(nil).Decide(mixed(), facts(), nil, nil); err != nil || !d.Allowed() {
		t.Errorf("nil rules: %+v, %v", d, err)
	}
	// An approval that nobody asked for is still shown: it may be needed elsewhere.
	if d, _ := compile(t).Decide(mixed(), facts(), []store.Approval{approve("user:bob", 1)}, nil); len(d.Have) != 1 {
		t.Errorf("%+v", d)
	}
}

// The expressions in the documentation are ones that load.
func TestDocumentedRules(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`when: "([^"]+)"`).FindAllSubmatch(page, -1)
	if len(found) < 3 {
		t.Fatalf("found %d rules", len(found))
	}
	for _, m := range found {
		compile(t, config.Approval{When: string(m[1])})
	}
}
