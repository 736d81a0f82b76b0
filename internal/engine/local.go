package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

// LocalOptions says what to plan or apply straight from a checkout.
type LocalOptions struct {
	Snapshot *source.Snapshot
	Revision source.Revision
	// Repository is the name under which the operator's configuration grants
	// environments to this checkout.
	Repository string
	// Targets are names or ids; empty is all.
	Targets []string
	// Limit narrows the work to scopes (hosts) by name, group or glob.
	Limit []string
	Apply bool
	Mode  plan.Mode
	By    Approver
	// Reason is why an environment that a server manages is changed past it.
	Reason string
	// Confirm is asked before a plan is applied. For a held plan it is also the
	// approval, where the gate can be opened by one.
	Confirm func(LocalResult) bool
	// Progress is told what goes on; it may be nil.
	Progress func(target, phase string)
}

// LocalResult is what became of one target.
type LocalResult struct {
	Target      config.Resolved  `json:"target"`
	Plan        *plan.Plan       `json:"plan,omitempty"`
	Hash        string           `json:"hash,omitempty"`
	Gate        Gate             `json:"gate,omitempty"`
	Held        string           `json:"held,omitempty"`
	Applied     bool             `json:"applied"`
	Run         string           `json:"run,omitempty"`
	Diagnostics plan.Diagnostics `json:"diagnostics,omitempty"`
	Err         error            `json:"-"`
	Error       string           `json:"error,omitempty"`
}

// Local plans, and on wish applies, the targets of a checkout against this
// engine's store. The diagnostics are the checkout's mistakes.
func (e *Engine) Local(ctx context.Context, o LocalOptions) ([]LocalResult, plan.Diagnostics, error) {
	// Grants by branch bind what the server follows. Whoever runs this holds the
	// operator's configuration and plans feature branches and tags as well.
	all, diags, err := e.ResolveAll(ctx, o.Snapshot, o.Repository, "")
	if err != nil || diags.Err() != nil {
		return nil, diags, err
	}
	chosen, err := chooseTargets(all, o.Targets)
	if err != nil {
		return nil, diags, err
	}
	desired := store.Desired{Commit: o.Revision.Commit, Ref: o.Revision.Ref, Source: "local", Actor: o.By.Actor, At: e.clock()}
	if desired.Commit == "" || o.Revision.Dirty {
		desired.Commit += worktree
	}
	var out []LocalResult
	for _, r := range inOrder(chosen) {
		out = append(out, e.localTarget(ctx, o, desired, r))
	}
	return out, diags, nil
}

// ResolveAll reads all manifests of a snapshot and gives their targets.
func (e *Engine) ResolveAll(ctx context.Context, snap *source.Snapshot, repository, ref string) ([]config.Resolved, plan.Diagnostics, error) {
	found, err := snap.Find(ctx, manifestName)
	if err != nil {
		return nil, nil, err
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("there is no %s here; `trueup init` writes one", manifestName)
	}
	rc := config.Context{Repository: repository, Server: e.cfg.Load().Server, Drivers: e.drivers,
		Tree: snap.View(".", []string{"**"}), Branch: ref}
	var all []config.Resolved
	var diags plan.Diagnostics
	for _, f := range found {
		body, err := snap.ReadFile(ctx, f.Path)
		if err != nil {
			return nil, diags, err
		}
		m, d := config.ParseManifest(f.Path, body)
		diags = append(diags, d...)
		if d.Err() != nil {
			continue
		}
		r, d := config.Resolve(rc, f.Path, m)
		diags = append(diags, d...)
		all = append(all, r...)
	}
	return all, append(diags, config.Check(all)...), nil
}

func chooseTargets(all []config.Resolved, names []string) ([]config.Resolved, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []config.Resolved
	var errs []error
	for _, n := range names {
		i := slices.IndexFunc(all, func(r config.Resolved) bool { return r.Name == n || r.ID == n })
		if i < 0 {
			errs = append(errs, fmt.Errorf("there is no target %q in this checkout", n))
			continue
		}
		for _, r := range all {
			if r.Name == n || r.ID == n {
				out = append(out, r)
			}
		}
	}
	return out, errors.Join(errs...)
}

// inOrder puts targets behind those that they depend on. Cycles were refused
// before.
func inOrder(all []config.Resolved) []config.Resolved {
	byID := map[string]config.Resolved{}
	for _, r := range all {
		byID[r.ID] = r
	}
	done := map[string]bool{}
	var out []config.Resolved
	var visit func(r config.Resolved)
	visit = func(r config.Resolved) {
		if done[r.ID] {
			return
		}
		done[r.ID] = true
		for _, up := range upstreams(&r) {
			if u, ok := byID[up]; ok {
				visit(u)
			}
		}
		out = append(out, r)
	}
	for _, r := range all {
		visit(r)
	}
	return out
}

// localTarget runs one target through the same steps as the server does.
func (e *Engine) localTarget(ctx context.Context, o LocalOptions, desired store.Desired, r config.Resolved) LocalResult {
	res := LocalResult{Target: r}
	lease, err := e.localLease(ctx, o, desired, r)
	if err != nil {
		res.Err = err
		return res.sealed()
	}
	j := &job{e: e, cfg: e.cfg.Load(), lease: lease, log: e.newRunLog(), progress: o.Progress}
	j.view = o.Snapshot.View(r.Path, r.Reads())
	defer j.log.flush(ctx)
	defer j.disconnect()
	out, err := j.local(ctx, o, &res)
	res.Err = err
	done := store.Finish{Observed: lease.Generation, Remove: true}
	if o.Apply && (j.started || out == nothing) {
		done = j.finish(ctx, out, err)
		done.NextDue, done.RetryAfter, done.Remove = done.NextDue.Truncate(0), 0, true
	}
	if o.Apply && out == partial && err == nil {
		res.Err = errors.New(j.partialText(nil))
	}
	if ferr := e.store.Finish(context.WithoutCancel(ctx), lease.Fence, done); ferr != nil && res.Err == nil {
		res.Err = ferr
	}
	return res.sealed()
}

