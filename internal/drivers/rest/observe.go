package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// parallel is how many objects are read at a time.
const parallel = 8

// Observed lists the types that the target uses. If one list fails nothing is
// known of the environment.
func (s *set) Observed(ctx context.Context, in driver.Input, _ []plan.Key) ([]scope, error) {
	sc := scope{Realm: s.realm()}
	types := map[string]bool{}
	for _, it := range s.order {
		types[it.Kind] = true
	}
	for k := range in.Inventory {
		t, _, _ := strings.Cut(string(k.Address), "/")
		types[t] = true
	}
	for _, t := range sortedKeys(types) {
		items, others, err := s.observe(ctx, t)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return []scope{{Realm: s.realm(), Err: fmt.Errorf("%s: %w", t, err)}}, nil
		}
		sc.Items = append(sc.Items, items...)
		sc.Unmanaged += others
	}
	return []scope{sc}, nil
}

// observe lists one type, and reads more of those objects that concern the
// target. Others counts objects outside the target's scope.
func (s *set) observe(ctx context.Context, typ string) (items []item, others int, err error) {
	t := s.connect.Types[typ]
	if t == nil {
		return nil, 0, driver.Permanent(fmt.Errorf("the target owns objects of this type, and the environment no longer declares it"))
	}
	list, err := s.client.list(ctx, &t.List)
	if err != nil {
		return nil, 0, err
	}
	seen := map[plan.Address]bool{}
	for i, x := range list {
		doc, ok := x.(map[string]any)
		key, named := "", false
		if ok {
			key, named = t.key(doc)
		}
		if !named {
			return nil, 0, fmt.Errorf("the %d. object of the list has no name at %s", i+1, strings.Join(t.Key, " and "))
		}
		addr := plan.Address(typ + "/" + key)
		if seen[addr] {
			return nil, 0, fmt.Errorf("%s is listed twice: the list changed while it was read, or key does not name objects", addr)
		}
		seen[addr] = true
		if sc, ok := s.in.Scope.(*Scope); ok && sc != nil && !sc.Contains(plan.Key{Address: addr}, typ) {
			others++
			continue
		}
		o := &object{typ: typ, doc: doc}
		if o.id, ok = t.id(doc); !ok {
			return nil, 0, fmt.Errorf("%s has no id at %s", addr, cmp.Or(t.ID, t.Key[0]))
		}
		items = append(items, item{Key: plan.Key{Address: addr}, Kind: typ, Class: cmp.Or(t.Class, typ), Value: o})
	}
	if err := s.readMore(ctx, t, items); err != nil {
		return nil, 0, err
	}
	for i := range items {
		s.compare(t, &items[i])
	}
	return items, others, nil
}

func (t *Type) id(doc any) (string, bool) {
	v, _ := lookup(doc, cmp.Or(t.ID, t.Key[0]))
	return word(v)
}

// concerns tells whether the target desires or owns an object.
func (s *set) concerns(k plan.Key) bool {
	_, ours := s.in.Inventory[k]
	return ours || s.want[k.Address] != nil
}

// readMore reads objects one by one, where the list does not tell all.
func (s *set) readMore(ctx context.Context, t *Type, items []item) error {
	if t.Read == nil {
		return nil
	}
	errs := make([]error, len(items))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range items {
		if !s.concerns(items[i].Key) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = s.read(ctx, t, &items[i])
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *set) read(ctx context.Context, t *Type, it *item) error {
	path, err := s.names(it).path(t.Read.Path)
	if err != nil {
		return fmt.Errorf("%s: read: %w", it.Address, err)
	}
	a, err := s.client.call(ctx, cmp.Or(t.Read.Method, http.MethodGet), s.client.base+path, nil, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", it.Address, err)
	}
	doc, ok := a.doc.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: the answer is no object", it.Address)
	}
	it.Value.doc, it.Value.etag = doc, a.header.Get("ETag")
	return nil
}

func (s *set) names(it *item) names {
	_, key, _ := strings.Cut(string(it.Address), "/")
	return names{id: it.Value.id, key: key, doc: it.Value.doc}
}

// compare finds out which part of an observed object counts, and its hash.
func (s *set) compare(t *Type, it *item) {
	o := it.Value
	o.sensitive = t.Secret
	if w := s.want[it.Address]; w != nil {
		o.sensitive = w.Value.sensitive
		visible := copyOf(w.Value.shown, t.WriteOnly)
		o.shown = normal(project(o.doc, visible))
		if len(t.WriteOnly) == 0 {
			it.Hash = s.hash("", o.shown)
			return
		}
		// What the API does not show is as it was when we wrote it, as far as
		// anybody knows.
		owned := s.in.Inventory[it.Key]
		if same(o.shown, visible) && owned.Hash == w.Hash && !owned.Pending {
			it.Hash, o.shown = w.Hash, w.Value.shown
			return
		}
		it.Hash = s.hash("seen ", o.shown)
		return
	}
	// Of an object that is to go, what was written counts.
	o.shown = normal(copyOf(o.doc, t.Ignore))
	if owned, ours := s.in.Inventory[it.Key]; ours && len(owned.LastApplied) > 0 {
		dec := json.NewDecoder(bytes.NewReader(owned.LastApplied))
		dec.UseNumber()
		var last any
		if dec.Decode(&last) == nil {
			o.shown = normal(project(o.doc, copyOf(last, t.WriteOnly)))
		}
	}
	it.Hash = s.hash("", o.shown)
}

func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
