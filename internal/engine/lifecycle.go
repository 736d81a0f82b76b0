package engine

import (
	"context"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Rollback pins a target to an earlier good state until its inputs change.
// commit may be shortened; empty is the last good one before the current.
func (e *Engine) Rollback(ctx context.Context, by store.Actor, target, commit, reason string) error {
	t, err := e.store.Target(ctx, target)
	if err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	if t.State != store.Active {
		return fmt.Errorf("target %s is %s", target, t.State)
	}
	states, err := e.store.States(ctx, target)
	if err != nil {
		return err
	}
	to, err := chooseState(states, t, commit)
	if err != nil {
		return err
	}
	bad, err := e.viewIDAt(ctx, t)
	if err != nil {
		return fmt.Errorf("the state to roll back from: %w", err)
	}
	return e.pin(ctx, t, to.Commit, bad, by, reason)
}

// chooseState picks the kept state to roll back to.
func chooseState(states []store.KeptState, t store.Target, commit string) (store.KeptState, error) {
	var have []string
	for _, s := range states { // newest first
		have = append(have, fmt.Sprintf("%.12s", s.Commit))
		switch {
		case commit != "" && len(commit) >= 7 && strings.HasPrefix(s.Commit, commit):
			return s, nil
		case commit == "" && s.Kind == "good" && s.Commit != t.Desired.Commit && s.Commit != t.Status.Applied:
			return s, nil
		}
	}
	if len(have) == 0 {
		return store.KeptState{}, fmt.Errorf("target %s has no kept state to roll back to", t.ID)
	}
	if commit == "" {
		return store.KeptState{}, fmt.Errorf("target %s has no earlier good state; kept are: %s", t.ID, strings.Join(have, ", "))
	}
	return store.KeptState{}, fmt.Errorf("commit %q is not among the kept states of %s: %s", commit, t.ID, strings.Join(have, ", "))
}

// viewIDAt gives the inputs' id at the target's desired commit.
func (e *Engine) viewIDAt(ctx context.Context, t store.Target) (string, error) {
	j := &job{e: e, cfg: e.cfg.Load(), log: e.newRunLog(), target: t, desired: t.Desired}
	if err := j.decode(t.Config); err != nil {
		return "", err
	}
	if err := j.openView(ctx); err != nil {
		return "", err
	}
	return j.viewID, nil
}

// Unpin ends a rollback's pin: the target follows its repository again.
func (e *Engine) Unpin(ctx context.Context, by store.Actor, target string) error {
	t, err := e.store.Target(ctx, target)
	if err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	if t.Desired.Source != "pin" {
		return fmt.Errorf("target %s is not pinned", target)
	}
	st, err := e.store.Repository(ctx, t.Repository)
	if err != nil {
		return err
	}
	d := store.Desired{Commit: st.Head, Ref: st.Ref, Source: "branch", Actor: by, At: e.clock()}
	if err := e.store.SetDesired(ctx, target, d); err != nil {
		return err
	}
	if err := e.event(ctx, by, "target.unpinned", target, "", map[string]any{"commit": d.Commit}); err != nil {
		return err
	}
	t.Desired = d
	return e.request(ctx, by, t, "person", request{})
}

// Cancel stops a target's run, also while it applies.
func (e *Engine) Cancel(ctx context.Context, by store.Actor, target string) error {
	w, err := e.store.Work(ctx, store.Reconcile, target)
	if err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	if w.Owner == "" {
		return fmt.Errorf("target %s has no run to cancel", target)
	}
	if err := e.event(ctx, by, "run.cancel", target, "", nil); err != nil {
		return err
	}
	return e.store.Cancel(ctx, store.Reconcile, target, by)
}

// Destroy asks for the removal of all that an orphaned target owns. The plan
// that comes of it is held for an approval, whatever the guards allow.
func (e *Engine) Destroy(ctx context.Context, by store.Actor, target, reason string) error {
	t, err := e.store.Target(ctx, target)
	if err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	if t.State != store.Orphaned {
		return fmt.Errorf("target %s is %s: take it out of trueup.yaml first", target, t.State)
	}
	if err := e.event(ctx, by, "target.destroy", target, "", map[string]any{"reason": reason}); err != nil {
		return err
	}
	return e.request(ctx, by, t, "person", request{Mode: plan.Destroy, Reason: reason})
}

// Session opens a read session to an environment, for doctor and import.
func (e *Engine) Session(ctx context.Context, environment string) (driver.Session, *config.Environment, error) {
	env, ok := e.cfg.Load().Environments[environment]
	if !ok {
		return nil, nil, fmt.Errorf("environment %q: %w", environment, store.ErrNotFound)
	}
	d, err := e.drivers.Get(env.Driver)
	if err != nil {
		return nil, nil, err
	}
	s, err := d.Open(ctx, e.environment(env, nil), driver.Read)
	return s, env, err
}
