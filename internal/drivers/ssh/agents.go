package ssh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Hosts with `agent: true` are not connected to. Their part of a plan or an
// apply is packed and handed to the agent that calls in from there, which runs
// this very driver on its own host.

func noSecret(_ context.Context, ref secret.Ref) (secret.Value, error) {
	return secret.Value{}, driver.Permanent(fmt.Errorf("%s: references to secrets stay with the server and can't be used on a host with an agent", ref))
}

// callsIn tells whether a host has an agent.
func (s *set) callsIn(name plan.Scope) bool {
	if s.over != nil {
		return false // this is the agent
	}
	h := s.inventory.Host(string(name))
	return h != nil && h.Agent
}

// withoutAgents gives an input that leaves the hosts with agents out, and the
// names of these hosts.
func (s *set) withoutAgents() (driver.Input, []plan.Scope) {
	var agents []plan.Scope
	for _, name := range s.scopes() {
		if s.callsIn(name) && s.in.Covers(name) {
			agents = append(agents, name)
		}
	}
	in := s.in
	if len(agents) > 0 {
		in.Inventory = maps.Clone(s.in.Inventory)
		maps.DeleteFunc(in.Inventory, func(k plan.Key, _ driver.Owned) bool { return s.callsIn(k.Scope) })
	}
	return in, agents
}

// ask has the agent of a host do something.
func (s *set) ask(ctx context.Context, name plan.Scope, op driver.AgentOp, fill func(*driver.Ask), report driver.Report) (*driver.Answer, *packed, error) {
	if s.env.Agents == nil {
		return nil, nil, fmt.Errorf("%w: the agent of %s calls in to a server, and this is none", driver.ErrUnreachable, name)
	}
	p, err := s.pack(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	q := driver.Ask{Op: op, Bundle: p.Bundle}
	if fill != nil {
		fill(&q)
	}
	a, err := s.env.Agents.Ask(ctx, string(name), q, report)
	return a, p, err
}

// each works on several hosts at a time.
func (s *set) each(names []plan.Scope, work func(i int, name plan.Scope)) {
	slots := make(chan struct{}, s.connect.concurrency())
	var wg sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			work(i, name)
		})
	}
	wg.Wait()
}

// planAgents adds the agents' hosts to a plan. One that does not answer, or
// can't plan, is an unknown scope and holds nobody up.
func (s *set) planAgents(ctx context.Context, p *plan.Plan, names []plan.Scope) error {
	parts := make([]*plan.Plan, len(names))
	s.each(names, func(i int, name plan.Scope) {
		a, packed, err := s.ask(ctx, name, driver.AgentPlan, nil, nil)
		if err == nil && a.Plan == nil {
			err = fmt.Errorf("the agent of %s gave no plan", name)
		}
		if err != nil {
			parts[i] = &plan.Plan{Scopes: []plan.ScopePlan{{Scope: name, Unknown: err.Error()}}}
			return
		}
		parts[i] = a.Plan
		for j := range a.Plan.Changes {
			c := &a.Plan.Changes[j]
			if at, ok := packed.sources[c.Address]; ok {
				c.Source = at
			} else if o, ok := s.owned[name][c.Address]; ok {
				c.Source = o.Source
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, part := range parts {
		p.Scopes, p.Changes = append(p.Scopes, part.Scopes...), append(p.Changes, part.Changes...)
		for _, w := range part.Warnings {
			if !slices.Contains(p.Warnings, w) {
				p.Warnings = append(p.Warnings, w)
			}
		}
	}
	slices.SortFunc(p.Scopes, func(a, b plan.ScopePlan) int { return cmp.Compare(a.Scope, b.Scope) })
	slices.SortStableFunc(p.Changes, func(a, b plan.Change) int { return a.Key.Compare(b.Key) })
	return nil
}

// applyAgents carries out the part of a plan that lies on hosts with agents,
// and gives the rest.
func (s *set) applyAgents(ctx context.Context, p *plan.Plan, report driver.Report) (rest *plan.Plan, wait func() error) {
	parts := map[plan.Scope]*plan.Plan{}
	r := *p
	r.Scopes, r.Changes = nil, nil
	for _, sp := range p.Scopes {
		if !s.callsIn(sp.Scope) {
			r.Scopes = append(r.Scopes, sp)
			continue
		}
		part := *p
		part.Scopes, part.Changes, part.Warnings, part.Outputs = []plan.ScopePlan{sp}, nil, nil, nil
		parts[sp.Scope] = &part
	}
	for i := range p.Changes {
		c := p.Changes[i]
		if part := parts[c.Scope]; part != nil {
			part.Changes = append(part.Changes, c)
			continue
		}
		r.Changes = append(r.Changes, c)
	}
	maps.DeleteFunc(parts, func(_ plan.Scope, part *plan.Plan) bool { return len(part.Changes) == 0 })
	names := slices.Sorted(maps.Keys(parts))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	wg.Go(func() {
		s.each(names, func(i int, name plan.Scope) {
			_, _, errs[i] = s.ask(ctx, name, driver.AgentApply, func(q *driver.Ask) { q.Plan = parts[name] }, report)
		})
	})
	return &r, func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}

// askAgent tells whether a host is to be asked through its agent.
func (s *session) askAgent(h *inventory.Host) bool { return s.over == nil && h.Agent }

// askBare has a host's agent do something that needs no desired state.
func (s *session) askBare(ctx context.Context, h *inventory.Host, q driver.Ask, report driver.Report) error {
	if s.env.Agents == nil {
		return fmt.Errorf("%w: the agent of %s calls in to a server, and this is none", driver.ErrUnreachable, h.Name)
	}
	desired, err := json.Marshal(carried{Scope: &Scope{Hosts: []string{h.Name}}, Connect: s.connect.travelling(),
		Host: carriedHost{Name: h.Name, Address: h.Address, Groups: h.Groups}})
	if err != nil {
		return err
	}
	q.Bundle = driver.Bundle{Driver: "ssh", Version: version, Environment: s.env.Name, Scope: plan.Scope(h.Name), Mode: plan.Apply, Desired: desired}
	_, err = s.env.Agents.Ask(ctx, h.Name, q, report)
	return err
}

// logged is a report of which only the log counts.
type logged struct{ log func(line string) }

// Pending refuses: a command has no journal.
func (logged) Pending(context.Context, []plan.Key) error {
	return errors.New("a command has no journal")
}

// Done refuses as well.
func (logged) Done(context.Context, []plan.Result) error {
	return errors.New("a command has no journal")
}

// Logf passes a line on.
func (l logged) Logf(format string, args ...any) { l.log(fmt.Sprintf(format, args...)) }
