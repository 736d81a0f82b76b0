package dns

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver/setplan"
)

// maxUpdate bounds an update before its signature; the message's limit is
// 65535 bytes.
const maxUpdate = 60000

type step = setplan.Step[*RRset]

// updateMessage builds one UPDATE (RFC 2136). Each set that is touched has a
// prerequisite on what it holds now, so that the server refuses the whole
// message when somebody else was faster.
type updateMessage struct {
	zone    string
	msg     []byte
	prereqs int
	updates int
}

func newUpdate(id uint16, zone string) (*updateMessage, error) {
	msg := make([]byte, 12, 4096)
	binary.BigEndian.PutUint16(msg, id)
	binary.BigEndian.PutUint16(msg[2:], uint16(mdns.OpcodeUpdate)<<11)
	binary.BigEndian.PutUint16(msg[4:], 1)
	msg, err := appendName(msg, zone, ".")
	if err != nil {
		return nil, err
	}
	msg = binary.BigEndian.AppendUint16(msg, mdns.TypeSOA)
	msg = binary.BigEndian.AppendUint16(msg, mdns.ClassINET)
	return &updateMessage{zone: zone, msg: msg}, nil
}

// owner gives a name's wire form, with the zone's part as a pointer to the
// zone section.
func (u *updateMessage) owner(name string) ([]byte, error) {
	if u.zone == "." {
		return appendName(nil, name, ".")
	}
	buf, _, err := appendLabels(make([]byte, 0, 64), name[:len(name)-len(u.zone)])
	if name == u.zone {
		buf, err = nil, nil
	}
	return append(buf, 0xc0, 12), err
}

// build fills in the steps. Removals come before additions, because a server
// drops, in silence, a record that can't stand beside a CNAME, and the other
// way round (RFC 2136 section 3.4.2.2).
func (u *updateMessage) build(steps []step) ([]byte, error) {
	steps = expand(steps)
	for i := range steps {
		if err := u.prerequisites(steps, &steps[i]); err != nil {
			return nil, err
		}
	}
	for _, pass := range []func(owner []byte, s *step){u.removals, u.additions, u.lateRemovals} {
		for i := range steps {
			owner, err := u.owner(string(nameOf(&steps[i])))
			if err != nil {
				return nil, err
			}
			pass(owner, &steps[i])
		}
	}
	binary.BigEndian.PutUint16(u.msg[6:], uint16(u.prereqs))
	binary.BigEndian.PutUint16(u.msg[8:], uint16(u.updates))
	return u.msg, nil
}

// expand makes a removal and an addition of a rename: the DNS knows none.
func expand(steps []step) []step {
	out := steps
	for i := range steps {
		if s := &steps[i]; s.New != nil && s.Old != nil && s.New.Value.Name != s.Old.Value.Name {
			if len(out) == len(steps) {
				out = slices.Clone(steps)
			}
			out = append(out, step{Change: s.Change, Old: s.Old})
			out[i].Old = nil
		}
	}
	return out
}

func nameOf(s *step) string {
	if s.New != nil {
		return s.New.Value.Name
	}
	return s.Old.Value.Name
}

func (u *updateMessage) require(owner []byte, typ, class uint16, data string) {
	u.msg = appendRecord(u.msg, owner, typ, class, 0, data)
	u.prereqs++
}

func (u *updateMessage) prerequisites(steps []step, s *step) error {
	owner, err := u.owner(nameOf(s))
	if err != nil {
		return err
	}
	if s.Old != nil {
		old := s.Old.Value
		if old.Type == mdns.TypeSOA {
			return nil
		}
		for _, d := range old.Data {
			u.require(owner, old.Type, mdns.ClassINET, d)
		}
		return nil
	}
	set := s.New.Value
	if set.Type == mdns.TypeSOA {
		return nil
	}
	u.require(owner, set.Type, mdns.ClassNONE, "")
	leaves := func(ok func(t uint16) bool) bool {
		return slices.ContainsFunc(steps, func(o step) bool {
			return o.Old != nil && o.Old.Value.Name == set.Name && ok(o.Old.Value.Type)
		})
	}
	switch {
	case set.Type == mdns.TypeCNAME && !leaves(func(uint16) bool { return true }):
		u.require(owner, mdns.TypeANY, mdns.ClassNONE, "")
	case set.Type != mdns.TypeCNAME && !leaves(func(t uint16) bool { return t == mdns.TypeCNAME }):
		u.require(owner, mdns.TypeCNAME, mdns.ClassNONE, "")
	}
	return nil
}

func (u *updateMessage) update(owner []byte, typ, class uint16, ttl uint32, data string) {
	u.msg = appendRecord(u.msg, owner, typ, class, ttl, data)
	u.updates++
}

// apexNS tells the set that a server never gives up as a whole (RFC 2136
// section 3.4.2.3): it is changed record by record, additions first.
func (u *updateMessage) apexNS(r *RRset) bool { return r.Type == mdns.TypeNS && r.Name == u.zone }

