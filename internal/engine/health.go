package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/health"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// health runs the target's checks after an apply, those of scopes for every
// scope of the plan.
func (j *job) health(ctx context.Context) error {
	if len(j.res.Health) == 0 || j.mode == plan.Destroy || j.undo {
		return nil
	}
	var scopes []plan.Scope
	for _, sp := range j.plan.Scopes {
		if sp.Unknown == "" {
			scopes = append(scopes, sp.Scope)
		}
	}
	found := j.check(ctx, scopes)
	var texts []string
	for _, f := range found {
		text := f.text
		if f.own {
			text = fmt.Sprintf("%s: %s", f.scope, text)
			j.trouble(f.scope, f.text)
		}
		texts = append(texts, text)
	}
	if len(texts) > 0 {
		return fmt.Errorf("not healthy after apply: %s", listed(texts))
	}
	return nil
}

// unhealthy runs the target's checks for some scopes and gives what is wrong
// with each. A check of the whole target counts for all of them.
func (j *job) unhealthy(ctx context.Context, scopes []plan.Scope) map[plan.Scope]string {
	if len(j.res.Health) == 0 || len(scopes) == 0 {
		return nil
	}
	bad := map[plan.Scope]string{}
	for _, f := range j.check(ctx, scopes) {
		of := scopes
		if f.own {
			of = []plan.Scope{f.scope}
		}
		for _, s := range of {
			if bad[s] == "" {
				bad[s] = f.text
			}
		}
	}
	return bad
}

// finding is a check that failed; own tells that it is one of its scope.
type finding struct {
	scope plan.Scope
	own   bool
	text  string
}

// scopesAtOnce is how many scopes are checked at the same time.
const scopesAtOnce = 32

// check runs the checks: those of the whole target once, those of a scope for
// each of the scopes.
func (j *job) check(ctx context.Context, scopes []plan.Scope) []finding {
	var whole, each []config.Health
	for _, h := range j.res.Health {
		if j.perScope(h) {
			each = append(each, h)
		} else {
			whole = append(whole, h)
		}
	}
	var mu sync.Mutex
	var out []finding
	ask := func(c *health.Checker, checks []config.Health, f finding) {
		for _, r := range c.Run(ctx, checks, j.log.Logf) {
			if !r.OK {
				f.text = fmt.Sprintf("%s: %s", r.Check, r.Err)
				mu.Lock()
				out = append(out, f)
				mu.Unlock()
			}
		}
	}
	var wg sync.WaitGroup
	if len(whole) > 0 {
		wg.Go(func() { ask(j.checker(""), whole, finding{}) })
	}
	slots := make(chan struct{}, scopesAtOnce)
	for _, s := range scopes {
		if len(each) == 0 {
			break
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			filled, err := j.filled(each, s)
			if err != nil {
				mu.Lock()
				out = append(out, finding{s, true, err.Error()})
				mu.Unlock()
				return
			}
			ask(j.checker(s), filled, finding{scope: s, own: true})
		})
	}
	wg.Wait()
	slices.SortStableFunc(out, func(a, b finding) int { return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.text, b.text)) })
	return out
}

// perScope tells that a check is one of each scope: it names a variable of the
// scope, its command does, or it is the driver's own and the driver has scopes.
func (j *job) perScope(h config.Health) bool {
	if c := j.cfg.Commands[h.Command]; h.Command != "" && c != nil {
		return c.PerScope()
	}
	return h.PerScope() || len(h.Driver) > 0 && len(j.infos) > 0
}

// filled puts a scope's variables into checks.
func (j *job) filled(checks []config.Health, s plan.Scope) ([]config.Health, error) {
	vars := map[string]any{}
	for _, info := range j.infos {
		if info.Scope == s {
			maps.Copy(vars, info.Vars)
		}
	}
	host := map[string]any{"name": string(s)}
	if a, ok := vars["address"]; ok {
		host["address"] = a
	}
	vars["host"], vars["scope"] = host, string(s)
	out := make([]config.Health, len(checks))
	for i, h := range checks {
		var err error
		if out[i], err = h.Fill(vars); err != nil {
			return nil, fmt.Errorf("health check: %w", err)
		}
	}
	return out, nil
}

// checker asks checks and runs commands, for one scope or ("") for the target.
func (j *job) checker(s plan.Scope) *health.Checker {
	c := &health.Checker{Commands: j.cfg.Commands, Secrets: j.e.resolvers, Dir: j.cfg.Dir,
		Driver: func(ctx context.Context, check map[string]any) error { return j.driverHealth(ctx, s, check) }}
	if s == "" {
		return c
	}
	c.Subject = &health.Subject{Target: j.target.ID, Commit: j.desired.Commit, Host: string(s)}
	if cmd, ok := j.session.(driver.Commander); ok {
		c.Subject.On = func(ctx context.Context, x driver.Command, log func(string)) error {
			return cmd.Command(ctx, s, x, log)
		}
	}
	return c
}

func (j *job) driverHealth(ctx context.Context, s plan.Scope, check map[string]any) error {
	h, ok := j.session.(driver.HealthChecker)
	if !ok {
		return fmt.Errorf("the driver %s has no health checks of its own", j.env.Driver)
	}
	in := j.input
	if s != "" {
		in.Only = []plan.Scope{s}
	}
	return h.Health(ctx, in, check)
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
