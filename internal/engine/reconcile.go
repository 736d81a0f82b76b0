package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// reconcile answers one lease: it brings one target to its desired state, or
// says what keeps it from doing so.
func (e *Engine) reconcile(ctx context.Context, l store.Lease) store.Finish {
	j := &job{e: e, cfg: e.cfg.Load(), lease: l, log: e.newRunLog()}
	defer j.log.flush(ctx)
	defer j.disconnect()
	out, err := j.work(ctx)
	return j.finish(ctx, out, err)
}

// outcome is how a pass ended when there was no error.
type outcome int

const (
	gone      outcome = iota // the target needs no work any more
	skipped                  // the fingerprint says that nothing changed
	nothing                  // planned, and already as desired
	held                     // a gate holds the plan
	succeeded                // applied, verified, healthy
	partial                  // some of it
	stopped                  // a rollout stopped by failures
	unhealthy                // applied, but a health check failed
)

func (j *job) work(ctx context.Context) (outcome, error) {
	if err := j.load(ctx); err != nil {
		if errors.Is(err, errRemove) {
			return gone, nil
		}
		return gone, err
	}
	if err := j.takeCorrections(ctx); err != nil {
		return gone, fmt.Errorf("what agents did alone: %w", err)
	}
	if err := j.usePinned(ctx); err != nil {
		return gone, err
	}
	return j.pass(ctx)
}

// pass takes the desired state from snapshot to environment.
func (j *job) pass(ctx context.Context) (outcome, error) {
	if err := j.phase(ctx, "fetch"); err != nil {
		return gone, err
	}
	if j.reads() {
		if err := j.openView(ctx); err != nil {
			return gone, err
		}
	}
	if err := j.computeDigest(ctx); err != nil {
		return gone, err
	}
	planCtx, cancel := context.WithTimeout(ctx, j.limits().PlanTimeout)
	defer cancel()
	if j.unchanged(planCtx) {
		return skipped, nil
	}
	if err := j.finishUndo(ctx); err != nil {
		return gone, err
	}
	if err := j.phase(ctx, "prepare"); err != nil {
		return gone, err
	}
	if err := j.prepare(planCtx); err != nil {
		return gone, fmt.Errorf("prepare: %w", err)
	}
	if err := j.makePlan(planCtx); err != nil {
		return gone, fmt.Errorf("plan: %w", err)
	}
	if j.plan.Empty() && len(j.unfinished()) == 0 {
		return j.alreadyThere(ctx)
	}
	if err := j.phase(ctx, "gates"); err != nil {
		return gone, err
	}
	if err := j.gates(ctx); err != nil {
		return gone, fmt.Errorf("gates: %w", err)
	}
	if !j.decision.Proceed {
		return held, j.holdRun(ctx)
	}
	return j.carryOut(ctx)
}

// alreadyThere ends a pass whose plan is empty.
func (j *job) alreadyThere(ctx context.Context) (outcome, error) {
	if j.undo {
		return nothing, nil
	}
	if unknown := j.plan.UnknownScopes(); len(unknown) > 0 {
		return partial, j.settle(ctx, j.plan, nil)
	}
	if err := j.takeOutputs(ctx, j.plan); err != nil {
		return gone, err
	}
	if err := j.keep(ctx, "applied"); err != nil {
		return gone, err
	}
	// A state that never was healthy does not become so by being read again.
	if j.rolls() {
		return j.recheck(ctx)
	}
	if j.status.Good != j.desired.Commit {
		if err := j.health(ctx); err != nil {
			return unhealthy, errors.Join(err, j.settle(ctx, j.plan, nil))
		}
	}
	return nothing, j.settle(ctx, j.plan, nil)
}