func (u *updateMessage) removals(owner []byte, s *step) {
	if s.Old == nil || s.Old.Value.Type == mdns.TypeSOA || u.apexNS(s.Old.Value) {
		return
	}
	old := s.Old.Value
	if s.New == nil || s.New.Value.TTL != old.TTL {
		u.update(owner, old.Type, mdns.ClassANY, 0, "")
		return
	}
	for _, d := range old.Data {
		if !slices.Contains(s.New.Value.Data, d) {
			u.update(owner, old.Type, mdns.ClassNONE, 0, d)
		}
	}
}

func (u *updateMessage) additions(owner []byte, s *step) {
	if s.New == nil {
		return
	}
	set := s.New.Value
	for _, d := range set.Data {
		if set.Type == mdns.TypeSOA {
			d = withSerial(d, set.Serial)
		} else if s.Old != nil && s.Old.Value.TTL == set.TTL && slices.Contains(s.Old.Value.Data, d) {
			continue
		}
		u.update(owner, set.Type, mdns.ClassINET, set.TTL, d)
	}
}

func (u *updateMessage) lateRemovals(owner []byte, s *step) {
	if s.Old == nil || !u.apexNS(s.Old.Value) {
		return
	}
	for _, d := range s.Old.Value.Data {
		if s.New == nil || !slices.Contains(s.New.Value.Data, d) {
			u.update(owner, mdns.TypeNS, mdns.ClassNONE, 0, d)
		}
	}
}

// stepSize is what a step takes up in a message, at most.
func stepSize(s *step) int {
	n := 2 * (len(nameOf(s)) + 12)
	for _, item := range []*setplan.Item[*RRset]{s.Old, s.New} {
		if item == nil {
			continue
		}
		for _, d := range item.Value.Data {
			n += 2 * (len(item.Value.Name) + 12 + len(d))
		}
		n += len(item.Value.Name) + 12
	}
	return n
}

// rank orders the messages so that no record points to an address that is not
// there yet, or not there any more: BIND refuses such a MX. What goes away
// points first, then what others may point to, then what points, and last the
// addresses that go away.
func rank(s *step) int {
	typ := uint16(0)
	if s.New != nil {
		typ = s.New.Value.Type
	} else {
		typ = s.Old.Value.Type
	}
	points := typ == mdns.TypeMX || typ == mdns.TypeNS || typ == mdns.TypeSRV
	switch {
	case s.New == nil && points:
		return 0
	case s.New == nil && (typ == mdns.TypeA || typ == mdns.TypeAAAA):
		return 3
	case points:
		return 2
	}
	return 1
}

// unit is all steps of one name: they stay together.
type unit struct {
	name  string
	rank  int
	size  int
	steps []step
}

// units groups steps by name and puts the names in the order to send them.
func units(steps []step) []unit {
	at := make(map[string]int, len(steps))
	var out []unit
	for i := range steps {
		name := nameOf(&steps[i])
		k, ok := at[name]
		if !ok {
			k = len(out)
			at[name] = k
			out = append(out, unit{name: name, rank: rank(&steps[i])})
		}
		u := &out[k]
		u.steps = append(u.steps, steps[i])
		u.size += stepSize(&steps[i])
		if r := rank(&steps[i]); r == 2 || u.rank == 0 {
			u.rank = r
		}
	}
	slices.SortFunc(out, func(a, b unit) int { return cmp.Or(a.rank-b.rank, strings.Compare(a.name, b.name)) })
	return out
}

// cut groups steps into messages: all steps of one name stay together, and a
// message holds as many names as fit.
func cut(steps []step, limit int) [][]step {
	var out [][]step
	var batch []step
	size := 0
	for _, u := range units(steps) {
		if len(batch) > 0 && size+u.size > limit {
			out = append(out, batch)
			batch, size = nil, 0
		}
		batch = append(batch, u.steps...)
		size += u.size
	}
	if len(batch) > 0 {
		out = append(out, batch)
	}
	return out
}

// update sends one message and waits for the verdict. sent tells whether the
// server may have seen it.
func (n *conn) update(ctx context.Context, zone string, steps []step) (sent bool, err error) {
	id := uint16(rand.Uint32())
	u, err := newUpdate(id, zone)
	if err != nil {
		return false, err
	}
	msg, err := u.build(steps)
	if err != nil {
		return false, err
	}
	if len(msg) > 65000 {
		return false, fmt.Errorf("%s: the change needs %d bytes, an update message has room for 65000", nameOf(&steps[0]), len(msg))
	}
	v, err := n.send(ctx, msg, n.c.key)
	if err != nil {
		return true, err
	}
	a, err := n.next(ctx, id, v)
	if err != nil {
		return a.msg == nil || a.rcode() == 0, err
	}
	return false, rcodeError("update of "+zone, a.rcode(), a.sig)
}
