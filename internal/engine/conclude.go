package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// conclude puts into service what is healthy, takes back what is to be taken
// back, writes down which scope is where, and tells whether the rollout stops.
func (r *rollout) conclude(ctx context.Context, b *batch) (bool, error) {
	r.prog.Failed += len(b.failed)
	policy := r.res.Failure()
	over := len(b.failed) > 0 && r.prog.Failed > r.mayFail
	stop := over && policy != "continue"
	var undo []plan.Scope
	if policy == "rollback" && r.remember {
		if undo = slices.Sorted(maps.Keys(b.failed)); stop {
			undo = b.scopes
		}
	}
	for _, s := range slices.Sorted(maps.Keys(b.failed)) {
		r.note(s, b.failed[s])
	}
	good := b.left()
	if len(undo) == len(b.scopes) {
		good = nil
	}
	if bad, err := r.putBack(ctx, good); err != nil {
		return false, err
	} else if len(bad) > 0 {
		for s, why := range bad {
			b.fail(s, "%s: %v", r.conf.After, why)
			r.note(s, b.failed[s])
		}
		r.prog.Failed += len(bad)
		stop = stop || policy != "continue" && r.prog.Failed > r.mayFail
	}
	if err := r.tellScopes(ctx, b, undo, stop); err != nil {
		return false, err
	}
	if stop && r.remember {
		if err := r.markStopped(ctx); err != nil {
			return false, err
		}
	}
	if len(undo) > 0 {
		if err := r.e.fail("undo"); err != nil {
			return false, err
		}
		if err := r.takeBack(ctx, undo); err != nil {
			return false, err
		}
	}
	return stop, nil
}

// note logs a failure and keeps the first one for the summary.
func (r *rollout) note(s plan.Scope, why string) {
	r.log.Logf("%s failed: %s", s, why)
	if r.why == "" {
		r.why = fmt.Sprintf("%s: %s", s, why)
	}
}

// putBack puts healthy scopes into service again; it gives those that refused.
func (r *rollout) putBack(ctx context.Context, good []plan.Scope) (map[plan.Scope]error, error) {
	var bad map[plan.Scope]error
	if r.conf.After != "" {
		var drained []plan.Scope
		for _, s := range good {
			if r.states[s].Drained {
				drained = append(drained, s)
			}
		}
		bad = r.hook(ctx, r.conf.After, drained)
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
	return bad, r.e.fail("undrained")
}

// tellScopes writes down how the batch's scopes are.
func (r *rollout) tellScopes(ctx context.Context, b *batch, undo []plan.Scope, stop bool) error {
	back := among(undo)
	var put []store.ScopeState
	for _, s := range b.scopes {
		old := r.states[s]
		st := old
		why := b.failed[s]
		switch {
		case back(s):
			st.Phase, st.RollBack, st.Bad, st.Message = store.ScopeFailed, true, r.stateKey(), why
			if why == "" {
				st.Message = "others in its batch failed"
			}
		case why != "":
			st.Phase, st.Message = store.ScopeFailed, why
			st.Attempts++
			st.NextDue = r.e.clock().Add(r.e.backoff(st.Attempts))
			if stop && r.remember {
				st.Bad, st.NextDue = r.stateKey(), time.Time{}
			}
		case b.stale[s] != "":
			st.Phase, st.Message = store.ScopeBehind, "it changed while the rollout was under way: "+b.stale[s]
			st.NextDue = r.e.clock().Add(r.e.backoff(1))
		default:
			st = store.ScopeState{Scope: s, Phase: store.ScopeSynced, Commit: r.desired.Commit}
			r.prog.Done++
		}
		st, _ = r.dated(old, st)
		put = append(put, st)
		r.told[s] = true
	}
	*r.run.Rollout = r.prog
	if err := r.putScopes(ctx, put, nil); err != nil {
		return err
	}
	r.log.Logf("%s", r.prog.String())
	return r.record(ctx)
}

// markStopped remembers, before anything is taken back, that this desired
// state is not given to further scopes.
func (r *rollout) markStopped(ctx context.Context) error {
	r.status.Stopped, r.status.StoppedText = r.stateKey(), r.stopError(r.prog.Batch-1).Error()
	return r.e.store.SetStatus(context.WithoutCancel(ctx), r.lease.Fence, r.target.ID, r.status)
}
