package engine

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/store"
)

func genFacts(t *rapid.T) Facts {
	action := rapid.SampledFrom([]plan.Action{plan.Create, plan.Update, plan.Delete, plan.Replace, plan.Adopt, plan.Forget, plan.Rename})
	p := &plan.Plan{}
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		p.Changes = append(p.Changes, plan.Change{Action: action.Draw(t, "action")})
	}
	f := Facts{Plan: p, InWindow: rapid.Bool().Draw(t, "inWindow"), NextWindow: time.Unix(1e9, 0), Person: rapid.Bool().Draw(t, "person"),
		Holds: Holds{Retired: rapid.Bool().Draw(t, "retired")},
		Drift: Drift{DriftOnly: rapid.Bool().Draw(t, "driftOnly"), ReportDrift: rapid.Bool().Draw(t, "reportDrift")}}
	maybe := func(name, v string) string {
		if rapid.Bool().Draw(t, name) {
			return v
		}
		return ""
	}
	f.PolicyFreeze, f.ConfigFreeze, f.Suspend = maybe("policyFreeze", "x"), maybe("configFreeze", "x"), maybe("suspend", "x")
	f.Stopped, f.Undo = maybe("stopped", "x"), rapid.Bool().Draw(t, "undo")
	f.Flapping, f.Repointed = maybe("flapping", "x"), maybe("repointed", "x")
	if s := maybe("outside", "a"); s != "" {
		f.Outside = []string{s}
	}
	if s := maybe("waiting", "a"); s != "" {
		f.Waiting = []string{s}
	}
	if k := rapid.SampledFrom([]string{"", "restore", "target", "environment", "freeze"}).Draw(t, "hold"); k != "" {
		f.Hold = &store.Hold{Kind: k}
	}
	if s := maybe("violation", "too many"); s != "" {
		f.Violations = []policy.Violation{{Text: s}}
	}
	f.Approval.Needed = rapid.Bool().Draw(t, "needed") || len(f.Violations) > 0 || f.Repointed != ""
	if f.Approval.Needed {
		f.Approval.Missing = maybe("missing", "needs one")
		if f.Approval.Missing == "" {
			f.Approval.Have = []string{"user:a"}
		} else {
			f.Approval.Rejected = maybe("rejected", "no")
		}
	}
	return f
}

// Nothing that holds is ever passed over, whatever else is true.
func TestDecideNeverPassesAGate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := genFacts(t)
		d := Decide(f)
		if !d.Proceed {
			if d.Gate == GateNone || d.Message == "" {
				t.Fatalf("held without saying by what: %+v", d)
			}
			return
		}
		if f.Retired || len(f.Outside) > 0 || len(f.Waiting) > 0 || f.Suspend != "" {
			t.Fatalf("a hard gate was passed: %+v", f)
		}
		if f.Hold != nil && (f.Hold.Kind != "freeze" || f.Plan.Writes()) {
			t.Fatalf("the hold %s was passed", f.Hold.Kind)
		}
		if !f.Plan.Writes() {
			return
		}
		if f.ConfigFreeze != "" || f.PolicyFreeze != "" {
			t.Fatal("a freeze was passed")
		}
		if f.Undo { // what has just failed is taken back; nothing else goes this way
			if f.Repointed != "" {
				t.Fatal("taken back in an environment that is another one")
			}
			return
		}
		if !f.InWindow {
			t.Fatal("a window was passed")
		}
		if f.Stopped != "" && !f.Person && !f.DriftOnly {
			t.Fatal("what had failed was given again")
		}
		forced := len(f.Violations) > 0 || f.Repointed != ""
		if (forced || f.Approval.Needed && !f.DriftOnly) && len(f.Approval.Have) == 0 {
			t.Fatal("written without the approval that it needed")
		}
		if f.DriftOnly && f.ReportDrift && !f.Person {
			t.Fatal("drift was corrected though the policy says report")
		}
	})
}

// Adding a reason to hold never lets a held plan pass.
func TestDecideIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := genFacts(t)
		if Decide(f).Proceed {
			return
		}
		worse := f
		switch rapid.IntRange(0, 4).Draw(t, "worse") {
		case 0:
			worse.Retired = true
		case 1:
			worse.Outside = append(worse.Outside, "b")
		case 2:
			worse.ConfigFreeze = "y"
		case 3:
			worse.InWindow = false
		case 4:
			worse.Waiting = append(worse.Waiting, "b")
		}
		if f.Plan.Writes() && Decide(worse).Proceed {
			t.Fatalf("held: %+v, but passes when worse", Decide(f))
		}
	})
}
