package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"trueup.dev/trueup/bench/measure"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

// plan prepares and plans one target.
func (w *world) plan(t *target) (*plan.Plan, driver.Input, error) {
	ctx := context.Background()
	in := t.input(w.now)
	prep, err := kubernetes.New().Prepare(ctx, in)
	if err == nil {
		err = prep.Diagnostics.Err()
	}
	if err != nil {
		return nil, in, err
	}
	in.Prepared = prep
	p, err := w.session.Plan(ctx, in)
	if err != nil {
		return nil, in, err
	}
	p.Target, p.Mode = in.Target, in.Mode
	for _, s := range p.Scopes {
		if s.Unknown != "" {
			return nil, in, fmt.Errorf("%s: %s", t.name, s.Unknown)
		}
	}
	return p, in, nil
}

// apply brings one target to its desired state, and verifies it.
func (w *world) apply(t *target, changes int) error {
	p, in, err := w.plan(t)
	if err != nil {
		return err
	}
	if len(p.Changes) != changes {
		return fmt.Errorf("%s: %d changes were planned, not %d", t.name, len(p.Changes), changes)
	}
	j := drivertest.NewJournal(t.inventory, p)
	if err := w.session.Apply(context.Background(), in, p, j); err != nil {
		return err
	}
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied {
			return fmt.Errorf("%s: %s %s", r.Key, r.Outcome, r.Error)
		}
	}
	t.inventory = j.Inventory()
	return w.exact(t)
}

// exact plans and expects nothing to do.
func (w *world) exact(t *target) error {
	p, _, err := w.plan(t)
	if err == nil && len(p.Changes) > 0 {
		err = fmt.Errorf("%s: %d changes are left: %s %s", t.name, len(p.Changes), p.Changes[0].Action, p.Changes[0].Key)
	}
	return err
}

func (w *world) each(fleet []*target, atOnce int, f func(*target) error) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, t := range fleet {
		g.Go(func() error { return f(t) })
	}
	return g.Wait()
}

func (w *world) applyAll(fleet []*target, atOnce int) error {
	return w.each(fleet, atOnce, func(t *target) error { return w.apply(t, perTarget) })
}

// prints takes fingerprints, as the engine does when the clock alone asks.
func (w *world) prints(fleet []*target) (map[string]string, error) {
	out := map[string]string{}
	for _, t := range fleet {
		in := t.input(w.now)
		in.Inventory = nil
		fp, err := w.session.(driver.Fingerprinter).Fingerprint(context.Background(), in)
		if err != nil {
			return nil, err
		}
		if fp[""] == "" {
			return nil, fmt.Errorf("%s has no fingerprint", t.name)
		}
		out[t.name] = fp[""]
	}
	return out, nil
}

// check is a drift check that finds nothing.
func (w *world) check(fleet []*target, was map[string]string) error {
	now, err := w.prints(fleet)
	if err != nil {
		return err
	}
	for name, fp := range was {
		if now[name] != fp {
			return fmt.Errorf("the fingerprint of %s moved", name)
		}
	}
	return nil
}

func (w *world) oneChanged(s steps, ours, bare []*target) error {
	t, b := ours[0], bare[0]
	for i := range 5 {
		value := fmt.Sprintf("changed%d", i)
		t.body = strings.Replace(t.body, t.body[strings.LastIndex(t.body, "value: "):], "value: "+value+", other: text}\n", 1)
		b.body = strings.Replace(b.body, b.body[strings.LastIndex(b.body, "value: "):], "value: "+value+", other: text}\n", 1)
		objs, err := b.parsed()
		if err != nil {
			return err
		}
		err = s.time("one_bare", func() error { return w.bareApply(context.Background(), objs[len(objs)-1], false) })
		if err == nil {
			err = s.time("one_trueup", func() error { return w.apply(t, 1) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// growth states the cost of a first apply and of a check as work grows.
func (w *world) growth(targets int) error {
	fleet := w.fleet(fmt.Sprintf("grow%d", targets), targets)
	if err := w.namespaces(fleet); err != nil {
		return err
	}
	began := time.Now()
	if err := w.applyAll(fleet, atOnce); err != nil {
		return err
	}
	measure.Figure(fmt.Sprintf("kubernetes_growth_%d_first", targets*perTarget), measure.Milliseconds(time.Since(began)), "ms", "")
	was, err := w.prints(fleet)
	if err != nil {
		return err
	}
	began = time.Now()
	if err := w.check(fleet, was); err != nil {
		return err
	}
	measure.Figure(fmt.Sprintf("kubernetes_growth_%d_check", targets*perTarget), measure.Milliseconds(time.Since(began)), "ms", "")
	return nil
}

// memory states what a session costs that looks after many objects: the heap
// in use after a check, less that of before, desired states not counted.
func (w *world) memory(targets int) error {
	fleet := w.fleet("memory", targets)
	if err := w.namespaces(fleet); err != nil {
		return err
	}
	before := heap()
	if err := w.applyAll(fleet, atOnce); err != nil {
		return err
	}
	inventories := heap()
	for _, t := range fleet {
		t.inventory = nil
	}
	was, err := w.prints(fleet)
	if err != nil {
		return err
	}
	measure.Figure(fmt.Sprintf("kubernetes_memory_%d_objects", targets*perTarget), float64(heap()-before)/(1<<20), "MB", "")
	measure.Figure(fmt.Sprintf("kubernetes_memory_%d_objects_with_inventories", targets*perTarget), float64(inventories-before)/(1<<20), "MB", "")
	began := time.Now()
	if err := w.check(fleet, was); err != nil {
		return err
	}
	measure.Figure(fmt.Sprintf("kubernetes_%d_nochange_trueup_check", targets*perTarget), measure.Milliseconds(time.Since(began)), "ms", "")
	return nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