// recheck asks for the health of the hosts that were not found healthy at this
// state yet, where nothing is left to write.
func (j *job) recheck(ctx context.Context) (outcome, error) {
	var ask []plan.Scope
	key := j.stateKey()
	for _, sp := range j.plan.Scopes {
		if st := j.states[sp.Scope]; st.Commit != j.desired.Commit && (st.Bad == "" || st.Bad != key) {
			ask = append(ask, sp.Scope)
		}
	}
	if j.status.Good != j.desired.Commit {
		for s, why := range j.unhealthy(ctx, ask) {
			j.trouble(s, why)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return gone, err
	}
	if err := j.settle(ctx, j.plan, nil); err != nil {
		return gone, err
	}
	if len(j.troubles) > 0 {
		return partial, errors.New(j.scopesText())
	}
	return nothing, nil
}

// makePlan plans, names, masks and hashes.
func (j *job) makePlan(ctx context.Context) error {
	if err := j.phase(ctx, "plan"); err != nil {
		return err
	}
	if err := j.connect(ctx); err != nil {
		return err
	}
	if err := j.chooseScopes(ctx); err != nil {
		return err
	}
	j.fingerprintBefore(ctx)
	p, err := j.session.Plan(ctx, j.input)
	if err != nil {
		j.dropSession(err)
		return err
	}
	if p, err = j.narrow(p); err != nil {
		return err
	}
	if j.only != nil {
		j.fpBefore = nil // it speaks of all scopes
	}
	live := j.leave(p)
	if len(live) > 0 {
		j.fpBefore = nil // it would stand for the desired state
	}
	if err := j.noteLive(ctx, live); err != nil {
		return err
	}
	if j.plan, j.hash, err = j.seal(p); err != nil {
		return err
	}
	if readsEmpty(p) {
		return j.confirmEmpty(ctx)
	}
	j.fingerprintAfter(ctx)
	return nil
}

// seal fills in what the engine knows and masks what must not be stored.
func (j *job) seal(p *plan.Plan) (*plan.Plan, string, error) {
	p.Target, p.Driver, p.Version, p.Digest, p.Mode = j.target.ID, j.env.Driver, j.drv.Info().Version, j.digest, j.mode
	if err := p.Mask(func(v []byte) string { return " (" + j.e.keyed(v)[:8] + ")" }); err != nil {
		return nil, "", err
	}
	hash, err := p.Hash()
	return p, hash, err
}

func readsEmpty(p *plan.Plan) bool {
	for i := range p.Scopes {
		if p.Scopes[i].Empty {
			return true
		}
	}
	return false
}

// confirmEmpty reads once more before an environment that was never empty and
// now reads empty is filled again. A read that differs is an error.
func (j *job) confirmEmpty(ctx context.Context) error {
	j.log.Logf("the environment reads empty though objects are owned there; reading once more")
	again, err := j.session.Plan(ctx, j.input)
	if err != nil {
		return fmt.Errorf("confirming read: %w", err)
	}
	if again, err = j.narrow(again); err != nil {
		return err
	}
	j.leave(again)
	_, hash, err := j.seal(again)
	if err != nil {
		return err
	}
	if hash != j.hash {
		return fmt.Errorf("the environment read empty, then not: nothing is changed: %w", driver.ErrUnreachable)
	}
	return nil
}

// dropSession closes connections that are of no more use.
func (j *job) dropSession(err error) {
	if errors.Is(err, driver.ErrUnreachable) {
		j.e.sessions.forget(j.env)
	}
}

// holdRun records a held plan, once per plan and gate, and meanwhile keeps the
// last applied state in force.
func (j *job) holdRun(ctx context.Context) error {
	j.run.Gate, j.run.Error = string(j.decision.Gate), j.decision.Message
	j.run.PlanHash, j.run.Digest, j.run.Summary = j.hash, j.digest, j.plan.Summary()
	if j.status.PlanHash != j.hash || j.status.Gate != string(j.decision.Gate) || j.person() {
		if err := j.record(ctx); err != nil {
			return err
		}
		if err := j.e.store.PutPlan(ctx, j.lease.Fence, j.run.ID, j.hash, j.plan); err != nil {
			return err
		}
		j.log.Logf("held by %s: %s", j.decision.Gate, j.decision.Message)
	}
	if err := j.settle(ctx, j.plan, nil); err != nil {
		return err
	}
	if j.lastStateStands() {
		j.correct(ctx)
	}
	return nil
}

// lastStateStands tells whether the last applied state can and should be kept
// up while a newer one is held.
func (j *job) lastStateStands() bool {
	if j.correction || j.mode != plan.Apply || j.policy.Drift == "report" || len(j.limit) > 0 {
		return false
	}
	if len(j.states) == 0 && (j.status.Applied == "" || j.status.Applied == j.desired.Commit) {
		return false
	}
	switch j.decision.Gate {
	case GateRollout, GateApproval, GateGuard, GateRejected, GateWindow, GateDependency, GateScope:
		return true
	}
	return false
}

// correct reconciles to the last applied state: each scope to the one that it
// is at, for a rollout that stopped leaves some at the newer one. Its trouble
// is its own: it is logged and the held run stays what it is.
func (j *job) correct(ctx context.Context) {
	if len(j.states) == 0 {
		j.correctTo(ctx, j.status.Applied, nil)
		return
	}
	at := map[string][]plan.Scope{}
	for s, st := range j.states {
		// What failed and was left as it is waits for a person.
		if st.Commit != "" && st.Phase != store.ScopeFailed && st.Phase != store.ScopeRolling {
			at[st.Commit] = append(at[st.Commit], s)
		}
	}
	for _, commit := range slices.Sorted(maps.Keys(at)) {
		slices.Sort(at[commit])
		j.correctTo(ctx, commit, at[commit])
	}
}

// correctTo brings scopes, or all, back to a commit.
func (j *job) correctTo(ctx context.Context, commit string, only []plan.Scope) {
	c := &job{e: j.e, cfg: j.cfg, lease: j.lease, log: j.e.newRunLog()}
	c.correction, c.only = true, only
	defer c.log.flush(ctx)
	defer c.disconnect()
	out, err := c.passAt(ctx, commit, "drift", "system:drift", j.status.AppliedRef)
	if err != nil {
		j.e.log.Warn("the last applied state could not be kept up", "target", c.lease.Key, "error", err)
	}
	if c.started {
		c.endRun(ctx, out, err)
	}
}

// usePinned takes the configuration of the pinned or locked commit, not of
// the newest.
func (j *job) usePinned(ctx context.Context) error {
	locked := j.desired.Source == "lock"
	if j.desired.Source != "pin" && !locked {
		return nil
	}
	kept, err := j.e.store.State(ctx, j.target.ID, j.desired.Commit)
	if errors.Is(err, store.ErrNotFound) && !locked {
		return nil
	}
	if err != nil {
		return err
	}
	j.target.Config = kept.Config
	return j.decode(kept.Config)
}
