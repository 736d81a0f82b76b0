package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// batch is one step of a rollout and what came of it.
type batch struct {
	n      int
	scopes []plan.Scope
	failed map[plan.Scope]string
	// stale scopes had moved since the plan; nothing was written there.
	stale map[plan.Scope]string
}

// left lists the scopes in which nothing went wrong so far.
func (b *batch) left() []plan.Scope {
	return slices.DeleteFunc(slices.Clone(b.scopes), func(s plan.Scope) bool { return b.failed[s] != "" || b.stale[s] != "" })
}

func (b *batch) fail(s plan.Scope, format string, args ...any) {
	if b.failed[s] == "" {
		b.failed[s] = fmt.Sprintf(format, args...)
	}
}

// batch takes one batch from drain to health. The error is for what ends the
// run; what is wrong with a scope stands in the batch.
func (r *rollout) batch(ctx context.Context, n int) (*batch, error) {
	b := &batch{n: n, scopes: r.batches[n], failed: map[plan.Scope]string{}, stale: map[plan.Scope]string{}}
	if err := r.begin(ctx, b); err != nil {
		return nil, err
	}
	if err := r.drain(ctx, b); err != nil {
		return nil, err
	}
	if err := r.write(ctx, b); err != nil {
		return nil, err
	}
	if err := r.e.fail("rollout-verify"); err != nil {
		return nil, err
	}
	if err := r.compare(ctx, b); err != nil {
		return nil, err
	}
	r.run.Phase = "health"
	for s, why := range r.unhealthy(ctx, b.left()) {
		b.fail(s, "%s", why)
	}
	return b, context.Cause(ctx)
}

// begin writes down, durably, that the batch is under way.
func (r *rollout) begin(ctx context.Context, b *batch) error {
	r.prog.Batch = b.n + 1
	r.run.Rollout = new(store.Progress)
	*r.run.Rollout = r.prog
	r.log.Logf("batch %d/%d: %s (%d of %d hosts done)", b.n+1, len(r.batches), scopeNames(b.scopes), r.prog.Done, r.prog.Scopes)
	r.run.Phase = "apply"
	r.tell(r.prog.String())
	if err := r.e.fail("batch"); err != nil {
		return err
	}
	if err := r.record(ctx); err != nil {
		return err
	}
	put := make([]store.ScopeState, len(b.scopes))
	for i, s := range b.scopes {
		st := r.states[s]
		st.Scope, st.Phase, st.Message, st.NextDue, st.Bad, st.RollBack = s, store.ScopeRolling, "", time.Time{}, "", false
		put[i], _ = r.dated(r.states[s], st)
	}
	return r.putScopes(ctx, put, nil)
}

// drain takes out of service what is about to be changed. A scope that can't
// be drained is not changed.
func (r *rollout) drain(ctx context.Context, b *batch) error {
	if r.conf.Before == "" {
		return nil
	}
	writes := among(writing(part(r.plan, among(b.scopes))))
	var todo []plan.Scope
	var put []store.ScopeState
	for _, s := range b.scopes {
		if !writes(s) {
			continue
		}
		todo = append(todo, s)
		st := r.states[s]
		st.Drained = true
		put = append(put, st)
	}
	if err := r.putScopes(ctx, put, nil); err != nil {
		return err
	}
	for s, err := range r.hook(ctx, r.conf.Before, todo) {
		b.fail(s, "%s: %v", r.conf.Before, err)
	}
	return context.Cause(ctx)
}

// write applies the batch's part of the plan.
func (r *rollout) write(ctx context.Context, b *batch) error {
	left := b.left()
	results, err := r.apply(ctx, left)
	if ctx.Err() != nil || r.jr.refused() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	touched := map[plan.Scope]bool{}
	seen := map[plan.Key]bool{}
	for _, res := range results {
		seen[res.Key] = true
		touched[res.Scope] = touched[res.Scope] || res.Outcome != plan.Skipped
	}
	isStale := errors.Is(err, driver.ErrStale)
	for _, res := range results {
		switch {
		case res.Outcome == plan.Applied:
		case res.Outcome == plan.Skipped && isStale && !touched[res.Scope]:
			b.stale[res.Scope] = res.Error
		default:
			b.fail(res.Scope, "%s %s: %s", res.Action, res.Address, res.Error)
		}
	}
	sub := part(r.plan, among(left))
	for i := range sub.Changes {
		if c := &sub.Changes[i]; c.Action != plan.None && !seen[c.Key] {
			b.fail(c.Scope, "%s %s was not carried out: %v", c.Action, c.Address, err)
		}
	}
	return nil
}

// apply carries out the part of the plan that lies in some scopes, and gives
// its results. The journal is the rollout's own, so that its lines count all.
func (r *rollout) apply(ctx context.Context, scopes []plan.Scope) ([]plan.Result, error) {
	sub := part(r.cleared(), among(scopes))
	if sub.Empty() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.limits().ApplyTimeout)
	defer cancel()
	before := len(r.jr.all())
	in := r.input
	in.Only = scopes
	err := r.session.Apply(ctx, in, sub, r.jr)
	if err != nil {
		r.log.Logf("apply: %v", err)
	}
	return r.jr.all()[before:], err
}

// compare reads the batch back. What did not stick is a failure.
func (r *rollout) compare(ctx context.Context, b *batch) error {
	left := b.left()
	if len(left) == 0 {
		return nil
	}
	after, err := r.readBack(ctx, left)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		for _, s := range left {
			b.fail(s, "can't be read back: %v", err)
		}
		return nil
	}
	read := map[plan.Scope]bool{}
	for _, sp := range after.Scopes {
		read[sp.Scope] = true
		if sp.Unknown != "" {
			b.fail(sp.Scope, "can't be read back: %s", sp.Unknown)
		}
	}
	for _, s := range left {
		if !read[s] {
			b.fail(s, "can't be read back")
		}
	}
	for i := range after.Changes {
		if c := &after.Changes[i]; c.Action.Writes() {
			b.fail(c.Scope, "%s still needs %s after it was applied", c.Address, c.Action)
		}
	}
	return nil
}

// hook runs a command of the operator's for each scope, some at once, and
// gives what went wrong.
func (j *job) hook(ctx context.Context, command string, scopes []plan.Scope) map[plan.Scope]error {
	bad := map[plan.Scope]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, hooksAtOnce)
	for _, s := range scopes {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := context.Cause(ctx)
			if err == nil {
				j.log.Logf("%s: %s", s, command)
				err = j.checker(s).Command(ctx, command, j.log.Logf)
			}
			if err != nil {
				j.log.Logf("%s: %s: %v", s, command, err)
				mu.Lock()
				bad[s] = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return bad
}

// hooksAtOnce is how many commands run at the same time.
const hooksAtOnce = 16
