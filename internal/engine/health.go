package engine

import (
	"context"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/health"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// health runs the target's checks after an apply.
func (j *job) health(ctx context.Context) error {
	if len(j.res.Health) == 0 || j.mode == plan.Destroy {
		return nil
	}
	c := &health.Checker{Commands: j.cfg.Commands, Secrets: j.e.resolvers, Dir: j.cfg.Dir, Driver: j.driverHealth}
	var texts []string
	for _, r := range c.Run(ctx, j.res.Health, j.log.Logf) {
		if r.OK {
			j.log.Logf("healthy: %s", r.Check)
			continue
		}
		texts = append(texts, fmt.Sprintf("%s: %s", r.Check, r.Err))
	}
	if len(texts) > 0 {
		return fmt.Errorf("not healthy after apply: %s", listed(texts))
	}
	return nil
}

func (j *job) driverHealth(ctx context.Context, check map[string]any) error {
	h, ok := j.session.(driver.HealthChecker)
	if !ok {
		return fmt.Errorf("the driver %s has no health checks of its own", j.env.Driver)
	}
	return h.Health(ctx, j.input, check)
}

// onUnhealthy rolls back where the target asks for it: the last good state is
// pinned, and the bad one is remembered until the target's inputs change.
func (j *job) onUnhealthy(ctx context.Context, why error) {
	if j.res.OnFailure != "rollback" || j.correction {
		return
	}
	good := j.status.Good
	if good == "" || good == j.desired.Commit || j.desired.Source == "pin" {
		j.log.Logf("there is no earlier good state to roll back to")
		return
	}
	if err := j.e.pin(ctx, j.target, good, j.viewID, "system:rollback", fmt.Sprint(why)); err != nil {
		j.e.log.Error("a rollback could not be started", "target", j.target.ID, "error", err)
	}
}

// pin makes a commit the target's desired record until its inputs change.
func (e *Engine) pin(ctx context.Context, t store.Target, commit, bad string, by store.Actor, why string) error {
	d := store.Desired{Commit: commit, Ref: t.Status.AppliedRef, Source: "pin", Bad: bad, Actor: by, At: e.clock()}
	if kept, err := e.store.State(ctx, t.ID, commit); err == nil {
		d.Commit = kept.Commit
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := e.store.SetDesired(ctx, t.ID, d); err != nil {
		return err
	}
	if err := e.event(ctx, by, "target.pinned", t.ID, "", map[string]any{"commit": d.Commit, "reason": why}); err != nil {
		return err
	}
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: t.ID, Slot: t.Environment, Class: store.ByPerson,
		Cause: "rollback", Actor: by, Commit: d.Commit})
}

// takeOutputs stores what the target gives to others.
func (j *job) takeOutputs(ctx context.Context, p *plan.Plan) error {
	if len(j.res.Outputs) == 0 || len(p.Outputs) == 0 {
		return nil
	}
	out := map[string]plan.Output{}
	for name := range j.res.Outputs {
		if o, ok := p.Outputs[name]; ok && !o.Unknown {
			out[name] = o
		}
	}
	var err error
	j.changedOut, err = j.e.store.PutOutputs(ctx, j.lease.Fence, j.target.ID, out)
	return err
}
