package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// parallel is how many requests of one target are under way at a time.
const parallel = 12

func (o *object) key() plan.Key { return plan.Key{Address: o.ref.Address()} }

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
	for _, o := range objects {
		if o.live != nil {
			it := item{Key: o.key(), Kind: kindName(o.ref), Class: classOf(o.ref), Value: side{object: o, live: true}}
			if it.Hash, err = s.base(o); err != nil {
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
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *object) int { return a.ref.Compare(b.ref) })
	return out, nil
}

func (s *set) inScope(ref manifest.Ref) bool {
	sc, ok := s.in.Scope.(*Scope)
	return !ok || sc.Contains(plan.Key{Address: ref.Address()}, kindName(ref))
}

// shelf is a kind in a namespace, which is read by one list.
type shelf struct {
	mapping   kube.Mapping
	namespace string
	objects   []*object
}

// read fills in what is there, and counts what is there of the same kinds and
// is not the target's.
func (s *set) read(ctx context.Context, objects []*object) (unmanaged int, err error) {
	places, err := s.places(ctx, objects)
	if err != nil {
		return 0, err
	}
	others := make([]int, len(places))
	err = each(ctx, places, func(ctx context.Context, i int) (err error) {
		others[i], err = s.readPlace(ctx, places[i])
		return err
	})
	for _, n := range others {
		unmanaged += n
	}
	return unmanaged, err
}

func (s *set) places(ctx context.Context, objects []*object) ([]*shelf, error) {
	type key struct {
		resource  string
		namespace string
	}
	by := map[key]*shelf{}
	var out []*shelf
	for _, o := range objects {
		if o.desired == nil {
			m, err := s.cluster.Preferred(ctx, o.ref.GroupKind())
			if errors.Is(err, kube.ErrNoKind) {
				continue // no definition, no objects
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", o.ref, err)
			}
			o.mapping = m
		}
		if o.mapping.Resource.Resource == "" {
			continue
		}
		k := key{o.mapping.Resource.String(), o.ref.Namespace}
		if by[k] == nil {
			by[k] = &shelf{mapping: o.mapping, namespace: o.ref.Namespace}
			out = append(out, by[k])
		}
		by[k].objects = append(by[k].objects, o)
	}
	return out, nil
}

func (s *set) readPlace(ctx context.Context, p *shelf) (others int, err error) {
	items, _, err := s.cluster.List(ctx, p.mapping, p.namespace, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("in namespace %q: %w", p.namespace, err)
	}
	by := make(map[string]*object, len(p.objects))
	for _, o := range p.objects {
		by[o.ref.Name] = o
		o.live = nil
	}
	for i := range items {
		if o := by[items[i].GetName()]; o != nil {
			o.live = &items[i]
		} else {
			others++
		}
	}
	return others, nil
}

// tryAll makes the dry runs.
func (s *set) tryAll(ctx context.Context) error {
	return each(ctx, s.order, func(ctx context.Context, i int) error {
		o := s.order[i]
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
func (s *set) base(o *object) (string, error) {
	owned, err := diff.Owned(o.live, manager)
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.ref, err)
	}
	var asked any
	if o.desired != nil {
		asked = diff.Overlap(o.live.Object, o.send.Object)
	}
	return s.hash("base", []any{o.live.GetUID(), asked, diff.Project(o.live.Object, owned)}), nil
}
