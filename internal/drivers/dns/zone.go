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

// maxSet bounds the records of a set: an answer has 64 KiB.
const maxSet = 4096

// desiredSet is an RRset with the places of its records, in Data's first order.
type desiredSet struct {
	RRset
	at   []place
	made bool // a PTR made from an address
	skip bool // SOA and apex NS that are not managed
}

// zone is what the snapshot asks for in one zone.
type zone struct {
	name  string
	view  string
	sets  []desiredSet
	index index
	// managed counts the sets that are not skipped.
	managed int
	// reverse marks a zone that holds PTR records made from forward zones
	// alone; it is never owned as a whole.
	reverse bool
	// file is the zone's own file.
	file string
	// start is the file's SOA and NS, for a zone that is still to be made.
	start  []RRset
	names  map[string]bool // while checking, where it is needed
	places chunk[place]
	data   chunk[string]
}

// newZone makes a zone with room for a number of sets.
func newZone(name, view, file string, room int) *zone {
	return &zone{name: name, view: view, file: file, index: newIndex(room), sets: make([]desiredSet, 0, room)}
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
	h := hashSet(name, typ)
	if i := z.find(h, name, typ); i >= 0 {
		return &z.sets[i], false
	}
	z.index.put(h, int32(len(z.sets)))
	z.sets = append(z.sets, desiredSet{RRset: RRset{Name: name, Type: typ, TTL: ttl}})
	return &z.sets[len(z.sets)-1], true
}

func (z *zone) find(hash uint32, name string, typ uint16) int32 {
	return z.index.find(hash, func(i int32) bool { return z.sets[i].Type == typ && z.sets[i].Name == name })
}

func (z *zone) get(name string, typ uint16) *desiredSet {
	if i := z.find(hashSet(name, typ), name, typ); i >= 0 {
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
	if len(s.at) >= maxSet {
		if len(s.at) == maxSet {
			diags.Errorf(rec.at.source(), "", "", "%s has more than %d %s records: an answer can't hold them", rec.name, maxSet, typeName(rec.typ))
			s.at = append(s.at, rec.at)
		}
		return
	}
	for i, d := range s.Data {
		if d == rec.data && len(rec.unknown) == 0 {
			diags.Errorf(rec.at.source(), "", "remove one of them", "the same %s record of %s stands at %s already",
				typeName(rec.typ), rec.name, s.at[i].source())
			return
		}
	}
	if s.at == nil {
		s.at = z.places.one(rec.at)
	} else {
		s.at = append(s.at, rec.at)
	}
	s.Unknown = append(s.Unknown, rec.unknown...)
	if len(s.Unknown) > 0 {
		s.Data = nil // a set is known as a whole or not at all
		return
	}
	if s.Data == nil {
		s.Data = z.data.one(rec.data)
	} else {
		s.Data = append(s.Data, rec.data)
	}
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

// chunk cuts slices of one element out of larger ones: nearly all RRsets have
// one record, and a zone has many.
type chunk[T any] struct{ room []T }

func (c *chunk[T]) one(v T) []T {
	if len(c.room) == cap(c.room) {
		c.room = make([]T, 0, 512)
	}
	c.room = append(c.room, v)
	n := len(c.room)
	return c.room[n-1 : n : n]
}
