package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/plan"
)

// shelf is a kind in a namespace, and the objects there that matter.
type shelf struct {
	shelfKey
	mapping kube.Mapping
	objects []*object
}

type shelfKey struct{ resource, namespace string }

// shelves remembers how many objects there were when they were last counted,
// for that decides between one list and a request for each object.
type shelves struct {
	mu    sync.Mutex
	count map[shelfKey]int
}

func (s *shelves) get(k shelfKey) (n int, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known = s.count[k]
	return n, known
}

func (s *shelves) set(k shelfKey, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = map[shelfKey]int{}
	}
	s.count[k] = n
}

// listed is how many objects a list may have for each one that is looked for:
// one more costs the server and us about an eighth of a request of its own.
const listed = 8

// few is how many objects are listed in any case.
const few = 32

// single is up to how many objects are asked for one by one. A list that comes
// right after a write waits until the server's watch cache has heard that it is
// up to date, about 100 ms; a get does not.
const single = 10

// read fills in what is there, and counts what is there of the same kinds and
// is not the target's.
func (s *set) read(ctx context.Context, objects []*object) (unmanaged int, err error) {
	all, err := s.shelve(ctx, objects)
	if err != nil {
		return 0, err
	}
	others := make([]int, len(all))
	err = each(ctx, all, func(ctx context.Context, i int) (err error) {
		others[i], err = s.readShelf(ctx, all[i])
		return err
	})
	for _, n := range others {
		unmanaged += n
	}
	return unmanaged, err
}

// shelve sorts objects by where they are read. In a plan, kinds and namespaces
// in which nothing is owned yet are not read: the dry runs tell as well whether
// an object is there.
func (s *set) shelve(ctx context.Context, objects []*object) ([]*shelf, error) {
	by := map[shelfKey]*shelf{}
	owned := map[shelfKey]bool{}
	var all []*shelf
	for _, o := range objects {
		if err := s.find(ctx, o); err != nil {
			return nil, err
		}
		if o.mapping.Resource.Resource == "" {
			continue
		}
		if s.absent(o) {
			continue
		}
		k := shelfKey{o.mapping.Resource.GroupResource().String(), o.ref.Namespace}
		if by[k] == nil {
			by[k] = &shelf{shelfKey: k, mapping: o.mapping}
			all = append(all, by[k])
		}
		by[k].objects = append(by[k].objects, o)
		if _, ours := s.in.Inventory[o.key()]; ours || s.planned != nil {
			owned[k] = true
		}
	}
	out := all[:0]
	for _, sh := range all {
		if owned[sh.shelfKey] {
			out = append(out, sh)
			continue
		}
		for _, o := range sh.objects {
			o.unread = true
		}
	}
	return out, nil
}

// absent tells that the plan rests on an object not being there. An apply does
// not look again: the write itself tells (see foreign).
func (s *set) absent(o *object) bool {
	if s.run == nil || o.desired == nil {
		return false
	}
	base, planned := s.run.base[o.ref.Address()]
	return planned && base == ""
}

// find finds out how an object that is owned is read.
func (s *set) find(ctx context.Context, o *object) error {
	if o.mapping.Resource.Resource != "" || o.desired != nil {
		return nil
	}
	m, err := s.cluster.Preferred(ctx, o.ref.GroupKind())
	if errors.Is(err, kube.ErrNoKind) {
		return nil // no definition, no objects
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.ref, err)
	}
	o.mapping = m
	return nil
}

// readShelf reads the objects of one kind in one namespace: all of them, where
// those that matter are a good part.
func (s *set) readShelf(ctx context.Context, sh *shelf) (others int, err error) {
	n, known := s.shelves.get(sh.shelfKey)
	if known && (len(sh.objects) <= single || n > few && n > listed*len(sh.objects)) {
		return max(0, n-len(sh.objects)), s.getAll(ctx, sh)
	}
	items, more, err := s.cluster.ListSome(ctx, sh.mapping, sh.namespace, max(few, listed*len(sh.objects)))
	if err != nil {
		return 0, fmt.Errorf("in namespace %q: %w", sh.namespace, err)
	}
	total := len(items) + more
	s.shelves.set(sh.shelfKey, total)
	by := make(map[string]int, len(items))
	for i := range items {
		by[items[i].GetName()] = i
	}
	rest := &shelf{shelfKey: sh.shelfKey, mapping: sh.mapping}
	found := 0
	for _, o := range sh.objects {
		o.live = nil
		if i, there := by[o.ref.Name]; there {
			o.live = &items[i]
			found++
		} else if more > 0 {
			rest.objects = append(rest.objects, o)
		}
	}
	return total - found, s.getAll(ctx, rest)
}

// getAll asks for each object.
func (s *set) getAll(ctx context.Context, sh *shelf) error {
	return each(ctx, sh.objects, func(ctx context.Context, i int) (err error) {
		o := sh.objects[i]
		o.live, err = s.get(ctx, o)
		return err
	})
}

func (o *object) key() plan.Key { return plan.Key{Address: o.ref.Address()} }
