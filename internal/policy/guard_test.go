package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

func most(n int) config.Limit              { return config.Limit{Max: &n} }
func share(s float64) config.Limit         { return config.Limit{Share: &s} }
func both(n int, s float64) config.Limit   { return config.Limit{Max: &n, Share: &s} }
func only(i plan.Impact, n int) *plan.Plan { return impactPlan(n, i) }
func limits(kv ...any) map[string]config.Limit {
	out := map[string]config.Limit{}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i].(string)] = kv[i+1].(config.Limit)
	}
	return out
}

// impactPlan has one change with the impacts given, by a target that owns n
// records.
func impactPlan(n int, is ...plan.Impact) *plan.Plan {
	return &plan.Plan{Mode: plan.Apply, Scopes: []plan.ScopePlan{{Owned: map[string]int{"record": n}}},
		Changes: []plan.Change{{Action: plan.Update, Impact: is}}}
}

func texts(vs []Violation) string {
	var s []string
	for _, v := range vs {
		s = append(s, v.Text)
	}
	return strings.Join(s, "; ")
}

func TestGuard(t *testing.T) {
	del := func(n int) plan.Impact { return plan.Impact{Class: "record", Delete: n} }
	upd := func(n int) plan.Impact { return plan.Impact{Class: "record", Update: n} }
	for name, c := range map[string]struct {
		limits map[string]config.Limit
		plan   *plan.Plan
		want   string
	}{
		"default delete":         {nil, only(del(300), 412), "would delete 300 records, the guard allows 10"},
		"default delete, few":    {nil, only(del(3), 412), ""},
		"default update":         {nil, only(upd(300), 412), "would update 300 records, the guard allows 100"},
		"default create":         {nil, only(plan.Impact{Class: "record", Create: 10_000}, 0), ""},
		"default disable":        {nil, only(plan.Impact{Class: "user", Disable: 500}, 0), "would disable 500 users, the guard allows 1 (20% of 0)"},
		"the default of the key": {limits("update", most(1000)), only(del(30), 4000), "would delete 30 records, the guard allows 10"},
		"just enough":            {limits("delete", most(5)), only(del(5), 1000), ""},
		"one more":               {limits("delete", most(5)), only(del(6), 1000), "would delete 6 records, the guard allows 5"},
		"share":                  {limits("delete", share(0.2)), only(del(83), 412), "would delete 83 records, the guard allows 82 (20% of 412)"},
		"share is smaller":       {limits("delete", both(100, 0.2)), only(del(83), 412), "would delete 83 records, the guard allows 82 (20% of 412)"},
		"number is smaller":      {limits("delete", both(50, 0.2)), only(del(83), 412), "would delete 83 records, the guard allows 50"},
		"zero":                   {limits("replace", most(0)), only(plan.Impact{Class: "record", Replace: 1}, 100), "would replace 1 record, the guard allows 0"},
		"zero percent":           {limits("update", share(0)), only(upd(1), 100), "would update 1 record, the guard allows 0 (0% of 100)"},
		"all percent":            {limits("delete", share(1)), only(del(100), 100), ""},
		"replace is a delete": {limits("replace", share(1)), only(plan.Impact{Class: "record", Replace: 9, Delete: 4}, 100),
			"would delete 13 records (9 of them by replacing), the guard allows 10"},
		"small update":        {limits("update", share(0.2)), only(upd(3), 4), ""},
		"small delete":        {limits("delete", share(0.2)), only(del(3), 4), ""},
		"small delete of all": {limits("delete", share(0.2)), only(del(3), 3), "would delete 3 records, the guard allows 2 (20% of 3)"},
		"the only one":        {limits("delete", share(0.2)), only(del(1), 1), ""},
		"class's own":         {limits("delete", config.Limit{Max: new(int), Classes: map[string]int{"record": 50}}), only(del(50), 1000), ""},
		"per class": {limits("delete", most(5)), impactPlan(100, del(5), plan.Impact{Class: "entry", Delete: 6}, plan.Impact{Class: "alias", Delete: 7}),
			"would delete 7 alias, the guard allows 5; would delete 6 entries, the guard allows 5"},
		"added up over changes": {limits("delete", most(5)), &plan.Plan{Changes: []plan.Change{{Impact: []plan.Impact{del(3)}}, {Impact: []plan.Impact{del(3)}}}},
			"would delete 6 records, the guard allows 5"},
	} {
		if got := texts(Guard(c.limits, c.plan)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// A driver that declares no impact is counted all the same.
func TestUndeclaredImpact(t *testing.T) {
	for action, want := range map[plan.Action]string{
		plan.Delete: "would delete 11 rrsets, the guard allows 1 (20% of 0)", plan.Disable: "would disable 11 rrsets, the guard allows 1 (20% of 0)",
		plan.Update: "would update 11 rrsets, the guard allows 3 (33% of 0)", plan.Adopt: "", plan.Forget: "", plan.None: "", plan.Create: "",
	} {
		p := &plan.Plan{}
		for range 11 {
			p.Changes = append(p.Changes, plan.Change{Kind: "rrset", Action: action})
		}
		if got := texts(Guard(nil, p)); got != want {
			t.Errorf("%s: %s", action, got)
		}
	}
}

func TestNeverWhateverTheLimits(t *testing.T) {
	free := limits("create", share(1), "update", share(1), "replace", share(1), "delete", share(1), "disable", share(1))
	p := &plan.Plan{Scopes: []plan.ScopePlan{{Scope: "a", Empty: true, Owned: map[string]int{"record": 40}}, {Scope: "b", Owned: map[string]int{"record": 60}}},
		Changes: []plan.Change{{Key: plan.Key{Scope: "a", Address: "x"}, Action: plan.Delete, Impact: []plan.Impact{{Class: "record", Delete: 2}}},
			{Key: plan.Key{Scope: "b", Address: "y"}, Action: plan.Delete, Impact: []plan.Impact{{Class: "record", Delete: 1}}}}}
	vs := Guard(free, p)
	if len(vs) != 1 || vs[0].Count != 2 || vs[0].Owned != 100 || !strings.Contains(vs[0].Text, "would delete 2 records where the environment reads empty") {
		t.Errorf("empty: %+v", vs)
	}
	p.Scopes[0].Empty = false
	if vs := Guard(free, p); len(vs) != 0 {
		t.Errorf("%+v", vs)
	}
	p.Mode = plan.Destroy
	if got := texts(Guard(free, p)); got != "would destroy all that the target owns: 3 records" {
		t.Errorf("destroy: %s", got)
	}
	p.Mode = plan.AddOnly
	if got := texts(Guard(free, p)); got != "would delete 3 records in a run that may only add" {
		t.Errorf("addOnly: %s", got)
	}
	c := &plan.Plan{Changes: []plan.Change{{Key: plan.Key{Scope: "z", Address: "www/A"}, Action: plan.Update, Kind: "rrset", Conflict: "exists, differs and nobody owns it"}}}
	if vs := Guard(free, c); len(vs) != 1 || vs[0].Impact != "conflict" || vs[0].Text != "would update z www/A, which is in conflict: exists, differs and nobody owns it" {
		t.Errorf("conflict: %+v", vs)
	}
}

// What could not be read is no part of a share.
func TestUnknownScopesDontCount(t *testing.T) {
	p := &plan.Plan{Scopes: []plan.ScopePlan{{Scope: "a", Owned: map[string]int{"record": 10}}, {Scope: "b", Unknown: "timed out", Owned: map[string]int{"record": 1000}}},
		Changes: []plan.Change{{Key: plan.Key{Scope: "a"}, Action: plan.Delete, Impact: []plan.Impact{{Class: "record", Delete: 9}}}}}
	if vs := Guard(limits("delete", share(0.5)), p); len(vs) != 1 || vs[0].Owned != 10 || vs[0].Limit != 5 {
		t.Errorf("%+v", vs)
	}
}

var actions = []plan.Action{plan.None, plan.Create, plan.Update, plan.Replace, plan.Delete, plan.Adopt, plan.Rename, plan.Disable, plan.Forget}

func genChange(t *rapid.T) plan.Change {
	c := plan.Change{Key: plan.Key{Scope: plan.Scope(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "scope")), Address: plan.Address(rapid.StringN(0, 4, 8).Draw(t, "address"))},
		Kind: rapid.SampledFrom([]string{"", "rrset"}).Draw(t, "kind"), Action: rapid.SampledFrom(actions).Draw(t, "action")}
	if rapid.Bool().Draw(t, "conflicts") {
		c.Conflict = "differs"
	}
	n := rapid.IntRange(0, 6)
	for range rapid.IntRange(0, 2).Draw(t, "impacts") {
		c.Impact = append(c.Impact, plan.Impact{Class: rapid.SampledFrom([]string{"record", "user"}).Draw(t, "class"),
			Create: n.Draw(t, "c"), Update: n.Draw(t, "u"), Replace: n.Draw(t, "r"), Delete: n.Draw(t, "d"), Disable: n.Draw(t, "x")})
	}
	return c
}

func genPlan(t *rapid.T) *plan.Plan {
	p := &plan.Plan{Digest: "d", Mode: rapid.SampledFrom([]plan.Mode{plan.Apply, plan.AddOnly, plan.Destroy}).Draw(t, "mode")}
	for _, s := range []plan.Scope{"", "a", "b"} {
		sp := plan.ScopePlan{Scope: s, Empty: rapid.Bool().Draw(t, "empty"), Owned: map[string]int{}}
		for _, class := range []string{"record", "user"} {
			if n := rapid.IntRange(0, 50).Draw(t, "owned"); n > 0 {
				sp.Owned[class] = n
			}
		}
		if rapid.Bool().Draw(t, "unknown") {
			sp.Unknown = "timed out"
		}
		p.Scopes = append(p.Scopes, sp)
	}
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		p.Changes = append(p.Changes, genChange(t))
	}
	return p
}

func genLimits(t *rapid.T) map[string]config.Limit {
	out := map[string]config.Limit{}
	for _, k := range []string{"create", "update", "replace", "delete", "disable"} {
		var l config.Limit
		if rapid.Bool().Draw(t, "max") {
			l = most(rapid.IntRange(0, 20).Draw(t, "n"))
		}
		if rapid.Bool().Draw(t, "share") {
			s := rapid.Float64Range(0, 1).Draw(t, "s")
			l.Share = &s
		}
		if rapid.Bool().Draw(t, "set") {
			out[k] = l
		}
	}
	return out
}

// names are the guards broken, by class and kind of impact.
func names(vs []Violation) []string {
	var out []string
	for _, v := range vs {
		out = append(out, v.Class+"/"+v.Impact)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Adding a change never heals a guard: what is held stays held.
func TestMoreChangesAreNeverSafer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, l := genPlan(t), genLimits(t)
		before := names(Guard(l, p))
		p.Changes = append(p.Changes, genChange(t))
		after := names(Guard(l, p))
		for _, v := range before {
			if !slices.Contains(after, v) {
				t.Fatalf("%s was broken and is no more: %v, then %v", v, before, after)
			}
		}
	})
}

