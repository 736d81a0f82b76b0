package exec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// session is an environment's commands. Each plan and apply has a working copy
// of its own.
type session struct {
	connect *Connect
	env     driver.Environment
	purpose driver.Purpose
	owner   *owner
	secrets map[string]string
	scrub   *scrubber
}

// Close has nothing to end: every command ended with the call that began it.
func (*session) Close() error { return nil }

func (s *session) realm() string { return "exec:" + cmp.Or(s.connect.Realm, s.env.Name) }

func (*session) scope(in driver.Input) driver.ScopeSpec {
	if x, ok := in.Scope.(*Scope); ok && x != nil {
		return x
	}
	return nil
}

// Plan runs the plan command, or what stands for it, in a working copy.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	if in.Mode != plan.Destroy {
		if err := prepared(ctx, in); err != nil {
			return nil, err
		}
		if n := unknownValue(in); n != "" {
			return &plan.Plan{Target: in.Target, Driver: name, Version: version, Mode: in.Mode, Changes: []plan.Change{}, Scopes: []plan.ScopePlan{
				{Realm: s.realm(), Unknown: fmt.Sprintf("the value %s is not known yet: the target that gives it has not been applied", n)}}}, nil
		}
	}
	w, err := s.work(ctx, in)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return w.plan(ctx)
}

func prepared(ctx context.Context, in driver.Input) error {
	p := in.Prepared
	if p == nil {
		var err error
		if p, err = (execDriver{}).Prepare(ctx, in); err != nil {
			return err
		}
	}
	if err := p.Diagnostics.Err(); err != nil {
		return driver.Permanent(err)
	}
	return nil
}

func unknownValue(in driver.Input) string {
	for _, n := range sortedKeys(in.Values) {
		if in.Values[n].Unknown {
			return n
		}
	}
	return ""
}

func (w *work) plan(ctx context.Context) (*plan.Plan, error) {
	if w.in.Mode == plan.Destroy {
		return w.planDestroy()
	}
	r, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	p, err := w.assemble(r)
	if err != nil {
		return nil, err
	}
	if p.Artefact, err = w.read(filePlan); err != nil {
		return nil, fmt.Errorf("the saved plan: %w", err)
	}
	if len(w.s.connect.Outputs) > 0 && !p.Writes() {
		if p.Outputs, err = w.outputs(ctx); err != nil {
			return nil, err
		}
	}
	w.scrub.mark(p.Outputs)
	return p, nil
}

// planDestroy plans from the inventory alone: what the target owns goes.
func (w *work) planDestroy() (*plan.Plan, error) {
	if len(w.s.connect.Destroy) == 0 && len(w.in.Inventory) > 0 {
		return nil, driver.Permanent(errors.New("the environment declares no destroy command: remove what the tool made by hand and give the target up with its objects kept"))
	}
	sp := plan.ScopePlan{Realm: w.s.realm(), Base: map[plan.Address]string{}, Owned: w.ownedCounts()}
	p := &plan.Plan{Target: w.in.Target, Driver: name, Version: version, Mode: w.in.Mode, Changes: []plan.Change{}}
	for _, k := range w.ownedKeys() {
		o := w.in.Inventory[k]
		sp.Base[k.Address] = "owned:" + o.Hash
		p.Changes = append(p.Changes, plan.Change{Key: k, Kind: o.Kind, Action: plan.Delete, Reason: plan.BySpec, Before: o.LastApplied,
			Source: o.Source, Impact: []plan.Impact{{Class: cmp.Or(o.Class, class), Delete: max(o.Weight, 1)}}})
	}
	p.Scopes = []plan.ScopePlan{sp}
	return p, nil
}

// Apply plans again, refuses what moved, and runs the apply command.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, rep driver.Report) error {
	switch {
	case s.purpose != driver.Write:
		return driver.Permanent(errors.New("exec: the session was opened to read"))
	case p.Target != in.Target || p.Mode != in.Mode:
		return driver.Permanent(fmt.Errorf("the plan is for target %q to %s, not for %q to %s", p.Target, p.Mode, in.Target, in.Mode))
	case len(p.Scopes) != 1 && len(p.Changes) > 0:
		return driver.Permanent(errors.New("the plan has changes but no base"))
	case len(p.Changes) == 0:
		return nil
	case in.Mode != plan.Destroy && unknownValue(in) != "":
		return fmt.Errorf("the value %s is not known: %w", unknownValue(in), driver.ErrStale)
	}
	if in.Mode != plan.Destroy {
		if err := prepared(ctx, in); err != nil {
			return err
		}
	}
	w, err := s.work(ctx, in)
	if err != nil {
		return err
	}
	defer w.close()
	a := &applier{work: w, plan: p, report: rep}
	return a.run(ctx)
}

// stale compares the plan with what would be planned now.
func (w *work) stale(p, now *plan.Plan) error {
	if p.Scopes[0].Realm != now.Scopes[0].Realm {
		return fmt.Errorf("the environment is now %s, it was planned for %s: %w", now.Scopes[0].Realm, p.Scopes[0].Realm, driver.ErrStale)
	}
	planned := map[plan.Address]bool{}
	for i := range p.Changes {
		a := p.Changes[i].Address
		planned[a] = true
		was, ok := p.Scopes[0].Base[a]
		if !ok {
			return driver.Permanent(fmt.Errorf("%s: the plan has no base for it", a))
		}
		if is, ok := now.Scopes[0].Base[a]; !ok || is != was {
			return fmt.Errorf("%s: %w", a, driver.ErrStale)
		}
	}
	if w.s.connect.Selective || w.in.Mode == plan.Destroy {
		return nil
	}
	for i := range now.Changes {
		if c := &now.Changes[i]; c.Action.Writes() && !planned[c.Address] {
			return fmt.Errorf("the tool would %s %s as well: %w", c.Action, c.Address, driver.ErrStale)
		}
	}
	if i := slices.IndexFunc(p.Changes, func(c plan.Change) bool { return c.Conflict != "" }); i >= 0 {
		return driver.Permanent(fmt.Errorf("%s is held (%s), and the tool can't apply a part of its plan: mend it, or declare `selective: true` if the apply command does only the changes it is given",
			p.Changes[i].Address, p.Changes[i].Conflict))
	}
	return nil
}
