package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// SyncOptions says how to reconcile a target on a person's wish.
type SyncOptions struct {
	Mode   plan.Mode
	Reason string
	// Limit narrows the run to scopes (hosts) by name, group or glob.
	Limit []string
}

// Approver is somebody who decides on a plan.
type Approver struct {
	Actor store.Actor
	Teams []string
	// Login is the name on the forge, and Via and URL say how and where the
	// decision was given, when it was there.
	Login, Via, URL string
}

// Sync reconciles one target now.
func (e *Engine) Sync(ctx context.Context, by store.Actor, target string, o SyncOptions) error {
	t, err := e.store.Target(ctx, target)
	if err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	if t.State != store.Active {
		return fmt.Errorf("target %s is %s: it is not reconciled", target, t.State)
	}
	if err := e.event(ctx, by, "target.sync", target, "", map[string]any{"mode": o.Mode, "reason": o.Reason, "limit": o.Limit}); err != nil {
		return err
	}
	return e.request(ctx, by, t, "person", request{Mode: o.Mode, Reason: o.Reason, Limit: o.Limit})
}

func (e *Engine) request(ctx context.Context, by store.Actor, t store.Target, cause string, r request) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: t.ID, Slot: t.Environment, Class: store.ByPerson,
		Cause: cause, Actor: by, Commit: t.Desired.Commit, Payload: body})
}

// Poll fetches a repository now. A webhook comes down to this.
func (e *Engine) Poll(ctx context.Context, by store.Actor, repository string) error {
	if _, ok := e.cfg.Load().Repositories[repository]; !ok {
		return fmt.Errorf("repository %q: %w", repository, store.ErrNotFound)
	}
	cause, class := "push", store.ByPush
	if strings.HasPrefix(string(by), "user:") {
		cause, class = "person", store.ByPerson
	}
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Poll, Key: repository, Slot: repoSlot(repository), Class: class, Cause: cause, Actor: by})
}

// Approve lets a held plan proceed: exactly this plan, from exactly these
// inputs. planHash may be shortened to 8 or more digits.
func (e *Engine) Approve(ctx context.Context, by Approver, target, planHash, reason string) (store.Approval, error) {
	return e.decideOn(ctx, by, target, planHash, reason, true)
}

// Reject keeps a held plan from proceeding.
func (e *Engine) Reject(ctx context.Context, by Approver, target, planHash, reason string) (store.Approval, error) {
	return e.decideOn(ctx, by, target, planHash, reason, false)
}

func (e *Engine) decideOn(ctx context.Context, by Approver, target, planHash, reason string, yes bool) (store.Approval, error) {
	t, err := e.store.Target(ctx, target)
	if err != nil {
		return store.Approval{}, fmt.Errorf("target %s: %w", target, err)
	}
	if t.Status.PlanHash == "" {
		return store.Approval{}, fmt.Errorf("target %s has no plan that waits", target)
	}
	if len(planHash) < 8 || !strings.HasPrefix(t.Status.PlanHash, planHash) {
		return store.Approval{}, fmt.Errorf("the plan that waits is %.12s, not %.12s: look at it again (trueup show %s)", t.Status.PlanHash, planHash, target)
	}
	p, _, err := e.store.PlanByHash(ctx, target, t.Status.PlanHash)
	if err != nil {
		return store.Approval{}, fmt.Errorf("the plan %.12s: %w", t.Status.PlanHash, err)
	}
	a := store.Approval{ID: newRunID(e.clock()), Target: target, Digest: p.Digest, PlanHash: t.Status.PlanHash, Approved: yes,
		Actor: by.Actor, Teams: by.Teams, Reason: reason, At: e.clock(), Via: cmp.Or(by.Via, store.ByAPI), URL: by.URL, Login: by.Login, Run: t.Status.Run}
	if err := e.mayDecide(ctx, t, p, a); err != nil {
		return a, err
	}
	if err := e.store.AddApproval(ctx, a); err != nil {
		return a, err
	}
	// The mode of the plan is asked for again, so that a destroy stays one, and
	// so are the scopes that it was limited to.
	r := request{Mode: p.Mode, Reason: reason, First: e.firstCause(ctx, t)}
	if run, err := e.store.Run(ctx, t.Status.Run); err == nil && run.PlanHash == a.PlanHash {
		r.Limit = run.Limit
	}
	return a, e.request(ctx, by.Actor, t, "person", r)
}

