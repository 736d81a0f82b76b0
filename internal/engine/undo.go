package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// takeBack brings scopes back to what they had before a change that failed,
// checks them, and puts those that are healthy into service again. It never
// counts as success: a scope that is back says what failed.
func (j *job) takeBack(ctx context.Context, scopes []plan.Scope) error {
	by := map[string][]plan.Scope{}
	for _, s := range scopes {
		by[j.states[s].Commit] = append(by[j.states[s].Commit], s)
	}
	for _, commit := range slices.Sorted(maps.Keys(by)) {
		wrong := j.goBack(ctx, commit, by[commit])
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := j.tellBack(ctx, commit, by[commit], wrong); err != nil {
			return err
		}
	}
	return nil
}

var errNoEarlier = errors.New("there is no earlier good state here to go back to")

// goBack applies an earlier commit to some scopes and gives what is wrong
// there afterwards.
func (j *job) goBack(ctx context.Context, commit string, scopes []plan.Scope) map[plan.Scope]error {
	wrong := map[plan.Scope]error{}
	all := func(err error) map[plan.Scope]error {
		for _, s := range scopes {
			wrong[s] = err
		}
		return wrong
	}
	if commit == "" || commit == j.desired.Commit {
		return all(errNoEarlier)
	}
	j.log.Logf("going back to %.12s on %s", commit, scopeNames(scopes))
	j.tell("rollback")
	c := &job{e: j.e, cfg: j.cfg, lease: j.lease, log: j.e.newRunLog(), progress: j.progress}
	c.correction, c.only, c.undo = true, scopes, true
	defer c.log.flush(ctx)
	defer c.disconnect()
	out, err := c.passAt(ctx, commit, "rollback", "system:rollback", j.status.AppliedRef)
	if c.started {
		c.endRun(ctx, out, err)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return all(fmt.Errorf("what commit %.12s asked for is no longer kept: %w", commit, errNoEarlier))
	case out == held:
		return all(fmt.Errorf("going back is held by %s: %s", c.decision.Gate, c.decision.Message))
	case err != nil && len(c.troubles) == 0:
		return all(err)
	}
	for s, why := range c.troubles {
		wrong[s] = errors.New(why)
	}
	for _, u := range c.plan.UnknownScopes() {
		wrong[u.Scope] = errors.New(u.Unknown)
	}
	back := slices.DeleteFunc(slices.Clone(scopes), func(s plan.Scope) bool { return wrong[s] != nil })
	for s, why := range c.unhealthy(ctx, back) {
		wrong[s] = notHealthyError{why}
	}
	return wrong
}

// notHealthyError says that the earlier content is back and is not healthy either.
type notHealthyError struct{ why string }

func (e notHealthyError) Error() string { return "what was there before is back, but " + e.why }

// tellBack puts into service what is back and healthy, and writes down how the
// scopes are.
func (j *job) tellBack(ctx context.Context, commit string, scopes []plan.Scope, wrong map[plan.Scope]error) error {
	var drained []plan.Scope
	for _, s := range scopes {
		if wrong[s] == nil && j.states[s].Drained {
			drained = append(drained, s)
		}
	}
	refused := map[plan.Scope]error{}
	if after := j.afterHook(); after != "" && len(drained) > 0 {
		refused = j.hook(ctx, after, drained)
	}
	var put []store.ScopeState
	for _, s := range scopes {
		old := j.states[s]
		st := old
		err := wrong[s]
		var unfit notHealthyError
		switch {
		case err == nil:
			st.Phase, st.RollBack, st.Drained = store.ScopeRolledBack, false, refused[s] != nil
			if refused[s] != nil {
				st.Message += fmt.Sprintf("; rolled back, but %s: %v", j.afterHook(), refused[s])
			}
			j.log.Logf("%s is back at %.12s", s, commit)
		case errors.As(err, &unfit), errors.Is(err, errNoEarlier):
			st.Phase, st.RollBack = store.ScopeFailed, false
			st.Message += "; " + err.Error()
			j.log.Logf("%s: %v", s, err)
		default:
			st.Attempts++
			st.NextDue = j.e.clock().Add(j.e.backoff(st.Attempts))
			j.log.Logf("%s could not be rolled back: %v", s, err)
		}
		st, _ = j.dated(old, st)
		put = append(put, st)
	}
	return j.putScopes(ctx, put, nil)
}

func (j *job) afterHook() string {
	if j.res.Rollout == nil {
		return ""
	}
	return j.res.Rollout.After
}

// finishUndo ends what an earlier run was taking back when it was cut off, or
// could not reach.
func (j *job) finishUndo(ctx context.Context) error {
	if j.correction || j.mode != plan.Apply || j.person() {
		return nil
	}
	var open []plan.Scope
	key := j.stateKey()
	for s, st := range j.states {
		// A newer desired state goes over what failed; there is no need to go
		// back first.
		if st.RollBack && st.Bad == key && (st.NextDue.IsZero() || !j.e.clock().Before(st.NextDue)) {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return nil
	}
	slices.Sort(open)
	if err := j.connect(ctx); err != nil {
		return err
	}
	return j.takeBack(ctx, open)
}

// passAt reconciles to an earlier, kept commit.
func (j *job) passAt(ctx context.Context, commit, cause string, by store.Actor, ref string) (outcome, error) {
	if err := j.load(ctx); err != nil {
		return gone, err
	}
	j.run.Cause, j.run.Class, j.run.Actor = cause, store.ByClock, by
	kept, err := j.e.store.State(ctx, j.target.ID, commit)
	if err != nil {
		return gone, err
	}
	j.desired = store.Desired{Commit: kept.Commit, Ref: ref, Source: "applied"}
	j.run.Commit, j.run.Ref = j.desired.Commit, j.desired.Ref
	if err := j.decode(kept.Config); err != nil {
		return gone, err
	}
	if j.view, err = j.keptView(ctx, kept.Commit); err != nil {
		return gone, err
	}
	if j.viewID, err = j.view.ID(ctx); err != nil {
		return gone, err
	}
	return j.pass(ctx)
}