// A lower limit never lets more pass.
func TestLowerLimitsAreNeverSofter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, l := genPlan(t), genLimits(t)
		before := names(Guard(l, p))
		key := rapid.SampledFrom([]string{"create", "update", "replace", "delete", "disable"}).Draw(t, "key")
		x, ok := l[key]
		if !ok {
			x = config.DefaultGuard()[key]
		}
		tight := rapid.IntRange(0, 20).Draw(t, "tight")
		if x.Max == nil || tight < *x.Max {
			x.Max = &tight
		}
		l[key] = x
		after := names(Guard(l, p))
		for _, v := range before {
			if !slices.Contains(after, v) {
				t.Fatalf("%s passes under a lower limit", v)
			}
		}
	})
}

// The order of changes, unknown keys and repetition make no difference.
func TestGuardIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, l := genPlan(t), genLimits(t)
		want := fmt.Sprint(names(Guard(l, p)))
		slices.Reverse(p.Changes)
		l["unheard-of"] = most(0)
		if got := fmt.Sprint(names(Guard(l, p))); got != want {
			t.Fatalf("%s, then %s", want, got)
		}
		for _, v := range Guard(l, p) {
			if v.Text == "" || v.Count <= 0 {
				t.Fatalf("%+v says nothing", v)
			}
		}
	})
}

// The rule at work: a plan within the guard passes, the next delete holds it,
// and no further one frees it.
func TestHeldStaysHeld(t *testing.T) {
	r, err := Compile([]config.Approval{{When: "plan.deletes <= 4 && plan.impact.record.delete <= 6", By: []string{"auto"}}, {By: []string{"team:sre"}}})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		p, l := genPlan(t), genLimits(t)
		decide := func() bool {
			d, err := r.Decide(p, facts(), nil, Guard(l, p))
			if err != nil {
				t.Fatal(err)
			}
			return d.Allowed()
		}
		before := decide()
		p.Changes = append(p.Changes, plan.Change{Action: plan.Delete, Impact: []plan.Impact{{Class: "record", Delete: rapid.IntRange(1, 5).Draw(t, "more")}}})
		if after := decide(); after && !before {
			t.Fatal("a further delete freed a held plan")
		}
	})
}
