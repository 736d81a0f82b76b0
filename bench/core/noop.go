package main

import (
	"context"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// noop is a driver that finds everything as it should be, at once: what is
// left is the cost of the engine, the queue and the store.
type noop struct{}

type noopConfig struct{}

// Contains takes everything in.
func (*noopConfig) Contains(plan.Key, string) bool { return true }

// Info describes the driver.
func (noop) Info() driver.Info {
	return driver.Info{Name: "noop", Summary: "does nothing", Version: "1", Spec: func() any { return &noopConfig{} },
		Scope: func() driver.ScopeSpec { return &noopConfig{} }, Connect: func() any { return &noopConfig{} }}
}

// Prepare asks for one thing, for an empty desired state is refused.
func (noop) Prepare(context.Context, driver.Input) (*driver.Prepared, error) {
	return &driver.Prepared{Desired: []driver.Desired{{Key: plan.Key{Address: "nothing"}}}}, nil
}

// Open connects to nothing.
func (noop) Open(context.Context, driver.Environment, driver.Purpose) (driver.Session, error) {
	return noop{}, nil
}

// Plan finds nothing to do.
func (noop) Plan(_ context.Context, in driver.Input) (*plan.Plan, error) {
	return &plan.Plan{Target: in.Target, Mode: in.Mode, Scopes: []plan.ScopePlan{{Realm: "noop"}}, Changes: []plan.Change{}}, nil
}

// Apply has nothing to do.
func (noop) Apply(context.Context, driver.Input, *plan.Plan, driver.Report) error { return nil }

// Close lets nothing go.
func (noop) Close() error { return nil }
