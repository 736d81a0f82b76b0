// Package noop is a driver that does nothing. Benchmarks of the queue and the
// engine use it, so that they measure trueup alone. It is not in the list of
// drivers that users have; only tests and benchmarks import it.
package noop

import (
	"context"
	"sync/atomic"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Driver is the driver. It counts what it is asked for.
type Driver struct {
	// Delay is how long a plan takes.
	Delay time.Duration

	prepared, planned, applied atomic.Int64
}

// New makes the driver.
func New() *Driver { return &Driver{} }

// Counts tells how often the driver was asked to prepare, plan and apply.
func (d *Driver) Counts() (prepared, planned, applied int64) {
	return d.prepared.Load(), d.planned.Load(), d.applied.Load()
}

// Spec has nothing to set.
type Spec struct{}

// Connect has nothing to set.
type Connect struct{}

// Scope contains everything.
type Scope struct{}

// Contains is always true.
func (*Scope) Contains(plan.Key, string) bool { return true }

// Info describes the driver.
func (d *Driver) Info() driver.Info {
	return driver.Info{Name: "noop", Summary: "nothing, for benchmarks", Version: "1", StopGrace: time.Second,
		Spec:    func() any { return &Spec{} },
		Scope:   func() driver.ScopeSpec { return &Scope{} },
		Connect: func() any { return &Connect{} }}
}

// Prepare asks for one object: the target's path.
func (d *Driver) Prepare(_ context.Context, in driver.Input) (*driver.Prepared, error) {
	d.prepared.Add(1)
	return &driver.Prepared{Desired: []driver.Desired{{Key: key(in), Kind: "nothing", Source: plan.Source{File: in.Path}}}}, nil
}

// Open connects to nothing.
func (d *Driver) Open(context.Context, driver.Environment, driver.Purpose) (driver.Session, error) {
	return &session{d}, nil
}

func key(in driver.Input) plan.Key { return plan.Key{Address: plan.Address(in.Path)} }

type session struct{ d *Driver }

// Close does nothing.
func (*session) Close() error { return nil }

// Plan adopts the one object when it is not owned yet, and else plans nothing.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	s.d.planned.Add(1)
	if s.d.Delay > 0 {
		select {
		case <-time.After(s.d.Delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p := &plan.Plan{Target: in.Target, Driver: "noop", Version: "1", Mode: in.Mode, Changes: []plan.Change{},
		Scopes: []plan.ScopePlan{{Realm: "noop", Base: map[plan.Address]string{}}}}
	_, owned := in.Inventory[key(in)]
	switch {
	case in.Mode == plan.Destroy && owned:
		p.Changes = append(p.Changes, plan.Change{Key: key(in), Kind: "nothing", Action: plan.Forget, Reason: plan.ByPrune})
	case in.Mode != plan.Destroy && !owned:
		p.Changes = append(p.Changes, plan.Change{Key: key(in), Kind: "nothing", Action: plan.Adopt, Reason: plan.BySpec})
	}
	return p, nil
}

// Apply reports every change as applied.
func (s *session) Apply(ctx context.Context, _ driver.Input, p *plan.Plan, report driver.Report) error {
	s.d.applied.Add(1)
	var done []plan.Result
	for _, c := range p.Changes {
		done = append(done, plan.Result{Key: c.Key, Kind: c.Kind, Action: c.Action, Outcome: plan.Applied, Hash: "nothing"})
	}
	if len(done) == 0 {
		return nil
	}
	return report.Done(ctx, done)
}
