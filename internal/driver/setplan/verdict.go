package setplan

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// verdict is what one object needs, and why.
type verdict struct {
	action   plan.Action
	reason   plan.Reason
	conflict string
}

// verdict decides what one desired object needs.
func (d *differ[T]) verdict(want, have *Item[T], owned driver.Owned, isOwned bool) verdict {
	settled := isOwned && !owned.Pending && owned.Hash == want.Hash
	v := verdict{action: plan.Update, reason: plan.BySpec}
	if settled {
		v.reason = plan.ByDrift
	}
	switch {
	case have == nil:
		v.action = plan.Create
		return v
	case d.equal(want, have) && settled:
		v.action = plan.None
		return v
	case d.equal(want, have):
		// Equal already: taken into the inventory, or settled there after a
		// write whose outcome was not known.
		return verdict{action: plan.Adopt, reason: plan.BySpec}
	}
	if have.Kind != want.Kind {
		v.action = plan.Replace
	}
	switch {
	case !isOwned && !d.s.Exclusive && !want.TakeOver:
		v.reason, v.conflict = plan.BySpec, "it exists, differs, and no target owns it"
	case v.action == plan.Replace && d.in.Mode == plan.AddOnly:
		v.conflict = "it would be replaced, which a run that only adds may not do"
	}
	return v
}

func (d *differ[T]) equal(want, have *Item[T]) bool {
	if c, ok := d.set.(Comparer[T]); ok {
		return c.Equal(*want, *have)
	}
	return have.Hash == want.Hash
}

// renames are the moves planned in one scope: the old address by the new one,
// and the set of old addresses.
type renames struct {
	from map[plan.Address]plan.Address
	old  map[plan.Address]bool
}

// findRenames picks the renames that `previously:` names and that can happen:
// the old object is ours, there and no longer wanted; the new one is wanted
// and not there. A new address that is pending is a rename that was cut off
// before it happened. Where several old names claim one new name, the first in
// order is renamed and the others are pruned.
func (d *differ[T]) findRenames() renames {
	r := renames{from: map[plan.Address]plan.Address{}, old: map[plan.Address]bool{}}
	if len(d.in.Previously) == 0 || d.in.Mode == plan.AddOnly {
		return r
	}
	for _, old := range slices.SortedFunc(maps.Keys(d.in.Previously), cmp.Compare[plan.Address]) {
		now := d.in.Previously[old]
		want, have := d.part.want[now], d.have[old]
		if want == nil || have == nil || have.Kind != want.Kind || d.part.want[old] != nil || d.have[now] != nil {
			continue
		}
		if _, ours := d.in.Inventory[have.Key]; !ours {
			continue
		}
		if o, owned := d.in.Inventory[want.Key]; owned && !o.Pending {
			continue
		}
		if _, taken := r.from[now]; taken {
			continue
		}
		r.from[now], r.old[old] = old, true
	}
	return r
}

func (d *differ[T]) rename(want *Item[T], old plan.Address) error {
	d.sp.Base[old] = d.have[old].Hash
	if err := d.add(verdict{action: plan.Rename, reason: plan.BySpec}, want, d.have[old], old); err != nil {
		return err
	}
	d.sp.Base[want.Address] = "" // the new name must still be free
	return nil
}

// add appends a change, and what it rests on to the base.
func (d *differ[T]) add(v verdict, want, have *Item[T], from plan.Address) error {
	c := plan.Change{Action: v.action, Reason: v.reason, Conflict: v.conflict, From: from}
	main := want
	if want == nil {
		main = have
	}
	c.Key, c.Kind, c.Source = main.Key, main.Kind, main.Source
	var err error
	if have != nil {
		if c.Before, c.Sensitive, err = show(d.set, *have); err != nil {
			return err
		}
	}
	if want != nil {
		var sensitive []string
		if c.After, sensitive, err = show(d.set, *want); err != nil {
			return err
		}
		c.Sensitive = append(slices.Clone(c.Sensitive), sensitive...)
	}
	slices.Sort(c.Sensitive)
	c.Sensitive = slices.Compact(c.Sensitive)
	c.Impact = impact(d.set, v.action, want, have)
	d.sp.Base[c.Address] = hashOf(have)
	d.changes = append(d.changes, c)
	return nil
}

func show[T any](set Set[T], item Item[T]) (json.RawMessage, []string, error) {
	if s, ok := set.(Shower[T]); ok {
		doc, sensitive, err := s.Show(item)
		return doc, slices.Clone(sensitive), err
	}
	doc, err := json.Marshal(item.Value)
	return doc, nil, err
}

func impact[T any](set Set[T], action plan.Action, want, have *Item[T]) []plan.Impact {
	if !action.Writes() {
		return nil
	}
	var item, old Item[T]
	if want != nil {
		item = *want
	}
	if have != nil {
		old = *have
	}
	if im, ok := set.(Impacter[T]); ok {
		return im.Impact(action, item, old)
	}
	return []plan.Impact{defaultImpact(action, item.Class, item.Weight, old.Class, old.Weight)}
}

func defaultImpact(action plan.Action, class string, weight int, oldClass string, oldWeight int) plan.Impact {
	i := plan.Impact{Class: class}
	n := max(weight, 1)
	switch action {
	case plan.Create:
		i.Create = n
	case plan.Delete:
		i.Class, i.Delete = oldClass, max(oldWeight, 1)
	case plan.Replace:
		i.Replace = max(n, oldWeight)
	case plan.Disable:
		i.Disable = n
	default:
		i.Update = max(n, oldWeight)
	}
	return i
}

func hashOf[T any](item *Item[T]) string {
	if item == nil {
		return ""
	}
	return item.Hash
}
