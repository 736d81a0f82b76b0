package engine

import (
	"bytes"
	"context"
	"errors"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// continuedRuns is how many runs are looked at for the one that this plan
// goes on with.
const continuedRuns = 20

// continued gives the approvals of the plan that this one is the rest of: an
// earlier run from the same inputs was let through and did not get to its end
// (it was cut off, or a host could not be written), and every change that is
// left was in the plan that was approved.
func (j *job) continued(ctx context.Context) ([]store.Approval, error) {
	if len(j.states) == 0 || !j.plan.Writes() || j.mode == plan.Destroy {
		return nil, nil
	}
	runs, _, err := j.e.store.Runs(ctx, store.RunFilter{Target: j.target.ID, Page: store.Page{Limit: continuedRuns}})
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if r.Digest != j.digest || r.PlanHash == "" || r.State == store.RunHeld || r.State == store.RunSucceeded || r.ID == j.run.ID {
			continue
		}
		given, err := j.e.store.Approvals(ctx, j.target.ID, j.digest, r.PlanHash)
		if err != nil {
			return nil, err
		}
		if len(given) == 0 {
			continue
		}
		p, hash, err := j.e.store.Plan(ctx, r.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && hash != r.PlanHash {
			continue
		}
		if err != nil {
			return nil, err
		}
		if restOf(j.plan, p) {
			return given, nil
		}
	}
	return nil, nil
}

// restOf tells that every change of a plan that writes stands in another one,
// the same in all that an approval binds.
func restOf(p, whole *plan.Plan) bool {
	was := make(map[plan.Key]*plan.Change, len(whole.Changes))
	for i := range whole.Changes {
		was[whole.Changes[i].Key] = &whole.Changes[i]
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if !c.Action.Writes() {
			continue
		}
		w := was[c.Key]
		if w == nil || w.Action != c.Action || w.Kind != c.Kind || w.From != c.From || w.Conflict != c.Conflict ||
			!sameDoc(w.Before, c.Before) || !sameDoc(w.After, c.After) {
			return false
		}
	}
	return true
}

func sameDoc(a, b []byte) bool {
	x, err := plan.Canonical(a)
	if err != nil {
		return false
	}
	y, err := plan.Canonical(b)
	return err == nil && bytes.Equal(x, y)
}
