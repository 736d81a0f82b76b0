package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

// job is one reconciliation in the making. Each step fills in what the next
// one needs.
type job struct {
	e     *Engine
	cfg   *active
	lease store.Lease
	log   *runLog

	target  store.Target
	status  store.Status  // as the last run left it
	desired store.Desired // what this pass reconciles to
	setting
	material
	planned
	scoped
	session  driver.Session
	release  func() // gives the session back
	progress func(target, phase string)
}

// setting is what the target's configuration names.
type setting struct {
	res    *config.Resolved
	env    *config.Environment
	policy *config.Policy
	rules  *policyRules
	grants []config.Grant
	drv    driver.Driver
	mode   plan.Mode
	// purpose of the session; empty is to write.
	purpose driver.Purpose
}

// material is what the plan is made of.
type material struct {
	view     *source.View
	viewID   string
	used     map[string]plan.Output // values of other targets
	digest   string
	input    driver.Input
	fpBefore map[plan.Scope]string
	// coming has the targets of a pull request as they would be, inventoryOf the
	// id under which this one owned things before; both are for previews.
	coming      map[string]*config.Resolved
	inventoryOf string
}

// planned is what came of planning, and of the run.
type planned struct {
	plan       *plan.Plan
	hash       string
	decision   Decision
	approval   policy.Decision // that the decision rests on
	run        store.Run
	started    bool     // the run has a record
	changedOut []string // outputs that changed in this run
}

// errRemove says that the work has no target any more.
var errRemove = errors.New("nothing to reconcile")

// load reads everything about the target that does not need Git.
func (j *job) load(ctx context.Context) error {
	t, err := j.e.store.Target(ctx, j.lease.Key)
	if errors.Is(err, store.ErrNotFound) || err == nil && t.State == store.Retired {
		return errRemove
	}
	if err != nil {
		return err
	}
	j.target, j.desired, j.status = t, t.Desired, t.Status
	if err := j.loadScopes(ctx); err != nil {
		return err
	}
	if err := j.closeAbandoned(ctx); err != nil {
		return err
	}
	j.mode = plan.Apply
	var req request
	// A request holds for the run that it asked for, not for later ones.
	if len(j.lease.Payload) > 0 && j.person() {
		if err := json.Unmarshal(j.lease.Payload, &req); err != nil {
			return driver.Permanent(fmt.Errorf("stored request: %w", err))
		}
	}
	if t.State == store.Orphaned && req.Mode != plan.Destroy {
		return errRemove
	}
	if err := j.decode(t.Config); err != nil {
		return err
	}
	if req.Mode != "" {
		j.mode = req.Mode
	}
	if !j.correction {
		j.limit = req.Limit
	}
	j.run = store.Run{ID: newRunID(j.e.clock()), Target: t.ID, Environment: t.Environment, Repository: t.Repository,
		Commit: j.desired.Commit, Ref: j.desired.Ref, Generation: j.lease.Generation, Class: j.lease.Class,
		Cause: causeOf(j.lease), Actor: actorOf(j.lease, "system:drift"), Mode: j.mode, ConfigVer: j.cfg.version,
		First: req.First, State: store.RunActive, Limit: j.limit, Started: j.e.clock()}
	j.log.run = j.run.ID
	return nil
}

// decode takes the target's configuration apart and finds what it names.
func (j *job) decode(body []byte) error {
	j.res = &config.Resolved{}
	if err := json.Unmarshal(body, j.res); err != nil {
		return driver.Permanent(fmt.Errorf("stored configuration: %w", err))
	}
	if err := j.res.Decode(j.e.drivers); err != nil {
		return driver.Permanent(err)
	}
	j.mode = j.res.Mode
	if j.mode == "" {
		j.mode = plan.Apply
	}
	env, ok := j.cfg.Environments[j.res.Environment]
	if !ok {
		return driver.Permanent(fmt.Errorf("environment %q is not in the operator's configuration", j.res.Environment))
	}
	j.env = env
	var err error
	if j.drv, err = j.e.drivers.Get(env.Driver); err != nil {
		return driver.Permanent(err)
	}
	j.policy, j.rules = j.cfg.policyOf(env)
	ref := j.desired.Ref
	if j.desired.Source == "local" {
		ref = "" // whoever runs it holds the operator's configuration: see Local
	}
	j.grants, err = config.GrantsFor(j.cfg.Server, j.res.Repository, ref, env.Name, j.res.Path)
	if err != nil {
		return driver.Permanent(err)
	}
	return nil
}

// boundGrants gives the grants with scopes that know their environment.
func (j *job) boundGrants() ([]config.Grant, error) {
	out := slices.Clone(j.grants)
	for i, g := range out {
		b, ok := g.Scope.(driver.Binder)
		if !ok {
			continue
		}
		bound, err := b.Bind(j.env.Connect, j.cfg.Dir)
		if err != nil {
			return nil, driver.Permanent(fmt.Errorf("environment %s: the scope of a grant: %w", j.env.Name, err))
		}
		out[i].Scope = bound
	}
	return out, nil
}

// request is what a person asked for, beside "reconcile".
type request struct {
	Mode   plan.Mode `json:"mode,omitempty"`
	Reason string    `json:"reason,omitempty"`
	// First is what caused the run whose plan was decided on.
	First *store.Caused `json:"first,omitempty"`
	// Limit narrows the run to scopes by name, group or glob.
	Limit []string `json:"limit,omitempty"`
}

// record writes the run's row; the first call makes the run visible.
func (j *job) record(ctx context.Context) error {
	first := !j.started
	j.started = true
	j.run.Origin = j.origin(ctx)
	if err := j.e.store.PutRun(context.WithoutCancel(ctx), j.lease.Fence, j.run); err != nil {
		return err
	}
	if first {
		return j.e.event(context.WithoutCancel(ctx), j.run.Actor, "run.started", j.run.Target, j.run.ID,
			map[string]any{"commit": j.run.Commit, "cause": j.run.Cause, "environment": j.run.Environment})
	}
	return nil
}

// phase moves the run on and marks a point where tests may kill it.
func (j *job) phase(ctx context.Context, name string) error {
	j.run.Phase = name
	j.tell(name)
	if err := j.e.fail(name); err != nil {
		return err
	}
	if j.started {
		return j.record(ctx)
	}
	return nil
}

// person tells that somebody asked for this run.
func (j *job) person() bool { return j.lease.Class == store.ByPerson }

func (j *job) limits() config.Limits { return j.cfg.Limits }

// newRunID gives an id that sorts by time.
func newRunID(now time.Time) string {
	now = now.UTC()
	return fmt.Sprintf("r%s%06d%04x", now.Format("060102150405"), now.Nanosecond()/1000, randomID())
}

// connect gets a session: one that can write, unless this is a preview.
func (j *job) connect(ctx context.Context) error {
	if j.session != nil {
		return nil
	}
	s, release, err := j.e.sessions.get(ctx, j.drv, j.env, cmp.Or(j.purpose, driver.Write))
	if err != nil {
		return err
	}
	j.session, j.release = s, release
	return nil
}

// disconnect gives the session back.
func (j *job) disconnect() {
	if j.release != nil {
		j.release()
	}
	j.session, j.release = nil, nil
}
