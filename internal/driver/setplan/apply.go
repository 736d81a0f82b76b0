package setplan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

var (
	// ErrUnknown marks a write whose outcome can't be told: the connection was
	// lost between request and answer, or only half of it happened.
	ErrUnknown = errors.New("the outcome is not known")
	// ErrSkipped marks a step of a batch that was not begun.
	ErrSkipped = errors.New("it was not begun")
)

// Apply carries out a plan made by Plan, maybe by another process. It reads
// desired again, checks the base of every scope, and journals each batch
// before and after it is written. Stale scopes are left alone and lead to
// driver.ErrStale after the others are done. Every change of the plan gets a
// result, unless the journal itself refused.
func Apply[T any](ctx context.Context, in driver.Input, p *plan.Plan, set Set[T], report driver.Report) error {
	if err := fits(in, p); err != nil {
		return err
	}
	if len(p.Changes) == 0 {
		return nil
	}
	desired, err := desiredFor(ctx, in, set)
	if err != nil {
		return err
	}
	scopes, err := set.Observed(ctx, in, touched(p))
	if err != nil {
		return err
	}
	a := &applier[T]{set: set, report: report, want: index(desired), read: map[plan.Scope]*Scope[T]{}}
	for i := range scopes {
		a.read[scopes[i].Name] = &scopes[i]
	}
	return a.all(ctx, jobs(p))
}

// fits refuses a plan that was made for something else than the input.
func fits(in driver.Input, p *plan.Plan) error {
	if p.Target != in.Target {
		return driver.Permanent(fmt.Errorf("the plan is for target %q, not %q", p.Target, in.Target))
	}
	if p.Mode != in.Mode {
		return driver.Permanent(fmt.Errorf("the plan was made to %s, not to %s", p.Mode, in.Mode))
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if in.Mode == plan.AddOnly && c.Conflict == "" && (c.Action == plan.Delete || c.Action == plan.Replace || c.Action == plan.Rename) {
			return driver.Permanent(fmt.Errorf("%s: a run that only adds may not %s", c.Key, c.Action))
		}
	}
	return nil
}

// job is the part of a plan that lies in one scope.
type job struct {
	base    *plan.ScopePlan // nil when the plan does not list the scope
	scope   plan.Scope
	changes []*plan.Change
}

func jobs(p *plan.Plan) []*job {
	by := map[plan.Scope]*job{}
	for i := range p.Changes {
		c := &p.Changes[i]
		if by[c.Scope] == nil {
			by[c.Scope] = &job{scope: c.Scope}
		}
		by[c.Scope].changes = append(by[c.Scope].changes, c)
	}
	for i := range p.Scopes {
		if j := by[p.Scopes[i].Scope]; j != nil {
			j.base = &p.Scopes[i]
		}
	}
	out := make([]*job, 0, len(by))
	for _, j := range by {
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b *job) int { return cmp.Compare(a.scope, b.scope) })
	return out
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
	set     Set[T]
	report  driver.Report
	want    map[plan.Key]*Item[T]
	read    map[plan.Scope]*Scope[T]
	stopped atomic.Bool // the journal refused: nothing more may be written
}