func (r LocalResult) sealed() LocalResult {
	if r.Err != nil {
		r.Error = r.Err.Error()
	}
	var d plan.Diagnostics
	if errors.As(r.Err, &d) {
		r.Diagnostics = d
	}
	return r
}

// localLease puts the target into the store and takes its lease.
func (e *Engine) localLease(ctx context.Context, o LocalOptions, desired store.Desired, r config.Resolved) (store.Lease, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return store.Lease{}, err
	}
	req, err := json.Marshal(request{Mode: o.Mode, Reason: o.Reason, Limit: o.Limit})
	if err != nil {
		return store.Lease{}, err
	}
	// No head: a server that takes this store over later looks at everything
	// anew and goes on from the repository, not from this checkout.
	st := store.RepositoryState{Name: r.Repository, Ref: desired.Ref, ConfigVer: e.cfg.Load().version, FetchedAt: e.clock()}
	t := store.Target{ID: r.ID, Repository: r.Repository, Manifest: r.Manifest, Name: r.Name, Environment: r.Environment,
		Config: body, State: store.Active, Desired: desired}
	trigger := store.Trigger{Kind: store.Reconcile, Key: r.ID, Slot: r.Environment, Class: store.ByPerson, Cause: "person",
		Actor: o.By.Actor, Commit: desired.Commit, Payload: req}
	if err := e.store.PutTargets(ctx, st, []store.Target{t}, nil, []store.Trigger{trigger}); err != nil {
		return store.Lease{}, err
	}
	leases, err := e.store.Claim(ctx, store.ClaimOptions{Owner: e.owner, Kinds: []store.WorkKind{store.Reconcile}, Max: 1000,
		Lease: e.leaseTime, ConfigVersion: e.cfg.Load().version, DefaultSlot: 1000})
	if err != nil {
		return store.Lease{}, err
	}
	var mine store.Lease
	for _, l := range leases {
		if l.Key == r.ID {
			mine = l
			continue
		}
		if err := e.store.Finish(ctx, l.Fence, store.Finish{Observed: l.Generation, Remove: true}); err != nil {
			return mine, err
		}
	}
	if mine.Key == "" {
		return mine, fmt.Errorf("target %s is being reconciled by another process", r.ID)
	}
	return mine, nil
}

// local plans, asks and applies.
func (j *job) local(ctx context.Context, o LocalOptions, res *LocalResult) (outcome, error) {
	stop := j.e.holdLease(ctx, j.lease.Fence)
	defer stop()
	if err := j.load(ctx); err != nil {
		return gone, err
	}
	res.Run = j.run.ID
	var err error
	if j.viewID, err = j.view.ID(ctx); err != nil {
		return gone, err
	}
	if err := j.computeDigest(ctx); err != nil {
		return gone, err
	}
	planCtx, cancel := context.WithTimeout(ctx, j.limits().PlanTimeout)
	defer cancel()
	if err := j.prepare(planCtx); err != nil {
		return gone, err
	}
	res.Diagnostics = j.warnings()
	if err := j.makePlan(planCtx); err != nil {
		return gone, err
	}
	res.Plan, res.Hash = j.plan, j.hash
	if j.plan.Empty() && len(j.unfinished()) == 0 {
		return j.alreadyThere(ctx)
	}
	if err := j.gates(ctx); err != nil {
		return gone, err
	}
	if !j.decision.Proceed {
		res.Gate, res.Held = j.decision.Gate, j.decision.Message
	}
	if !o.Apply || o.Confirm == nil || !o.Confirm(*res) {
		return held, nil
	}
	if err := j.localApproval(ctx, o); err != nil {
		return held, err
	}
	out, err := j.carryOut(ctx)
	res.Applied = err == nil && out == succeeded
	if res.Applied {
		res.Gate, res.Held = GateNone, ""
	}
	return out, err
}

// localApproval opens the gates that an approval opens.
func (j *job) localApproval(ctx context.Context, o LocalOptions) error {
	if j.decision.Proceed {
		return nil
	}
	if g := j.decision.Gate; g == GateApproval || g == GateGuard {
		a := store.Approval{ID: newRunID(j.e.clock()), Target: j.target.ID, Digest: j.digest, PlanHash: j.hash, Approved: true,
			Actor: o.By.Actor, Teams: o.By.Teams, Reason: o.Reason, At: j.e.clock()}
		if err := j.e.store.AddApproval(ctx, a); err != nil {
			return err
		}
		if err := j.gates(ctx); err != nil {
			return err
		}
	}
	if !j.decision.Proceed {
		return driver.Permanent(fmt.Errorf("held by %s: %s", j.decision.Gate, j.decision.Message))
	}
	return nil
}

// warnings are what the driver remarked about the desired state.
func (j *job) warnings() plan.Diagnostics {
	if j.input.Prepared == nil {
		return nil
	}
	return j.input.Prepared.Diagnostics.Warnings()
}
