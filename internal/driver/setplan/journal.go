package setplan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// settle reports what is done without a write: adopt, forget, and changes that
// are held by a conflict. It gives the steps that remain.
func (a *applier[T]) settle(ctx context.Context, steps []Step[T]) ([]Step[T], error) {
	var rest []Step[T]
	var ready []plan.Result
	_, adopts := a.set.(Adopter[T])
	for _, st := range steps {
		switch {
		case st.Change.Conflict != "":
			r := a.result(st, ErrSkipped)
			r.Error = "held: " + st.Change.Conflict
			ready = append(ready, r)
		case !st.Change.Action.Writes() && !(adopts && st.Change.Action == plan.Adopt):
			ready = append(ready, a.result(st, nil))
		default:
			rest = append(rest, st)
		}
	}
	return rest, a.done(ctx, ready)
}

// batch journals and sends one batch.
func (a *applier[T]) batch(ctx context.Context, batch []Step[T]) error {
	if a.stopped.Load() {
		return errors.New("the journal refused in another scope")
	}
	keys := make([]plan.Key, 0, len(batch))
	for i := range batch {
		c := &batch[i].Change
		keys = append(keys, c.Key)
		if c.From != "" {
			keys = append(keys, plan.Key{Scope: c.Scope, Address: c.From})
		}
	}
	if err := a.report.Pending(ctx, keys); err != nil {
		a.stopped.Store(true)
		return fmt.Errorf("journal before the write: %w", err)
	}
	errs := a.send(ctx, batch)
	results := make([]plan.Result, len(batch))
	// What ends the scope: it was stale, or the run was cancelled. A cancelled
	// write is no quiet end, not even of the last batch.
	var ended error
	for i := range batch {
		results[i] = a.result(batch[i], errs[i])
		if errs[i] != nil && ctx.Err() != nil {
			ended = ctx.Err()
		}
		if errors.Is(errs[i], driver.ErrStale) {
			ended = fmt.Errorf("%s: %w", batch[i].Change.Key, errs[i])
		}
	}
	if err := a.done(ctx, results); err != nil {
		return err
	}
	return ended
}

// done records outcomes, also when the run was cancelled meanwhile.
func (a *applier[T]) done(ctx context.Context, results []plan.Result) error {
	if len(results) == 0 {
		return nil
	}
	if err := a.report.Done(context.WithoutCancel(ctx), results); err != nil {
		a.stopped.Store(true)
		return fmt.Errorf("journal after the write: %w", err)
	}
	return nil
}

// skip records that steps were not carried out, and why.
func (a *applier[T]) skip(ctx context.Context, steps []Step[T], why error) error {
	if a.stopped.Load() {
		return nil
	}
	results := make([]plan.Result, len(steps))
	for i := range steps {
		results[i] = a.result(steps[i], fmt.Errorf("%w: %w", ErrSkipped, why))
	}
	return a.done(ctx, results)
}

// bare makes steps of changes that are not going to be carried out.
func (a *applier[T]) bare(changes []*plan.Change) []Step[T] {
	steps := make([]Step[T], len(changes))
	for i, c := range changes {
		steps[i].Change = *c
	}
	return steps
}

func (a *applier[T]) send(ctx context.Context, batch []Step[T]) []error {
	b, ok := a.set.(Batcher[T])
	if !ok {
		errs := make([]error, len(batch))
		for i := range batch {
			errs[i] = a.one(ctx, batch[i])
		}
		return errs
	}
	errs := b.Write(ctx, batch)
	if len(errs) == len(batch) {
		return errs
	}
	n := len(errs)
	errs = make([]error, len(batch))
	for i := range errs {
		errs[i] = fmt.Errorf("%w: %d results for %d writes", ErrUnknown, n, len(batch))
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
		return a.set.Remove(ctx, old)
	case plan.Adopt:
		if ad, ok := a.set.(Adopter[T]); ok {
			return ad.Adopt(ctx, *st.New, old)
		}
		return nil
	case plan.Rename:
		if r, ok := a.set.(Renamer[T]); ok {
			return r.Rename(ctx, *st.New, old)
		}
		if err := a.set.Put(ctx, *st.New, Item[T]{}); err != nil {
			return err
		}
		if err := a.set.Remove(ctx, old); err != nil {
			// Half a rename: both names stay pending, the next run reads them.
			return fmt.Errorf("%w: %s is written, but %s is still there: %w", ErrUnknown, st.New.Key, old.Key, err)
		}
		return nil
	}
	return a.set.Put(ctx, *st.New, old)
}

func (a *applier[T]) result(st Step[T], err error) plan.Result {
	c := &st.Change
	r := plan.Result{Key: c.Key, Kind: c.Kind, Action: c.Action, From: c.From, Source: c.Source, Outcome: outcome(err)}
	if err != nil {
		r.Error = err.Error()
	}
	if st.New != nil {
		r.Hash, r.Class, r.Weight = st.New.Hash, st.New.Class, st.New.Weight
		if err == nil {
			r.LastApplied = a.lastApplied(*st.New)
		}
	} else if st.Old != nil {
		r.Class, r.Weight = st.Old.Class, st.Old.Weight
	}
	return r
}

func outcome(err error) plan.Outcome {
	switch {
	case err == nil:
		return plan.Applied
	case errors.Is(err, ErrSkipped):
		return plan.Skipped
	case errors.Is(err, ErrUnknown), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return plan.Unknown
	}
	return plan.Failed
}

// lastApplied is the masked document for the inventory; an object that can't
// be shown is remembered by its hash alone.
func (a *applier[T]) lastApplied(item Item[T]) json.RawMessage {
	doc, sensitive, err := keep(a.set, item)
	if err != nil {
		return nil
	}
	doc, err = masked(doc, sensitive)
	if err != nil {
		return nil
	}
	return doc
}

func keep[T any](set Set[T], item Item[T]) (json.RawMessage, []string, error) {
	if k, ok := set.(Keeper[T]); ok {
		return k.Keep(item)
	}
	return show(set, item)
}

func masked(doc json.RawMessage, sensitive []string) (json.RawMessage, error) {
	p := plan.Plan{Changes: []plan.Change{{After: doc, Sensitive: sensitive}}}
	err := p.Mask(nil)
	return p.Changes[0].After, err
}

// asPlanned makes sure that what would be written is what the plan shows, and
// so what was approved. Fields that are masked, or known only now, don't count.
func (a *applier[T]) asPlanned(c *plan.Change, item *Item[T]) error {
	if item == nil {
		return fmt.Errorf("%s is planned but no longer desired: %w", c.Key, driver.ErrStale)
	}
	if cf, ok := a.set.(Confirmer[T]); ok {
		return cf.Confirm(*c, *item)
	}
	if len(c.Unknown) > 0 || c.Simulated || len(c.After) == 0 {
		return nil
	}
	doc, sensitive, err := show(a.set, *item)
	if err != nil {
		return err
	}
	if bytes.Equal(doc, c.After) {
		return nil
	}
	secret := append(sensitive, c.Sensitive...)
	was, err := plan.Redact(c.After, secret)
	if err != nil {
		return err
	}
	now, err := plan.Redact(doc, secret)
	if err != nil {
		return err
	}
	if !bytes.Equal(was, now) {
		return fmt.Errorf("%s is desired differently now than it was planned: %w", c.Key, driver.ErrStale)
	}
	return nil
}
