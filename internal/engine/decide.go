package engine

import (
	"fmt"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/store"
)

// Gate names what holds a run.
type Gate string

// The gates.
const (
	GateNone       Gate = ""
	GateRestore    Gate = "restore"
	GateFreeze     Gate = "freeze"
	GateSuspend    Gate = "suspended"
	GateRetired    Gate = "retired"
	GateScope      Gate = "scope"      // the plan leaves the grant
	GateDependency Gate = "dependency" // a target it depends on is not there yet
	GateDrift      Gate = "drift"      // policy says to report only
	GateFlapping   Gate = "flapping"
	GateRejected   Gate = "rejected"
	GateApproval   Gate = "approval"
	GateGuard      Gate = "guard"
	GateWindow     Gate = "window"
	GateRollout    Gate = "rollout" // a rollout of this very state was stopped by failures
)

// Facts is all that the decision about a plan rests on.
type Facts struct {
	Plan *plan.Plan
	Holds
	Drift
	// Outside lists changes that the grant does not cover.
	Outside []string
	// Waiting names dependencies that are not synced, with their state.
	Waiting []string
	// Person tells that a person asked for this run.
	Person bool
	// Stopped says how a rollout of exactly this desired state was stopped.
	Stopped string
	// Undo tells that the plan takes back, on the same scopes, a change that has
	// just failed: only what was closed on purpose holds it.
	Undo bool
	// Repointed says that the environment is not what it was.
	Repointed string
	// Violations are the guards'.
	Violations []policy.Violation
	// Approval is what the rules and the given approvals say.
	Approval policy.Decision
	// InWindow and NextWindow are the time windows'.
	InWindow   bool
	NextWindow time.Time
}

// Holds is what somebody closed on purpose.
type Holds struct {
	// Hold is a suspension, freeze or restore that covers the target.
	Hold *store.Hold
	// PolicyFreeze and ConfigFreeze are reasons from the configuration; Suspend
	// is the target's own.
	PolicyFreeze, ConfigFreeze, Suspend string
	Retired                             bool
}

// Drift is what is known when the environment moved by itself.
type Drift struct {
	// DriftOnly tells that the inputs are those last applied and verified, so
	// that every change is drift; ReportDrift is the policy.
	DriftOnly, ReportDrift bool
	// LetIn says what the last applied state rested on.
	LetIn string
	// Flapping names an object that was corrected too often.
	Flapping string
}

// Decision is what happens to a plan.
type Decision struct {
	Proceed bool
	Gate    Gate
	Message string
	// RestsOn says which approval or rule lets it proceed.
	RestsOn string
	// Recheck is when time may open the gate; zero is never.
	Recheck time.Time
}

// Decide says whether a plan may be applied now. It is pure: the same facts
// give the same decision. A plan that writes nothing is never held by guards,
// approvals, windows or freezes, but adopting is still bound to the grant.
func Decide(f Facts) Decision {
	if d, held := hardGates(f); held {
		return d
	}
	if !f.Plan.Writes() {
		return Decision{Proceed: true, RestsOn: "nothing is written"}
	}
	if d, held := operatorGates(f); held {
		return d
	}
	if f.Undo {
		return Decision{Proceed: true, RestsOn: "a change that failed is taken back"}
	}
	if f.Stopped != "" && !f.Person && !f.DriftOnly {
		return Decision{Gate: GateRollout, Message: f.Stopped}
	}
	if d, held := approvalGate(f); held {
		return d
	}
	if !f.InWindow {
		return Decision{Gate: GateWindow, Message: "outside the time windows; the next opens " + f.NextWindow.Format(time.RFC3339), Recheck: f.NextWindow}
	}
	return Decision{Proceed: true, RestsOn: restsOn(f)}
}

// hardGates hold whatever the plan does; no approval opens them.
func hardGates(f Facts) (Decision, bool) {
	switch {
	case f.Hold != nil && f.Hold.Kind == "restore":
		return Decision{Gate: GateRestore, Message: "the store was restored from a backup: " + f.Hold.Reason}, true
	case f.Retired:
		return Decision{Gate: GateRetired, Message: "the environment is retired"}, true
	case len(f.Outside) > 0:
		return Decision{Gate: GateScope, Message: "outside the grant: " + listed(f.Outside)}, true
	case f.Hold != nil && f.Hold.Kind != "freeze":
		return Decision{Gate: GateSuspend, Message: fmt.Sprintf("%s suspended by %s: %s", f.Hold.Kind, f.Hold.Actor, f.Hold.Reason)}, true
	case f.Suspend != "":
		return Decision{Gate: GateSuspend, Message: "suspended in trueup.yaml: " + f.Suspend}, true
	case len(f.Waiting) > 0:
		return Decision{Gate: GateDependency, Message: "waits for " + listed(f.Waiting)}, true
	}
	return Decision{}, false
}

// operatorGates hold plans that write.
func operatorGates(f Facts) (Decision, bool) {
	switch {
	case f.Hold != nil:
		return Decision{Gate: GateFreeze, Message: fmt.Sprintf("frozen by %s: %s", f.Hold.Actor, f.Hold.Reason)}, true
	case f.ConfigFreeze != "":
		return Decision{Gate: GateFreeze, Message: "frozen in server.yaml: " + f.ConfigFreeze}, true
	case f.PolicyFreeze != "":
		return Decision{Gate: GateFreeze, Message: "frozen by its policy: " + f.PolicyFreeze}, true
	case f.Undo && f.Repointed != "":
		return Decision{Gate: GateGuard, Message: f.Repointed}, true
	case f.Undo:
		return Decision{}, false
	case f.DriftOnly && f.ReportDrift && !f.Person:
		return Decision{Gate: GateDrift, Message: "drift is reported, not corrected, under this policy"}, true
	case f.DriftOnly && f.Flapping != "" && !f.Person:
		return Decision{Gate: GateFlapping, Message: f.Flapping}, true
	}
	return Decision{}, false
}

func approvalGate(f Facts) (Decision, bool) {
	forced := len(f.Violations) > 0 || f.Repointed != ""
	if f.Approval.Rejected != "" {
		return Decision{Gate: GateRejected, Message: f.Approval.Rejected}, true
	}
	// Drift is corrected on the approval that let the state in; the guards hold
	// all the same.
	if f.DriftOnly && !forced {
		return Decision{}, false
	}
	if f.Approval.Allowed() && (f.Approval.Needed || !forced) {
		return Decision{}, false
	}
	d := Decision{Gate: GateApproval, Message: f.Approval.Missing}
	switch {
	case f.Repointed != "":
		d.Gate, d.Message = GateGuard, f.Repointed
	case len(f.Violations) > 0:
		texts := make([]string, len(f.Violations))
		for i, v := range f.Violations {
			texts[i] = v.Text
		}
		d.Gate, d.Message = GateGuard, listed(texts)
	}
	if d.Message == "" {
		d.Message = "needs an approval"
	}
	return d, true
}

func restsOn(f Facts) string {
	switch {
	case len(f.Approval.Have) > 0:
		return "approved by " + listed(f.Approval.Have)
	case f.DriftOnly && f.LetIn != "":
		return "drift of a state that rests on: " + f.LetIn
	case f.Approval.Auto:
		return "rule " + f.Approval.Rule
	}
	return "no approval needed"
}

// listed joins up to five texts.
func listed(s []string) string {
	out := ""
	for i, x := range s {
		if i == 5 {
			return out + fmt.Sprintf(" and %d more", len(s)-i)
		}
		if i > 0 {
			out += "; "
		}
		out += x
	}
	return out
}
