package dns

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

type item = setplan.Item[*RRset]

// zoneRef names a zone of a target.
type zoneRef struct {
	name, view string
	reverse    bool
}

// zoneSet is the set of RRsets of one plan or apply.
type zoneSet struct {
	*session
	spec  *Spec
	state *desiredState
	zones []zoneRef
	live  map[plan.Scope]*live
	ahead *ahead
	// applying is the plan that is being carried out, nil while planning.
	applying *plan.Plan
}

// addOwned adds the zones that the target owns records in, so that a zone that
// is no longer desired is still read and pruned.
func (z *zoneSet) addOwned(in driver.Input) {
	known := map[plan.Scope]bool{}
	for _, ref := range z.zones {
		known[scopeName(ref.name, ref.view)] = true
	}
	start := len(z.zones)
	for k := range in.Inventory {
		if !known[k.Scope] {
			known[k.Scope] = true
			name, view, _ := strings.Cut(string(k.Scope), "/")
			z.zones = append(z.zones, zoneRef{name: name, view: view, reverse: z.state != nil})
		}
	}
	slices.SortFunc(z.zones[start:], func(a, b zoneRef) int { return strings.Compare(a.name+"/"+a.view, b.name+"/"+b.view) })
}

// Desired gives the RRsets that the files ask for.
func (z *zoneSet) Desired(context.Context, driver.Input) ([]item, error) {
	n := 0
	for _, zo := range z.state.zones {
		n += len(zo.sets)
	}
	out := make([]item, 0, n)
	for i, zo := range z.state.zones {
		scope := scopeName(zo.name, z.zones[i].view)
		if z.spec.CreateZone && !zo.reverse {
			out = append(out, zoneItem(scope, zo.name, plan.Source{File: zo.file}))
		}
		for i := range zo.sets {
			if s := &zo.sets[i]; !s.skip {
				out = append(out, newItem(scope, &s.RRset, s.at[0].source()))
			}
		}
	}
	return out, nil
}

func newItem(scope plan.Scope, r *RRset, at plan.Source) item {
	return item{Key: plan.Key{Scope: scope, Address: r.address()}, Kind: kindSet, Hash: r.hash(), Class: class,
		Weight: max(len(r.Data), 1), Source: at, Value: r}
}

// zoneItem stands for the zone itself, where the target makes it.
func zoneItem(scope plan.Scope, zone string, at plan.Source) item {
	it := newItem(scope, &RRset{Name: zone}, at)
	it.Kind, it.Class, it.Hash = kindZone, kindZone, kindZone
	return it
}

// Observed reads the zones. While a plan is applied and the serial is still
// the one it was made at, what it saw is taken from the plan itself; each
// update carries it as a prerequisite all the same.
func (z *zoneSet) Observed(ctx context.Context, in driver.Input, _ []plan.Key) ([]setplan.Scope[*RRset], error) {
	out := make([]setplan.Scope[*RRset], 0, len(z.zones))
	for _, ref := range z.zones {
		name := scopeName(ref.name, ref.view)
		if s, ok := z.fromPlan(ctx, ref, name); ok {
			out = append(out, s)
			continue
		}
		l, scope, err := z.readAhead(ctx, in, ref)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if len(z.zones) == 1 {
				return nil, err
			}
			out = append(out, setplan.Scope[*RRset]{Name: name, Err: err})
			continue
		}
		if l.missing {
			if err := z.missing(ref, l); err != nil {
				out = append(out, setplan.Scope[*RRset]{Name: name, Err: err})
				continue
			}
		}
		scope.Realm = l.realm
		z.live[name] = l
		out = append(out, scope)
	}
	return out, nil
}

// scopeOf sorts out what can be the target's from what never can.
func (spec *Spec) scopeOf(in driver.Input, ref zoneRef, l *live) setplan.Scope[*RRset] {
	name := scopeName(ref.name, ref.view)
	s := setplan.Scope[*RRset]{Name: name, Realm: l.realm, Items: make([]item, 0, len(l.sets)+2),
		Exclusive: spec.Ownership == OwnZone && !ref.reverse}
	if spec.CreateZone && !ref.reverse && !l.missing {
		s.Items = append(s.Items, zoneItem(name, ref.name, plan.Source{}))
	}
	all := l.sets
	if l.soa.Name != "" {
		all = append(all, l.soa)
	}
	for i := range all {
		if spec.unmanaged(in, ref.name, name, &all[i]) {
			s.Unmanaged++
			continue
		}
		s.Items = append(s.Items, newItem(name, &all[i], plan.Source{}))
	}
	return s
}

// unmanaged tells what is never touched: what servers make, the SOA and apex
// NS unless asked for, ignored names and those outside the target's scope.
func (spec *Spec) unmanaged(in driver.Input, zone string, scope plan.Scope, r *RRset) bool {
	switch {
	case serverMade[r.Type], r.Type == typeALIAS, r.Type == typeLUA, r.Type == typeOther,
		r.Type == mdns.TypeSOA && !spec.ManageSOA,
		r.Type == mdns.TypeNS && r.Name == zone && !spec.ManageApexNS,
		len(spec.Ignore) > 0 && matchAny(spec.Ignore, r.Name, zone),
		outside(in, plan.Key{Scope: scope}, r):
		return true
	}
	return false
}