// all goes over the scopes. One that fails does not stop the others.
func (a *applier[T]) all(ctx context.Context, jobs []*job) error {
	errs := make([]error, len(jobs))
	next := make(chan int, len(jobs))
	for i := range jobs {
		next <- i
	}
	close(next)
	workers := 1
	if c, ok := a.set.(Concurrent); ok {
		workers = min(max(c.Concurrency(), 1), len(jobs))
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if a.stopped.Load() {
					return
				}
				errs[i] = a.whole(ctx, jobs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// whole goes over one scope.
func (a *applier[T]) whole(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return errors.Join(err, a.skip(ctx, a.bare(j.changes), err))
	}
	return a.scope(ctx, j)
}

func (a *applier[T]) scope(ctx context.Context, j *job) error {
	have, err := a.check(j)
	var steps []Step[T]
	if err == nil {
		steps, err = a.steps(j, have)
	}
	if err != nil {
		return errors.Join(err, a.skip(ctx, a.bare(j.changes), err))
	}
	steps, err = a.settle(ctx, steps)
	if err != nil {
		return err
	}
	return a.write(ctx, steps)
}

// check makes sure that the scope still is what the plan was made for.
func (a *applier[T]) check(j *job) (map[plan.Address]*Item[T], error) {
	s := a.read[j.scope]
	switch {
	case j.base == nil:
		return nil, driver.Permanent(fmt.Errorf("the plan has changes in scope %q but no base for it", j.scope))
	case j.base.Unknown != "":
		return nil, driver.Permanent(fmt.Errorf("the plan has changes in scope %q, which it could not read", j.scope))
	case s == nil:
		return nil, fmt.Errorf("the environment did not report scope %q: %w", j.scope, driver.ErrStale)
	case s.Err != nil:
		return nil, fmt.Errorf("scope %q: %w", j.scope, s.Err)
	case j.base.Realm != s.Realm:
		return nil, fmt.Errorf("scope %q is now %s, it was planned for %s: %w", j.scope, s.Realm, j.base.Realm, driver.ErrStale)
	}
	have, err := observed(s)
	if err != nil {
		return nil, fmt.Errorf("scope %q: %w", j.scope, err)
	}
	for addr, hash := range j.base.Base {
		if hashOf(have[addr]) != hash {
			return nil, fmt.Errorf("%s: %w", plan.Key{Scope: j.scope, Address: addr}, driver.ErrStale)
		}
	}
	return have, nil
}

// steps pairs changes with items.
func (a *applier[T]) steps(j *job, have map[plan.Address]*Item[T]) ([]Step[T], error) {
	steps := make([]Step[T], 0, len(j.changes))
	for _, c := range j.changes {
		if c.Action == plan.None {
			continue
		}
		st := Step[T]{Change: *c, New: a.want[c.Key], Old: have[c.Address]}
		if _, ok := j.base.Base[c.Address]; !ok {
			return nil, driver.Permanent(fmt.Errorf("%s: the plan has no base for it", c.Key))
		}
		if c.From != "" {
			if _, ok := j.base.Base[c.From]; !ok {
				return nil, driver.Permanent(fmt.Errorf("%s: the plan has no base for its old name %s", c.Key, c.From))
			}
			st.Old = have[c.From]
		}
		if c.Action == plan.Delete || c.Action == plan.Forget {
			if st.New != nil {
				return nil, fmt.Errorf("%s is planned to go but desired now: %w", c.Key, driver.ErrStale)
			}
		} else if err := a.asPlanned(c, st.New); err != nil {
			return nil, err
		}
		steps = append(steps, st)
	}
	return steps, nil
}

// write sends the steps batch by batch.
func (a *applier[T]) write(ctx context.Context, steps []Step[T]) error {
	batches, err := a.batches(steps)
	if err != nil {
		return err
	}
	for i, batch := range batches {
		err := ctx.Err()
		if err == nil {
			err = a.batch(ctx, batch)
			i++
		}
		if err != nil {
			return errors.Join(err, a.skip(ctx, slices.Concat(batches[i:]...), err))
		}
	}
	return nil
}

// batches asks the driver for its cuts, and makes sure that nothing is lost.
func (a *applier[T]) batches(steps []Step[T]) ([][]Step[T], error) {
	b, ok := a.set.(Batcher[T])
	if !ok {
		return slices.Collect(slices.Chunk(steps, 1)), nil
	}
	batches := b.Batches(steps)
	seen := make(map[plan.Key]bool, len(steps))
	n := 0
	for _, batch := range batches {
		n += len(batch)
		for i := range batch {
			seen[batch[i].Change.Key] = true
		}
	}
	if n != len(steps) || len(seen) != len(steps) {
		return nil, driver.Permanent(fmt.Errorf("%d steps were cut into batches with %d steps for %d objects", len(steps), n, len(seen)))
	}
	return batches, nil
}