// mayDecide refuses an approval that would not count, and a rejection by
// somebody whom only a rule could give a right, and does not.
func (e *Engine) mayDecide(ctx context.Context, t store.Target, p *plan.Plan, a store.Approval) error {
	stranger := a.Login != "" && !strings.HasPrefix(string(a.Actor), "user:")
	if !a.Approved && !stranger {
		return nil
	}
	a.Approved = true
	if err := e.counts(ctx, t, p, a); err != nil {
		return fmt.Errorf("%w: %w", auth.ErrDenied, err)
	}
	return nil
}

// firstCause gives what caused the plan that waits, however often it was
// decided on since.
func (e *Engine) firstCause(ctx context.Context, t store.Target) *store.Caused {
	run, err := e.store.Run(ctx, t.Status.Run)
	if err != nil {
		return nil
	}
	if run.First != nil {
		return run.First
	}
	return &store.Caused{Cause: run.Cause, Actor: run.Actor}
}

// Suspend stops reconciling a target, an environment or a repository.
func (e *Engine) Suspend(ctx context.Context, by store.Actor, kind, key, reason string) error {
	if err := e.known(ctx, kind, key); err != nil {
		return err
	}
	if err := e.store.PutHold(ctx, store.Hold{Kind: kind, Key: key, Reason: reason, Actor: by, At: e.clock()}); err != nil {
		return err
	}
	return e.event(ctx, by, "suspend", "", "", map[string]any{"kind": kind, "key": key, "reason": reason})
}

func (e *Engine) known(ctx context.Context, kind, key string) error {
	ok := false
	switch kind {
	case "target":
		_, err := e.store.Target(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		ok = err == nil
	case "environment":
		_, ok = e.cfg.Load().Environments[key]
	case "repository":
		_, ok = e.cfg.Load().Repositories[key]
	default:
		return fmt.Errorf("%q can't be suspended: name a target, an environment or a repository", kind)
	}
	if !ok {
		return fmt.Errorf("%s %q: %w", kind, key, store.ErrNotFound)
	}
	return nil
}

// Resume ends a suspension and reconciles what it held.
func (e *Engine) Resume(ctx context.Context, by store.Actor, kind, key string) error {
	if err := e.store.DropHold(ctx, kind, key); err != nil {
		return err
	}
	if err := e.event(ctx, by, "resume", "", "", map[string]any{"kind": kind, "key": key}); err != nil {
		return err
	}
	return e.retrigger(ctx, by, kind, key)
}

// Freeze holds every run that would write, everywhere.
func (e *Engine) Freeze(ctx context.Context, by store.Actor, reason string) error {
	if err := e.store.PutHold(ctx, store.Hold{Kind: "freeze", Reason: reason, Actor: by, At: e.clock()}); err != nil {
		return err
	}
	return e.event(ctx, by, "freeze", "", "", map[string]any{"reason": reason})
}

// Unfreeze ends a freeze and reconciles what it held.
func (e *Engine) Unfreeze(ctx context.Context, by store.Actor) error {
	return e.drop(ctx, by, "freeze")
}

// ConfirmRestore lets writing go on after a restore.
func (e *Engine) ConfirmRestore(ctx context.Context, by store.Actor) error {
	return e.drop(ctx, by, "restore")
}

func (e *Engine) drop(ctx context.Context, by store.Actor, kind string) error {
	if err := e.store.DropHold(ctx, kind, ""); err != nil {
		return err
	}
	if err := e.event(ctx, by, kind+".lifted", "", "", nil); err != nil {
		return err
	}
	return e.retrigger(ctx, by, "", "")
}

// retrigger reconciles the held targets that a lifted hold covered.
func (e *Engine) retrigger(ctx context.Context, by store.Actor, kind, key string) error {
	f := store.TargetFilter{Phase: store.Held}
	switch kind {
	case "environment":
		f.Environment = key
	case "repository":
		f.Repository = key
	case "target":
		t, err := e.store.Target(ctx, key)
		if err != nil {
			return err
		}
		return e.request(ctx, by, t, "person", request{})
	}
	return e.eachTarget(ctx, f, func(t store.Target) error { return e.request(ctx, by, t, "person", request{}) })
}
