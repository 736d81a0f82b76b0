package setplan

import (
	"context"
	"encoding/json"
	"fmt"
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
// the clock is asked.
func Diff[T any](in driver.Input, set Set[T], desired []Item[T], scopes []Scope[T]) (*plan.Plan, error) {
	d := &differ[T]{in: in, set: set, desired: make(map[plan.Key]*Item[T], len(desired))}
	for i := range desired {
		if _, dup := d.desired[desired[i].Key]; dup {
			return nil, driver.Permanent(fmt.Errorf("%s: %s is asked for twice", desired[i].Source, desired[i].Key))
		}
		d.desired[desired[i].Key] = &desired[i]
	}
	p := &plan.Plan{Target: in.Target, Mode: in.Mode, Changes: []plan.Change{}}
	known := map[plan.Scope]bool{}
	for i := range scopes {
		known[scopes[i].Name] = true
		sp, changes, err := d.scope(&scopes[i])
		if err != nil {
			return nil, err
		}
		p.Scopes = append(p.Scopes, sp)
		p.Changes = append(p.Changes, changes...)
	}
	p.Scopes = append(p.Scopes, d.unread(known)...)
	slices.SortFunc(p.Scopes, func(a, b plan.ScopePlan) int { return plan.Key{Scope: a.Scope}.Compare(plan.Key{Scope: b.Scope}) })
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return a.Key.Compare(b.Key) })
	return p, nil
}

type differ[T any] struct {
	in      driver.Input
	set     Set[T]
	desired map[plan.Key]*Item[T]
}

// unread reports scopes that are desired or owned but were not read at all: a
// scope that is silently missing from a read is unknown, not empty.
func (d *differ[T]) unread(known map[plan.Scope]bool) []plan.ScopePlan {
	var out []plan.ScopePlan
	add := func(s plan.Scope) {
		if !known[s] {
			known[s] = true
			out = append(out, plan.ScopePlan{Scope: s, Unknown: "the environment did not report this scope"})
		}
	}
	for k := range d.desired {
		add(k.Scope)
	}
	for k := range d.in.Inventory {
		add(k.Scope)
	}
	return out
}

func (d *differ[T]) scope(s *Scope[T]) (plan.ScopePlan, []plan.Change, error) {
	sp := plan.ScopePlan{Scope: s.Name, Realm: s.Realm}
	if s.Err != nil {
		sp.Unknown = s.Err.Error()
		return sp, nil, nil
	}
	sp.Unmanaged = s.Unmanaged
	sp.Base = map[plan.Address]string{}
	sp.Owned = map[string]int{}
	for k, o := range d.in.Inventory {
		if k.Scope == s.Name {
			sp.Owned[o.Class] += max(o.Weight, 1)
		}
	}
	sp.Empty = len(s.Items) == 0 && len(sp.Owned) > 0
	observed := make(map[plan.Key]*Item[T], len(s.Items))
	for i := range s.Items {
		observed[s.Items[i].Key] = &s.Items[i]
	}
	changes, err := d.wanted(s, &sp, observed)
	if err != nil {
		return sp, nil, err
	}
	gone, err := d.unwanted(s, &sp, observed)
	return sp, append(changes, gone...), err
}

// wanted goes over the scope's desired objects.
func (d *differ[T]) wanted(s *Scope[T], sp *plan.ScopePlan, observed map[plan.Key]*Item[T]) ([]plan.Change, error) {
	from := map[plan.Key]plan.Key{}
	for old, now := range d.in.Previously {
		from[plan.Key{Scope: s.Name, Address: now}] = plan.Key{Scope: s.Name, Address: old}
	}
	var out []plan.Change
	for k, want := range d.desired {
		if k.Scope != s.Name {
			continue
		}
		have := observed[k]
		owned, isOwned := d.in.Inventory[k]
		if old, ok := from[k]; ok && !isOwned && have == nil && d.renamable(old, observed) {
			c, err := d.change(plan.Rename, plan.BySpec, want, observed[old])
			if err != nil {
				return nil, err
			}
			c.From = old.Address
			sp.Base[old.Address] = observed[old].Hash
			sp.Base[k.Address] = ""
			out = append(out, c)
			continue
		}
		action, reason, conflict := verdict(want, have, owned, isOwned, s.Exclusive)
		if action == plan.None {
			sp.Unchanged++
			continue
		}
		c, err := d.change(action, reason, want, have)
		if err != nil {
			return nil, err
		}
		c.Conflict = conflict
		sp.Base[k.Address] = hashOf(have)
		out = append(out, c)
	}
	return out, nil
}

// renamable tells whether old is ours, still there and no longer desired.
func (d *differ[T]) renamable(old plan.Key, observed map[plan.Key]*Item[T]) bool {
	_, owned := d.in.Inventory[old]
	return owned && d.desired[old] == nil && observed[old] != nil
}

