package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// finish turns the end of a pass into status, history, notifications and what
// the queue does next. It runs also when the run was cancelled.
func (j *job) finish(ctx context.Context, out outcome, err error) store.Finish {
	done := store.Finish{Observed: j.lease.Generation}
	if errors.Is(context.Cause(ctx), errLeaseLost) || errors.Is(err, store.ErrFenced) {
		return done // another holder has taken over; nothing may be written
	}
	if errors.Is(context.Cause(ctx), errStopping) {
		j.endRun(ctx, out, errStopping)
		done.Release = true
		return done
	}
	if j.res == nil && err == nil {
		return store.Finish{Observed: j.lease.Generation, Remove: true}
	}
	var by cancelledBy
	if cause := context.Cause(ctx); errors.As(cause, &by) && err != nil && !errors.As(err, &cancelledBy{}) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	ctx = context.WithoutCancel(ctx)
	if out == skipped && err == nil {
		done.NextDue = j.nextDue()
		return done
	}
	if len(j.limit) > 0 && out != held {
		return j.finishLimited(ctx, done, out, err)
	}
	if (out == succeeded || out == nothing) && err == nil && !j.allThere(nil) {
		out = partial
	}
	prev := j.status
	now := j.nextStatus(out, err)
	if err != nil && !j.started && (now.Message != prev.Message || j.lease.Class < store.ByRetry) && j.run.ID != "" {
		j.startQuietly(ctx)
	}
	if j.started {
		j.endRun(ctx, out, err)
		now.Run = j.run.ID
	} else if out == nothing && err == nil && j.lease.Class < store.ByRetry {
		j.run.Digest = j.digest
		j.startQuietly(ctx)
		j.endRun(ctx, out, nil)
		now.Run = j.run.ID
	}
	if j.target.ID != "" {
		if serr := j.writeStatus(ctx, out, prev, now); serr != nil {
			j.e.log.Error("a run's result could not be stored; it will run again", "target", j.lease.Key, "error", serr)
			done.RetryAfter = j.e.backoff(j.lease.Attempts)
			return done
		}
	}
	return j.schedule(ctx, done, out, err, now)
}

// startQuietly gives the run a record so that its end can be seen.
func (j *job) startQuietly(ctx context.Context) {
	if err := j.record(ctx); err != nil {
		j.e.log.Error("a run could not be recorded", "target", j.lease.Key, "error", err)
	}
}

// endRun writes the run's last state.
func (j *job) endRun(ctx context.Context, out outcome, err error) {
	if !j.started {
		return
	}
	ctx = context.WithoutCancel(ctx)
	j.run.State, j.run.Finished = runState(ctx, out, err), j.e.clock()
	if p := j.run.Rollout; out == stopped && p != nil && p.Done > 0 {
		j.run.State = store.RunPartial
	}
	if err != nil {
		j.run.Error = err.Error()
	}
	if j.digest != "" {
		j.run.Digest = j.digest
	}
	if perr := j.record(ctx); perr != nil {
		j.e.log.Error("a run's end could not be recorded", "run", j.run.ID, "error", perr)
		return
	}
	j.e.observe(j.run)
}

func runState(_ context.Context, out outcome, err error) store.RunState {
	var by cancelledBy
	switch {
	case errors.As(err, &by):
		return store.RunCancelled
	case errors.Is(err, errStopping):
		return store.RunAbandoned
	case out == partial:
		return store.RunPartial
	case err != nil:
		return store.RunFailed
	case out == held:
		return store.RunHeld
	case out == nothing:
		return store.RunNoChange
	}
	return store.RunSucceeded
}

// nextStatus derives the target's status from how the pass ended.
func (j *job) nextStatus(out outcome, err error) store.Status {
	s := j.status
	s.Message, s.Gate, s.PlanHash, s.Drift, s.Corrected = "", "", "", 0, 0
	s.Owned = len(j.input.Inventory)
	if j.digest != "" && s.Stopped != j.stateKey() {
		s.Stopped, s.StoppedText = "", ""
	}
	if j.plan != nil && j.only == nil {
		s.FullDue, s.FullDigest = j.nextDue(), j.digest
	}
	switch {
	case out == stopped:
		s.Phase, s.Message = store.Failing, err.Error()
		if !j.driftOnly() {
			s.Stopped, s.StoppedText = j.stateKey(), s.Message
		}
	case out == partial:
		s.Phase = store.Partial
		s.Message = j.partialText(err)
		s.Attempts++
	case err != nil:
		s.Phase, s.Message = store.Failing, err.Error()
		s.Owned = j.status.Owned
		s.Attempts++
	case out == held:
		s.Phase, s.Message, s.Gate, s.PlanHash = store.Held, j.decision.Message, string(j.decision.Gate), j.hash
		if j.decision.Gate == GateRollout {
			s.Phase = store.Failing
		}
		if j.decision.Gate == GateDrift {
			s.Phase, s.Drift = store.OutOfSync, len(j.plan.Changes)
		}
	default:
		s = j.synced(s, out)
	}
	if s.Phase != j.status.Phase {
		s.ChangedAt = j.e.clock()
	}
	return s
}

func (j *job) synced(s store.Status, out outcome) store.Status {
	s.Phase, s.Attempts = store.Synced, 0
	s.Stopped, s.StoppedText = "", ""
	s.VerifiedAt = j.e.clock()
	if j.mode == plan.Apply {
		s.Applied, s.AppliedRef, s.Digest = j.desired.Commit, j.desired.Ref, j.digest
		if !j.driftOnly() {
			s.RestsOn = j.run.Approval
		}
	}
	if out == succeeded && j.driftOnly() {
		s.Corrected = len(j.plan.Changes)
	}
	if out == succeeded || out == nothing {
		s.Good = j.desired.Commit
	}
	if j.plan != nil {
		s.NextDue = j.plan.NextDue
	}
	if p := j.input.Prepared; p != nil && s.NextDue.IsZero() {
		s.NextDue = p.NextDue
	}
	return s
}

