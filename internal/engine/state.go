package engine

import (
	"context"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// State works on the state that a target keeps of its own (OpenTofu's). What
// changes it is refused while a run is under way, and recorded with a reason.
func (e *Engine) State(ctx context.Context, by store.Actor, target string, op driver.StateOp, reason string) (driver.StateResult, error) {
	var none driver.StateResult
	t, err := e.store.Target(ctx, target)
	if err != nil {
		return none, fmt.Errorf("target %s: %w", target, err)
	}
	writes := op.Verb != "list"
	if writes && reason == "" {
		return none, errors.New("say why: a change of a state is recorded with its reason")
	}
	if w, err := e.store.Work(ctx, store.Reconcile, target); err == nil && w.Owner != "" && writes && op.Verb != "force-unlock" {
		return none, fmt.Errorf("target %s has a run under way: wait for it, or cancel it first", target)
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return none, err
	}
	j := &job{e: e, cfg: e.cfg.Load(), log: e.newRunLog(), target: t, desired: t.Desired}
	defer j.disconnect()
	if err := j.decode(t.Config); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.limits().PlanTimeout)
	defer cancel()
	if err := j.forState(ctx, writes); err != nil {
		return none, err
	}
	s, ok := j.session.(driver.Stater)
	if !ok {
		return none, fmt.Errorf("the driver %s keeps no state of its own", j.env.Driver)
	}
	if !writes {
		return s.State(ctx, j.input, op)
	}
	note := map[string]any{"verb": op.Verb, "args": op.Args, "reason": reason}
	if err := e.event(ctx, by, "target.state", target, "", note); err != nil {
		return none, err
	}
	res, err := s.State(ctx, j.input, op)
	if err != nil {
		note["error"] = err.Error()
		return none, errors.Join(err, e.event(context.WithoutCancel(ctx), by, "target.state.failed", target, "", note))
	}
	return res, nil
}

// forState makes what a driver needs to work on a state: snapshot, values,
// session.
func (j *job) forState(ctx context.Context, writes bool) error {
	if err := j.usePinned(ctx); err != nil {
		return err
	}
	if err := j.openView(ctx); err != nil {
		return err
	}
	if err := j.computeDigest(ctx); err != nil {
		return err
	}
	if j.mode == plan.Destroy {
		j.mode = plan.Apply
	}
	if err := j.prepare(ctx); err != nil {
		return err
	}
	if !writes {
		j.purpose = driver.Read
	}
	return j.connect(ctx)
}