// verdict decides what one desired object needs.
func verdict[T any](want, have *Item[T], owned driver.Owned, isOwned, exclusive bool) (plan.Action, plan.Reason, string) {
	reason := plan.BySpec
	if isOwned && !owned.Pending && owned.Hash == want.Hash {
		reason = plan.ByDrift
	}
	switch {
	case have == nil:
		return plan.Create, reason, ""
	case have.Hash == want.Hash && isOwned && !owned.Pending && owned.Hash == want.Hash:
		return plan.None, "", ""
	case have.Hash == want.Hash:
		return plan.Adopt, plan.BySpec, ""
	case !isOwned && !exclusive:
		return plan.Update, plan.BySpec, "it exists, differs, and no target owns it"
	}
	return plan.Update, reason, ""
}

// unwanted goes over what is owned, or seen, but not desired.
func (d *differ[T]) unwanted(s *Scope[T], sp *plan.ScopePlan, observed map[plan.Key]*Item[T]) ([]plan.Change, error) {
	renamed := map[plan.Key]bool{}
	for old, now := range d.in.Previously {
		k := plan.Key{Scope: s.Name, Address: old}
		to := plan.Key{Scope: s.Name, Address: now}
		_, owned := d.in.Inventory[to]
		if d.desired[to] != nil && !owned && observed[to] == nil && d.renamable(k, observed) {
			renamed[k] = true
		}
	}
	var out []plan.Change
	for k, o := range d.in.Inventory {
		if k.Scope != s.Name || d.desired[k] != nil || renamed[k] {
			continue
		}
		c, err := d.prune(k, o, observed[k])
		if err != nil {
			return nil, err
		}
		if c != nil {
			sp.Base[k.Address] = hashOf(observed[k])
			out = append(out, *c)
		}
	}
	for k, have := range observed {
		if _, owned := d.in.Inventory[k]; owned || d.desired[k] != nil {
			continue
		}
		if !s.Exclusive || d.in.Mode != plan.Apply {
			sp.Unmanaged++
			continue
		}
		c, err := d.change(plan.Delete, plan.ByDrift, nil, have)
		if err != nil {
			return nil, err
		}
		sp.Base[k.Address] = have.Hash
		out = append(out, c)
	}
	return out, nil
}

// prune gives the change for an owned object that nobody asks for any more.
func (d *differ[T]) prune(k plan.Key, o driver.Owned, have *Item[T]) (*plan.Change, error) {
	if have == nil {
		return &plan.Change{Key: k, Kind: o.Kind, Action: plan.Forget, Reason: plan.ByPrune, Source: o.Source}, nil
	}
	if d.in.Mode == plan.AddOnly {
		return nil, nil
	}
	c, err := d.change(plan.Delete, plan.ByPrune, nil, have)
	if err != nil {
		return nil, err
	}
	c.Source = o.Source
	if !o.Pending && o.Hash != "" && o.Hash != have.Hash {
		c.Note = "it was changed by somebody else since it was last applied"
	}
	return &c, nil
}

func (d *differ[T]) change(action plan.Action, reason plan.Reason, want, have *Item[T]) (plan.Change, error) {
	c := plan.Change{Action: action, Reason: reason}
	any := want
	if want == nil {
		any = have
	}
	c.Key, c.Kind, c.Source = any.Key, any.Kind, any.Source
	var err error
	if have != nil {
		if c.Before, c.Sensitive, err = d.show(*have); err != nil {
			return c, err
		}
	}
	if want != nil {
		var sensitive []string
		if c.After, sensitive, err = d.show(*want); err != nil {
			return c, err
		}
		c.Sensitive = slices.Compact(slices.Sorted(slices.Values(append(c.Sensitive, sensitive...))))
	}
	c.Impact = d.impact(action, want, have)
	return c, nil
}

func (d *differ[T]) show(item Item[T]) (json.RawMessage, []string, error) {
	if s, ok := d.set.(Shower[T]); ok {
		return s.Show(item)
	}
	doc, err := json.Marshal(item.Value)
	return doc, nil, err
}

func (d *differ[T]) impact(action plan.Action, want, have *Item[T]) []plan.Impact {
	if !action.Writes() {
		return nil
	}
	var zero Item[T]
	if want == nil {
		want = &zero
	}
	if have == nil {
		have = &zero
	}
	if im, ok := d.set.(Impacter[T]); ok {
		return im.Impact(action, *want, *have)
	}
	class := want.Class
	n := max(want.Weight, 1)
	if action == plan.Delete {
		class, n = have.Class, max(have.Weight, 1)
	}
	i := plan.Impact{Class: class}
	switch action {
	case plan.Create:
		i.Create = n
	case plan.Delete:
		i.Delete = n
	case plan.Replace:
		i.Replace = n
	case plan.Disable:
		i.Disable = n
	default:
		i.Update = max(n, have.Weight)
	}
	return []plan.Impact{i}
}

func hashOf[T any](item *Item[T]) string {
	if item == nil {
		return ""
	}
	return item.Hash
}