func (j *job) partialText(err error) string {
	if err != nil {
		return err.Error()
	}
	if text := j.scopesText(); text != "" {
		return text
	}
	var texts []string
	for _, s := range j.plan.UnknownScopes() {
		texts = append(texts, fmt.Sprintf("scope %q: %s", s.Scope, s.Unknown))
	}
	return "some scopes could not be read: " + listed(texts)
}

// writeStatus stores the status with all that follows from it.
func (j *job) writeStatus(ctx context.Context, out outcome, prev, now store.Status) error {
	if out == nothing || out == succeeded {
		if err := j.keepFingerprints(ctx); err != nil {
			return err
		}
	}
	if err := j.e.store.SetStatus(ctx, j.lease.Fence, j.target.ID, now); err != nil {
		return err
	}
	if j.mode == plan.Destroy && now.Phase == store.Synced && now.Owned == 0 {
		if err := j.e.store.SetState(ctx, j.target.ID, store.Retired); err != nil {
			return err
		}
		if err := j.putScopes(ctx, nil, slices.Collect(maps.Keys(j.states))); err != nil {
			return err
		}
	}
	if err := j.notify(ctx, prev, now); err != nil {
		return err
	}
	if err := j.tellForge(ctx, prev, now); err != nil {
		return err
	}
	if err := j.watchPromotions(ctx, prev, now); err != nil {
		return err
	}
	return j.wakeDependents(ctx, prev, now)
}

// wakeDependents triggers the targets that waited for this one or use an
// output that changed.
func (j *job) wakeDependents(ctx context.Context, prev, now store.Status) error {
	if now.Phase != store.Synced || prev.Phase == store.Synced && prev.Applied == now.Applied && len(j.changedOut) == 0 {
		return nil
	}
	r := j.e.repos.get(j.target.Repository)
	r.mu.Lock()
	var deps []string
	if r.index != nil {
		deps = append(deps, r.index.dependents[j.target.ID]...)
	}
	r.mu.Unlock()
	var ts []store.Trigger
	for _, id := range deps {
		t, err := j.e.store.Target(ctx, id)
		if err != nil || t.State != store.Active {
			continue
		}
		ts = append(ts, store.Trigger{Kind: store.Reconcile, Key: id, Slot: t.Environment, Class: store.ByPush,
			Cause: "output", Actor: j.run.Actor, Commit: j.desired.Commit})
	}
	if len(ts) == 0 {
		return nil
	}
	return j.e.store.Trigger(ctx, ts...)
}

// schedule says when the target is due again.
func (j *job) schedule(ctx context.Context, done store.Finish, out outcome, err error, now store.Status) store.Finish {
	var by cancelledBy
	switch {
	case errors.As(err, &by):
		done.NextDue = j.nextDue()
	case out == stopped:
		done.NextDue = j.nextDue()
	case out == partial && j.eachHasRetry():
		done.NextDue = earliest(now.FullDue, j.nextScope())
	case out == unhealthy:
		j.onUnhealthy(ctx, err)
		done.NextDue = j.nextDue()
	case err != nil && driver.IsPermanent(err):
		done.NextDue = j.nextDue()
	case errors.Is(err, driver.ErrStale):
		done.RetryAfter = j.e.backoff(j.lease.Attempts)
	case err != nil, out == partial:
		done.RetryAfter = j.e.backoff(j.lease.Attempts)
	case j.mode == plan.Destroy && now.Phase == store.Synced:
		done.Remove = true
	default:
		done.NextDue = j.nextDue()
		if at := earliest(done.NextDue, j.nextScope()); at.Before(done.NextDue) {
			done.NextDue = at
		}
		if at := j.decision.Recheck; out == held && !at.IsZero() && at.Before(done.NextDue) {
			done.NextDue = at
		}
		// A dependency wakes those that wait for it; a process that died in
		// between must not leave them waiting for long.
		if at := j.e.clock().Add(dependencyRecheck); out == held && j.decision.Gate == GateDependency && at.Before(done.NextDue) {
			done.NextDue = at
		}
		if at := now.NextDue; !at.IsZero() && at.After(j.e.clock()) && at.Before(done.NextDue) {
			done.NextDue = at
		}
	}
	return done
}

// earliest gives the first of two times; zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// finishLimited ends a run that a person limited to some scopes. It says
// nothing about the whole target, whose status stays what it was.
func (j *job) finishLimited(ctx context.Context, done store.Finish, out outcome, err error) store.Finish {
	if !j.started {
		j.run.Digest = j.digest
		j.startQuietly(ctx)
	}
	j.endRun(ctx, out, err)
	now := j.status
	if j.input.Inventory != nil {
		now.Owned = len(j.input.Inventory)
	}
	if out == stopped && !j.driftOnly() {
		now.Stopped, now.StoppedText = j.stateKey(), err.Error()
	}
	if serr := j.e.store.SetStatus(ctx, j.lease.Fence, j.target.ID, now); serr != nil {
		j.e.log.Error("a limited run's result could not be stored", "target", j.lease.Key, "error", serr)
	}
	done.NextDue = earliest(j.nextDue(), j.nextScope())
	return done
}

// dependencyRecheck is how often a target looks whether its dependencies are
// there by now.
const dependencyRecheck = 30 * time.Second

// nextDue is when drift is looked for again.
func (j *job) nextDue() time.Time {
	every := 5 * time.Minute
	if j.policy != nil && j.policy.DriftInterval > 0 {
		every = j.policy.DriftInterval
	}
	return j.e.clock().Add(jitter(every))
}
