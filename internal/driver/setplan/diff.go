package setplan

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Plan reads desired and observed and compares them. The caller fills in the
// plan's warnings, outputs and next due time.
func Plan[T any](ctx context.Context, in driver.Input, set Set[T]) (*plan.Plan, error) {
	desired, err := desiredFor(ctx, in, set)
	if err != nil {
		return nil, err
	}
	scopes, err := set.Observed(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	return Diff(in, set, desired, scopes)
}

func desiredFor[T any](ctx context.Context, in driver.Input, set Set[T]) ([]Item[T], error) {
	if in.Mode == plan.Destroy {
		return nil, nil
	}
	return set.Desired(ctx, in)
}

// Diff compares desired with observed. It is pure: neither the environment nor
// the clock is asked. Its result does not depend on any order.
func Diff[T any](in driver.Input, set Set[T], desired []Item[T], scopes []Scope[T]) (*plan.Plan, error) {
	parts, err := split(in.Inventory, desired)
	if err != nil {
		return nil, err
	}
	if in.Only != nil {
		maps.DeleteFunc(parts, func(s plan.Scope, _ *part[T]) bool { return !in.Covers(s) })
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s Scope[T]) bool { return !in.Covers(s.Name) })
	}
	p := &plan.Plan{Target: in.Target, Mode: in.Mode, Changes: []plan.Change{}}
	read := make(map[plan.Scope]bool, len(scopes))
	for i := range scopes {
		s := &scopes[i]
		if read[s.Name] {
			return nil, driver.Permanent(fmt.Errorf("scope %q was read twice", s.Name))
		}
		read[s.Name] = true
		d := &differ[T]{in: in, set: set, s: s, part: parts[s.Name], sp: plan.ScopePlan{Scope: s.Name, Realm: s.Realm}}
		if d.part == nil {
			d.part = &part[T]{}
		}
		if err := d.run(); err != nil {
			return nil, err
		}
		p.Scopes = append(p.Scopes, d.sp)
		p.Changes = append(p.Changes, d.changes...)
	}
	// A scope that is silently missing from a read is unknown, not empty.
	for name := range parts {
		if !read[name] {
			p.Scopes = append(p.Scopes, plan.ScopePlan{Scope: name, Unknown: "the environment did not report this scope"})
		}
	}
	slices.SortFunc(p.Scopes, func(a, b plan.ScopePlan) int { return cmp.Compare(a.Scope, b.Scope) })
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return a.Key.Compare(b.Key) })
	return p, nil
}

// part is what is wanted and owned in one scope.
type part[T any] struct {
	want   map[plan.Address]*Item[T]
	owned  []plan.Key
	weight map[string]int // of what is owned, by class
}

// split sorts desired and inventory by scope, once, so that the cost of a
// scope follows its own size.
func split[T any](inventory driver.Inventory, desired []Item[T]) (map[plan.Scope]*part[T], error) {
	parts := map[plan.Scope]*part[T]{}
	var last *part[T]
	var name plan.Scope
	of := func(s plan.Scope) *part[T] { // most objects lie in the scope of the one before
		if last != nil && name == s {
			return last
		}
		last, name = parts[s], s
		if last == nil {
			last = &part[T]{weight: map[string]int{}, want: map[plan.Address]*Item[T]{}}
			if len(parts) == 0 {
				last.want = make(map[plan.Address]*Item[T], len(desired))
				last.owned = make([]plan.Key, 0, len(inventory))
			}
			parts[s] = last
		}
		return last
	}
	for i := range desired {
		it := &desired[i]
		p := of(it.Scope)
		if first := p.want[it.Address]; first != nil {
			return nil, driver.Permanent(fmt.Errorf("%s is asked for twice, at %q and %q", it.Key, first.Source, it.Source))
		}
		p.want[it.Address] = it
	}
	for k, o := range inventory {
		p := of(k.Scope)
		p.owned = append(p.owned, k)
		p.weight[o.Class] += max(o.Weight, 1)
	}
	return parts, nil
}

// differ compares one scope.
type differ[T any] struct {
	in      driver.Input
	set     Set[T]
	s       *Scope[T]
	part    *part[T]
	have    map[plan.Address]*Item[T]
	renames renames
	sp      plan.ScopePlan
	changes []plan.Change
	// How many of the wanted objects are owned, and there. Where that is all
	// there are, nothing is left to look for.
	ownedWanted, seenWanted int
}

