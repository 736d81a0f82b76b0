package kubernetes

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// parallel is how many requests of one target are under way at a time.
const parallel = 12

// Observed reads what is there. A part that can't be read makes all of it
// unknown.
func (s *set) Observed(ctx context.Context, in driver.Input, keys []plan.Key) ([]scope, error) {
	realm, err := s.realm(ctx)
	if err != nil {
		return nil, err
	}
	sc := scope{Realm: realm}
	objects, err := s.concerned(in, keys)
	if err == nil {
		sc.Unmanaged, err = s.read(ctx, objects)
	}
	if err == nil && s.planned == nil {
		err = s.tryAll(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []scope{{Realm: realm, Err: err}}, nil
	}
	s.seen = make(map[manifest.Ref]*object, len(objects))
	for _, o := range objects {
		s.seen[o.ref] = o
		if o.live != nil {
			it := item{Key: o.key(), Kind: kindName(o.ref), Class: classOf(o.ref), Value: side{object: o, live: true}}
			if it.Hash, err = s.base(o, o.live); err != nil {
				return nil, err
			}
			sc.Items = append(sc.Items, it)
		}
	}
	return []scope{sc}, nil
}

// concerned gives the objects that a plan is about, those that are desired and
// those that are owned; or those that an apply touches.
func (s *set) concerned(in driver.Input, keys []plan.Key) ([]*object, error) {
	out := slices.Clone(s.order)
	if keys == nil {
		for k := range in.Inventory {
			keys = append(keys, k)
		}
	} else {
		out = nil
	}
	seen := map[manifest.Ref]bool{}
	for _, o := range out {
		seen[o.ref] = true
	}
	for _, k := range keys {
		ref, err := manifest.ParseAddress(k.Address)
		if err != nil {
			return nil, driver.Permanent(err)
		}
		if seen[ref] || !s.inScope(ref) {
			continue
		}
		seen[ref] = true
		o := s.want[ref]
		if o == nil {
			o = &object{ref: ref}
		}
		if o.marks.Hook != nil {
			continue // what an earlier run left is no part of the state
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *object) int { return a.ref.Compare(b.ref) })
	return out, nil
}

func (s *set) inScope(ref manifest.Ref) bool {
	sc, ok := s.in.Scope.(*Scope)
	return !ok || sc.Contains(plan.Key{Address: ref.Address()}, kindName(ref))
}

// tryAll makes the dry runs.
func (s *set) tryAll(ctx context.Context) error {
	err := each(ctx, s.order, func(ctx context.Context, i int) error {
		o := s.order[i]
		if o.leaves() {
			return nil
		}
		if s.memo.equal(s, o) {
			o.trial = trial{equal: true, owned: true}
			return nil
		}
		err := s.try(ctx, o)
		if err == nil && o.trial.equal && o.trial.owned {
			s.memo.keep(s, o, o.live)
		}
		return err
	})
	for _, o := range s.order {
		for _, w := range o.trial.warnings {
			s.warnings.Warnf(o.desired.Source, "", "", "%s: the API server warns: %s", o.ref, o.scrub(w))
		}
	}
	return err
}

// each does something with all elements of a list, some at a time, and gives
// all errors. The first ends what has not begun.
func each[T any](ctx context.Context, list []T, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for range min(parallel, len(list)) {
		wg.Go(func() {
			for i := range next {
				if errs[i] = do(ctx, i); errs[i] != nil {
					cancel()
				}
			}
		})
	}
loop:
	for i := range list {
		select {
		case next <- i:
		case <-ctx.Done():
			break loop
		}
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// base stands for what the plan rests on: which object it is, and its fields
// that are desired or ours. Status and what others own may move.
func (s *set) base(o *object, live *unstructured.Unstructured) (string, error) {
	owned, err := diff.Owned(live, s.manager())
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.ref, err)
	}
	var asked any
	if o.desired != nil {
		given, err := s.given(o, live)
		if err != nil {
			given = o.send // the trial says so
		}
		asked = diff.Overlap(live.Object, withData(given).Object)
	}
	return s.hash("base", []any{live.GetUID(), asked, diff.Project(live.Object, owned)}), nil
}
