package plan_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

func TestSums(t *testing.T) {
	p := sample()
	p.Changes[1].Impact = []plan.Impact{{Class: "record", Delete: 2}, {Class: "zone", Replace: 1}}
	p.Scopes[0].Owned = map[string]int{"record": 4}
	p.Scopes = append(p.Scopes, plan.ScopePlan{Scope: "x", Owned: map[string]int{"record": 3, "zone": 1}})
	im := p.Impact()
	if im["record"] != (plan.Impact{Class: "record", Update: 1, Delete: 2}) || im["zone"].Replace != 1 {
		t.Errorf("%+v", im)
	}
	if o := p.Owned(); o["record"] != 7 || o["zone"] != 1 {
		t.Errorf("%v", o)
	}
	if s := p.Summary(); s[plan.Update] != 1 || s[plan.Delete] != 1 {
		t.Errorf("%v", s)
	}
	if u := p.UnknownScopes(); len(u) != 1 || u[0].Scope != "y" {
		t.Errorf("%v", u)
	}
	if p.Empty() || !p.Writes() {
		t.Error("a plan with changes is empty, or writes nothing")
	}
	for _, a := range []plan.Action{plan.None, plan.Adopt, plan.Forget} {
		if (&plan.Plan{Changes: []plan.Change{{Action: a}}}).Writes() {
			t.Errorf("%s writes", a)
		}
	}
	for _, a := range []plan.Action{plan.Create, plan.Update, plan.Replace, plan.Delete, plan.Rename, plan.Disable} {
		if !(&plan.Plan{Changes: []plan.Change{{Action: a}}}).Writes() {
			t.Errorf("%s does not write", a)
		}
	}
}

func TestKeysAndSources(t *testing.T) {
	a, b := plan.Key{Scope: "a", Address: "z"}, plan.Key{Scope: "b", Address: "a"}
	if a.Compare(b) >= 0 || b.Compare(a) <= 0 || a.Compare(a) != 0 {
		t.Error("keys are ordered by scope first")
	}
	if a.String() != "a z" || (plan.Key{Address: "x"}).String() != "x" {
		t.Error(a.String())
	}
	for want, s := range map[string]plan.Source{"": {Line: 3}, "f": {File: "f", Column: 2}, "f:3": {File: "f", Line: 3}, "f:3:2": {File: "f", Line: 3, Column: 2}} {
		if s.String() != want {
			t.Errorf("%+v is %q", s, s.String())
		}
	}
}

func TestDiagnostics(t *testing.T) {
	var d plan.Diagnostics
	if d.Err() != nil {
		t.Error("no finding is an error")
	}
	d.Warnf(plan.Source{File: "f"}, "", "", "odd")
	if d.Err() != nil {
		t.Error("a warning is an error")
	}
	d.Errorf(plan.Source{File: "f", Line: 2}, "spec.x", "write y", "%q is bad", "z")
	err := d.Err()
	if err == nil || err.Error() != `f:2: spec.x: "z" is bad (write y)` {
		t.Errorf("%v", err)
	}
	if len(d.Errors()) != 1 || len(d.Warnings()) != 1 || !strings.Contains(d.Error(), "f: warning: odd") {
		t.Errorf("%v", d)
	}
}