func (d *differ[T]) run() error {
	if d.s.Err == nil {
		d.have, d.s.Err = observed(d.s)
	}
	if d.s.Err != nil {
		d.sp.Unknown = d.s.Err.Error()
		return nil
	}
	d.sp.Unmanaged = d.s.Unmanaged
	d.sp.Base = map[plan.Address]string{}
	d.sp.Owned = map[string]int{}
	maps.Copy(d.sp.Owned, d.part.weight)
	d.sp.Empty = len(d.s.Items) == 0 && len(d.part.owned) > 0
	d.renames = d.findRenames()
	if err := d.wanted(); err != nil {
		return err
	}
	if err := d.unasked(); err != nil {
		return err
	}
	return d.strangers()
}

// observed indexes what was read. A read that contradicts itself is no read.
func observed[T any](s *Scope[T]) (map[plan.Address]*Item[T], error) {
	m := make(map[plan.Address]*Item[T], len(s.Items))
	for i := range s.Items {
		it := &s.Items[i]
		if it.Scope != s.Name {
			return nil, fmt.Errorf("%s was reported in scope %q", it.Key, s.Name)
		}
		if m[it.Address] != nil {
			return nil, fmt.Errorf("%s was reported twice", it.Key)
		}
		m[it.Address] = it
	}
	return m, nil
}

// wanted goes over the scope's desired objects.
func (d *differ[T]) wanted() error {
	for addr, want := range d.part.want {
		have := d.have[addr]
		owned, isOwned := d.in.Inventory[want.Key]
		if have != nil {
			d.seenWanted++
		}
		if isOwned {
			d.ownedWanted++
		}
		if old, ok := d.renames.from[addr]; ok {
			if err := d.rename(want, old); err != nil {
				return err
			}
			continue
		}
		v := d.verdict(want, have, owned, isOwned)
		if v.action == plan.None {
			d.sp.Unchanged++
			continue
		}
		if err := d.add(v, want, have, ""); err != nil {
			return err
		}
	}
	return nil
}

// unasked goes over what is owned but no longer desired.
func (d *differ[T]) unasked() error {
	if d.ownedWanted == len(d.part.owned) {
		return nil
	}
	for _, k := range d.part.owned {
		if d.part.want[k.Address] != nil || d.renames.old[k.Address] {
			continue
		}
		o := d.in.Inventory[k]
		have := d.have[k.Address]
		if have == nil {
			d.sp.Base[k.Address] = ""
			d.changes = append(d.changes, plan.Change{Key: k, Kind: o.Kind, Action: plan.Forget, Reason: plan.ByPrune, Source: o.Source})
			continue
		}
		if d.in.Mode == plan.AddOnly {
			continue
		}
		if err := d.add(verdict{action: plan.Delete, reason: plan.ByPrune}, nil, have, ""); err != nil {
			return err
		}
		c := &d.changes[len(d.changes)-1]
		c.Source = o.Source
		switch {
		case o.Pending:
			c.Note = "the outcome of its last write is not known"
		case o.Hash != "" && o.Hash != have.Hash && !compares(d.set):
			c.Note = "it was changed by somebody else since it was last applied"
		}
	}
	return nil
}

// compares tells that hashes of desired and observed have nothing to do with
// each other.
func compares[T any](set Set[T]) bool {
	_, ok := set.(Comparer[T])
	return ok
}

// strangers goes over what nobody asks for and the target does not own: left
// alone, unless the scope as a whole is the target's.
func (d *differ[T]) strangers() error {
	if d.seenWanted == len(d.have) {
		return nil
	}
	for addr, have := range d.have {
		if d.part.want[addr] != nil {
			continue
		}
		if _, owned := d.in.Inventory[have.Key]; owned {
			continue
		}
		if !d.s.Exclusive || d.in.Mode != plan.Apply {
			d.sp.Unmanaged++
			continue
		}
		if err := d.add(verdict{action: plan.Delete, reason: plan.ByDrift}, nil, have, ""); err != nil {
			return err
		}
	}
	return nil
}
