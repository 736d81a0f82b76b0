package setplan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// ErrUnknown marks a write whose outcome can't be told: the connection was
// lost between request and answer.
var ErrUnknown = errors.New("the outcome is not known")

// Apply carries out a plan made by Plan, maybe by another process. It reads
// desired again, checks the base of every scope, and journals each batch
// before and after it is written. Stale scopes are left alone and lead to
// driver.ErrStale after the others are done.
func Apply[T any](ctx context.Context, in driver.Input, p *plan.Plan, set Set[T], report driver.Report) error {
	desired, err := desiredFor(ctx, in, set)
	if err != nil {
		return err
	}
	scopes, err := set.Observed(ctx, in, touched(p))
	if err != nil {
		return err
	}
	a := &applier[T]{d: &differ[T]{in: in, set: set}, report: report, want: index(desired)}
	var errs []error
	for i := range scopes {
		if err := a.scope(ctx, p, &scopes[i]); err != nil {
			errs = append(errs, err)
			if a.stopped || ctx.Err() != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

func touched(p *plan.Plan) []plan.Key {
	keys := make([]plan.Key, 0, len(p.Changes))
	for i := range p.Changes {
		c := &p.Changes[i]
		keys = append(keys, c.Key)
		if c.From != "" {
			keys = append(keys, plan.Key{Scope: c.Scope, Address: c.From})
		}
	}
	return keys
}

func index[T any](items []Item[T]) map[plan.Key]*Item[T] {
	m := make(map[plan.Key]*Item[T], len(items))
	for i := range items {
		m[items[i].Key] = &items[i]
	}
	return m
}

type applier[T any] struct {
	d       *differ[T]
	report  driver.Report
	want    map[plan.Key]*Item[T]
	stopped bool // the journal refused: nothing more may be written
}

func (a *applier[T]) scope(ctx context.Context, p *plan.Plan, s *Scope[T]) error {
	base, ok := baseOf(p, s.Name)
	if !ok {
		return nil
	}
	if s.Err != nil {
		return fmt.Errorf("scope %q: %w", s.Name, s.Err)
	}
	have := index(s.Items)
	for addr, hash := range base.Base {
		if hashOf(have[plan.Key{Scope: s.Name, Address: addr}]) != hash {
			return fmt.Errorf("%s: %w", plan.Key{Scope: s.Name, Address: addr}, driver.ErrStale)
		}
	}
	if base.Realm != s.Realm {
		return fmt.Errorf("scope %q is now %s, it was planned for %s: %w", s.Name, s.Realm, base.Realm, driver.ErrStale)
	}
	steps, results, err := a.steps(p, s.Name, have)
	if err != nil {
		return err
	}
	if len(results) > 0 {
		if err := a.report.Done(ctx, results); err != nil {
			a.stopped = true
			return err
		}
	}
	return a.write(ctx, steps)
}

func baseOf(p *plan.Plan, name plan.Scope) (plan.ScopePlan, bool) {
	for _, s := range p.Scopes {
		if s.Scope == name {
			return s, s.Unknown == ""
		}
	}
	return plan.ScopePlan{}, false
}

// steps pairs changes with items. Adopt and forget write nothing: their
// results are ready at once.
func (a *applier[T]) steps(p *plan.Plan, scope plan.Scope, have map[plan.Key]*Item[T]) ([]Step[T], []plan.Result, error) {
	var steps []Step[T]
	var ready []plan.Result
	for _, c := range p.Changes {
		if c.Scope != scope || c.Action == plan.None {
			continue
		}
		st := Step[T]{Change: c, New: a.want[c.Key], Old: have[c.Key]}
		if c.From != "" {
			st.Old = have[plan.Key{Scope: scope, Address: c.From}]
		}
		if c.Action == plan.Delete || c.Action == plan.Forget {
			st.New = nil
		} else if st.New == nil {
			return nil, nil, fmt.Errorf("%s is planned but no longer desired: %w", c.Key, driver.ErrStale)
		}
		if !c.Action.Writes() {
			ready = append(ready, a.result(st, nil))
			continue
		}
		steps = append(steps, st)
	}
	return steps, ready, nil
}

func (a *applier[T]) write(ctx context.Context, steps []Step[T]) error {
	batches := make([][]Step[T], 0, len(steps))
	if b, ok := a.d.set.(Batcher[T]); ok {
		batches = b.Batches(steps)
	} else {
		for i := range steps {
			batches = append(batches, steps[i:i+1])
		}
	}
	for _, batch := range batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.batch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier[T]) batch(ctx context.Context, batch []Step[T]) error {
	keys := make([]plan.Key, 0, len(batch))
	for i := range batch {
		keys = append(keys, batch[i].Change.Key)
		if from := batch[i].Change.From; from != "" {
			keys = append(keys, plan.Key{Scope: batch[i].Change.Scope, Address: from})
		}
	}
	if err := a.report.Pending(ctx, keys); err != nil {
		a.stopped = true
		return fmt.Errorf("journal before the write: %w", err)
	}
	errs := a.send(ctx, batch)
	results := make([]plan.Result, len(batch))
	var stale error
	for i := range batch {
		results[i] = a.result(batch[i], errs[i])
		if errors.Is(errs[i], driver.ErrStale) {
			stale = errs[i]
		}
	}
	// The outcome is recorded even when the run was cancelled meanwhile.
	if err := a.report.Done(context.WithoutCancel(ctx), results); err != nil {
		a.stopped = true
		return fmt.Errorf("journal after the write: %w", err)
	}
	return stale
}

func (a *applier[T]) send(ctx context.Context, batch []Step[T]) []error {
	if b, ok := a.d.set.(Batcher[T]); ok {
		return b.Write(ctx, batch)
	}
	errs := make([]error, len(batch))
	for i := range batch {
		errs[i] = a.one(ctx, batch[i])
	}
	return errs
}

func (a *applier[T]) one(ctx context.Context, st Step[T]) error {
	var old Item[T]
	if st.Old != nil {
		old = *st.Old
	}
	switch st.Change.Action {
	case plan.Delete:
		return a.d.set.Remove(ctx, old)
	case plan.Rename:
		if r, ok := a.d.set.(Renamer[T]); ok {
			return r.Rename(ctx, *st.New, old)
		}
		if err := a.d.set.Put(ctx, *st.New, Item[T]{}); err != nil {
			return err
		}
		return a.d.set.Remove(ctx, old)
	}
	return a.d.set.Put(ctx, *st.New, old)
}

func (a *applier[T]) result(st Step[T], err error) plan.Result {
	c := st.Change
	r := plan.Result{Key: c.Key, Kind: c.Kind, Action: c.Action, From: c.From, Source: c.Source, Outcome: plan.Applied}
	if err != nil {
		r.Outcome, r.Error = plan.Failed, err.Error()
		if errors.Is(err, ErrUnknown) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			r.Outcome = plan.Unknown
		}
	}
	if st.New != nil {
		r.Hash, r.Class, r.Weight = st.New.Hash, st.New.Class, st.New.Weight
		r.LastApplied = a.lastApplied(*st.New)
	} else if st.Old != nil {
		r.Class, r.Weight = st.Old.Class, st.Old.Weight
	}
	return r
}

// lastApplied is the masked document for the inventory; an object that can't
// be shown is remembered by its hash alone.
func (a *applier[T]) lastApplied(item Item[T]) json.RawMessage {
	doc, sensitive, err := a.d.show(item)
	if err != nil {
		return nil
	}
	p := plan.Plan{Changes: []plan.Change{{After: doc, Sensitive: sensitive}}}
	if p.Mask(nil) != nil {
		return nil
	}
	return p.Changes[0].After
}
