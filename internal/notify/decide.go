package notify

import (
	"slices"

	"trueup.dev/trueup/internal/store"
)

// Decide gives the kinds of messages that a target's transition from one
// finished run to the next is worth, so that each is sent once and not on
// every retry:
//
//   - held, once per plan: again only when another plan, or another gate
//     without a plan, holds it. Gates that somebody closed on purpose (freeze,
//     suspension) or that open with another target (dependency) say nothing.
//   - failed, once until it has recovered.
//   - recovered, after failed or held, when it works again.
//   - drift, once per plan while drift is only reported, and when a run
//     corrected some.
//   - flapping, once per plan, instead of held.
//
// Stale is no target's state but its repository's, and is decided where
// repositories are polled.
//
// Both statuses are what finished runs left behind; a running target's says
// nothing and gives nothing.
func Decide(prev, now store.Status) []string {
	if now.Phase == store.Running {
		return nil
	}
	var out []string
	switch kind := problem(now); {
	case kind == Failed && problem(prev) != Failed:
		out = append(out, Failed)
	case kind != "" && kind != Failed && !told(prev, now):
		out = append(out, kind)
	case recovered(prev, now):
		out = append(out, Recovered)
	}
	if corrected(prev, now) && !slices.Contains(out, Drift) {
		out = append(out, Drift)
	}
	return out
}

// quietGates hold without a message.
var quietGates = []string{"freeze", "suspended", "suspension", "dependency", "retired"}

// problem is the kind of message that a status is worth on its own.
func problem(s store.Status) string {
	switch {
	case s.Phase == store.Failing || s.Phase == store.Partial:
		return Failed
	case s.Phase == store.Held && s.Gate == "flapping":
		return Flapping
	case s.Phase == store.OutOfSync || s.Phase == store.Held && s.Gate == "drift":
		return Drift
	case s.Phase == store.Held && !slices.Contains(quietGates, s.Gate):
		return Held
	}
	return ""
}

// told tells whether people know already: the same kind of problem with the
// same plan, or, where there is none, at the same gate. A failure in between
// keeps the pending plan and tells nothing new about it.
func told(prev, now store.Status) bool {
	kind := problem(now)
	if kind == problem(prev) {
		return prev.PlanHash == now.PlanHash && (now.PlanHash != "" || prev.Gate == now.Gate)
	}
	return problem(prev) == Failed && now.PlanHash != "" && prev.PlanHash == now.PlanHash
}

// recovered tells whether something that people were told of is over.
func recovered(prev, now store.Status) bool {
	return now.Phase == store.Synced && slices.Contains([]string{Failed, Held, Flapping}, problem(prev))
}

// corrected tells whether the run between the statuses corrected drift.
func corrected(prev, now store.Status) bool {
	return now.Corrected > 0 && now.Run != prev.Run
}
