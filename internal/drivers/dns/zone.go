package dns

import (
	"trueup.dev/trueup/internal/plan"
)

// place is where a record stands.
type place struct {
	file string
	line int32
}

func (p place) source() plan.Source { return plan.Source{File: p.file, Line: int(p.line)} }

// desiredSet is an RRset with the places of its records, in Data's first order.
type desiredSet struct {
	RRset
	at   []place
	made bool // a PTR made from an address
}

type setKey struct {
	name string
	typ  uint16
}

// zone is what the snapshot asks for in one zone.
type zone struct {
	name  string
	view  string
	sets  []desiredSet
	index map[setKey]int32
	// reverse marks a zone that holds PTR records made from forward zones
	// alone; it is never owned as a whole.
	reverse bool
	// file is the zone's own file.
	file string
	// start is the file's SOA and NS, for a zone that is still to be made.
	start []RRset
}

func newZone(name, view, file string) *zone {
	return &zone{name: name, view: view, file: file, index: map[setKey]int32{}}
}

// scope is "example.com." or "example.com./view".
func (z *zone) scope() plan.Scope { return scopeName(z.name, z.view) }

func scopeName(zone, view string) plan.Scope {
	if view == "" {
		return plan.Scope(zone)
	}
	return plan.Scope(zone + "/" + view)
}

// set gives the RRset of a name and type, made if need be.
func (z *zone) set(name string, typ uint16, ttl uint32) (*desiredSet, bool) {
	if n := len(z.sets); n > 0 && z.sets[n-1].Name == name && z.sets[n-1].Type == typ {
		return &z.sets[n-1], false
	}
	k := setKey{name, typ}
	if i, ok := z.index[k]; ok {
		return &z.sets[i], false
	}
	z.index[k] = int32(len(z.sets))
	z.sets = append(z.sets, desiredSet{RRset: RRset{Name: name, Type: typ, TTL: ttl}})
	return &z.sets[len(z.sets)-1], true
}

func (z *zone) get(name string, typ uint16) *desiredSet {
	if i, ok := z.index[setKey{name, typ}]; ok {
		return &z.sets[i]
	}
	return nil
}

// add takes a record in; what can be told from the record alone and its set is
// checked here, what needs the whole zone in check.
func (z *zone) add(rec record, diags *plan.Diagnostics) {
	if !inZone(rec.name, z.name) {
		diags.Errorf(rec.at.source(), "", "remove it, or set $ORIGIN", "%s is outside the zone %s", rec.name, z.name)
		return
	}
	s, fresh := z.set(rec.name, rec.typ, rec.ttl)
	if !fresh && s.TTL != rec.ttl {
		diags.Errorf(rec.at.source(), "", "give all records of a set one TTL",
			"TTL %d differs from %d of the other %s records of %s (%s)", rec.ttl, s.TTL, typeName(rec.typ), rec.name, s.at[0].source())
	}
	for i, d := range s.Data {
		if d == rec.data && len(rec.unknown) == 0 {
			diags.Errorf(rec.at.source(), "", "remove one of them", "the same %s record of %s stands at %s already",
				typeName(rec.typ), rec.name, s.at[i].source())
			return
		}
	}
	s.at = append(s.at, rec.at)
	s.Unknown = append(s.Unknown, rec.unknown...)
	if len(s.Unknown) > 0 {
		s.Data = nil // a set is known as a whole or not at all
		return
	}
	s.Data = append(s.Data, rec.data)
}

// record is one parsed record on its way into a zone.
type record struct {
	name    string
	typ     uint16
	ttl     uint32
	data    string
	at      place
	unknown []string
}