// fromPlan gives what the plan saw, if the zone's serial has not moved since.
func (z *zoneSet) fromPlan(ctx context.Context, ref zoneRef, name plan.Scope) (setplan.Scope[*RRset], bool) {
	s := setplan.Scope[*RRset]{Name: name}
	var a artefact
	if z.applying == nil || json.Unmarshal(z.applying.Artefact, &a) != nil {
		return s, false
	}
	planned, ok := a.Serials[name]
	if !ok {
		return s, false
	}
	soa, realm, ok, err := z.backend.serial(ctx, ref.name, ref.view)
	if err != nil || !ok || soa.Serial != planned {
		return s, false
	}
	s.Realm = realm
	for i := range z.applying.Changes {
		c := &z.applying.Changes[i]
		if c.Scope != name || c.Kind != kindSet || len(c.Before) == 0 {
			continue
		}
		r, err := parseShown(c.Before)
		if err != nil {
			return s, false
		}
		if r.Type == mdns.TypeSOA {
			r = soa
		}
		it := newItem(name, &r, plan.Source{})
		if it.Address != c.Address && it.Address != c.From {
			return s, false
		}
		s.Items = append(s.Items, it)
	}
	return s, true
}

// Put writes one RRset; Batches and Write are what is used.
func (z *zoneSet) Put(ctx context.Context, it, old item) error {
	st := step{New: &it}
	if old.Value != nil {
		st.Old = &old
	}
	st.Change.Scope = it.Scope
	return z.Write(ctx, []step{st})[0]
}

// Remove deletes one RRset.
func (z *zoneSet) Remove(ctx context.Context, old item) error {
	st := step{Old: &old}
	st.Change.Scope = old.Scope
	return z.Write(ctx, []step{st})[0]
}

// Batches cuts steps into atomic messages.
func (z *zoneSet) Batches(steps []step) [][]step {
	var first, last [][]step
	sets := make([]step, 0, len(steps))
	for i := range steps {
		switch {
		case steps[i].Change.Kind != kindZone:
			sets = append(sets, steps[i])
		case steps[i].New != nil:
			first = append(first, steps[i:i+1])
		default:
			last = append(last, steps[i:i+1])
		}
	}
	return append(append(first, cut(sets, z.backend.limit())...), last...)
}

// Write sends one batch.
func (z *zoneSet) Write(ctx context.Context, batch []step) []error {
	zone, _, _ := strings.Cut(string(batch[0].Change.Scope), "/")
	if batch[0].Change.Kind == kindZone {
		return all(batch, z.writeZone(ctx, zone, batch[0].New != nil))
	}
	return z.backend.write(ctx, zone, batch)
}

// Show gives an RRset as it is shown in plans. DNS is public: nothing in it is
// secret.
func (z *zoneSet) Show(it item) (json.RawMessage, []string, error) {
	doc, err := it.Value.show()
	return doc, nil, err
}

// Impact counts records, not RRsets.
func (z *zoneSet) Impact(action plan.Action, it, old item) []plan.Impact {
	im := plan.Impact{Class: class}
	if it.Kind == kindZone || old.Kind == kindZone {
		im.Class = kindZone
	}
	none := &RRset{}
	have, want := cmp.Or(old.Value, none), cmp.Or(it.Value, none)
	before, after := len(have.Data), max(len(want.Data), 1)
	switch action {
	case plan.Create:
		im.Create = after
	case plan.Delete:
		im.Delete = max(before, 1)
	default:
		kept := 0
		for _, d := range want.Data {
			if slices.Contains(have.Data, d) {
				kept++
			}
		}
		im.Create, im.Delete = max(after-before, 0), max(before-after, 0)
		im.Update = min(before, after) - kept
		if want.TTL != have.TTL || im.Create+im.Delete+im.Update == 0 {
			im.Update = min(before, after)
		}
	}
	return []plan.Impact{im}
}

// finish names the messages that the changes will be sent in and marks what is
// not known yet.
func (z *zoneSet) finish(p *plan.Plan) error {
	byScope := map[plan.Scope][]step{}
	at := map[plan.Key]*plan.Change{}
	for i := range p.Changes {
		c := &p.Changes[i]
		if !c.Action.Writes() {
			continue
		}
		at[c.Key] = c
		st := step{Change: plan.Change{Key: c.Key, Kind: c.Kind}}
		if err := sized(&st, c); err != nil {
			return err
		}
		if st.New != nil && len(st.New.Value.Unknown) > 0 {
			c.Unknown = []string{"/records"}
		}
		byScope[c.Scope] = append(byScope[c.Scope], st)
	}
	for scope, steps := range byScope {
		for i, batch := range z.Batches(steps) {
			group := string(scope) + "#" + strconv.Itoa(i+1)
			for _, st := range batch {
				at[st.Change.Key].Group = group
			}
		}
	}
	return nil
}

// sized gives a step the content that a change shows.
func sized(st *step, c *plan.Change) error {
	for _, side := range []struct {
		doc json.RawMessage
		to  **item
	}{{c.Before, &st.Old}, {c.After, &st.New}} {
		if len(side.doc) == 0 {
			continue
		}
		r, err := parseShown(side.doc)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Key, err)
		}
		it := newItem(c.Scope, &r, plan.Source{})
		*side.to = &it
	}
	if st.Old == nil && st.New == nil {
		return errors.New("a change shows neither what is there nor what is wanted")
	}
	return nil
}
