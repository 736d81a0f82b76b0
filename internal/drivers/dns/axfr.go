package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
)

// live is what a server holds of one zone.
type live struct {
	soa   RRset
	realm string
	sets  []RRset
	index index
	data  chunk[string]
	// missing marks a zone that the server does not have.
	missing  bool
	identity string // of the server, where a zone is missing
}

func (l *live) add(name string, r RRset, data string) {
	if n := len(l.sets); n > 0 && l.sets[n-1].Name == name && l.sets[n-1].Type == r.Type {
		l.sets[n-1].Data = append(l.sets[n-1].Data, data)
		return
	}
	h := hashSet(name, r.Type)
	if i := l.index.find(h, func(i int32) bool { return l.sets[i].Type == r.Type && l.sets[i].Name == name }); i >= 0 {
		l.sets[i].Data = append(l.sets[i].Data, data)
		return
	}
	l.index.put(h, int32(len(l.sets)))
	r.Name, r.Data = name, l.data.one(data)
	l.sets = append(l.sets, r)
}

func (l *live) sort() {
	for i := range l.sets {
		l.sets[i].sort()
	}
}

// newLive makes room for a number of sets.
func newLive(room int) *live {
	return &live{index: newIndex(room), sets: make([]RRset, 0, room)}
}

// readZone transfers a zone (RFC 5936). A transfer that does not end with the
// SOA that it began with is an error, never a smaller zone.
func (c *client) readZone(ctx context.Context, zone, view string, room int) (*live, error) {
	n, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	id, err := n.identity(ctx)
	if err != nil {
		return nil, err
	}
	l, err := n.transfer(ctx, zone, room)
	if err != nil {
		return nil, fmt.Errorf("transfer of %s: %w", zone, err)
	}
	l.sort()
	l.realm = realm(zone, view, mname(l.soa), id)
	return l, nil
}

// realm names what an environment is, whatever address leads to it: the zone,
// its view, the primary's name in the SOA and the name that the server gives
// itself.
func realm(zone, view, mname, id string) string {
	s := "dns:" + string(scopeName(zone, view)) + "@" + mname
	if id != "" {
		s += "#" + id
	}
	return s
}

func (n *conn) transfer(ctx context.Context, zone string, room int) (*live, error) {
	id := uint16(rand.Uint32())
	msg, err := newQuery(id, zone, mdns.TypeAXFR, mdns.ClassINET)
	if err != nil {
		return nil, err
	}
	v, err := n.send(ctx, msg, n.c.key)
	if err != nil {
		return nil, err
	}
	t := transfer{zone: zone, live: newLive(room)}
	for !t.done {
		a, err := n.next(ctx, id, v)
		if err != nil {
			return nil, t.cut(err)
		}
		if err := rcodeError("AXFR", a.rcode(), a.sig); err != nil {
			return nil, err
		}
		if a.truncated() || a.answers == 0 {
			return nil, errors.New("the server cut the transfer short")
		}
		if err := t.message(a); err != nil {
			return nil, err
		}
	}
	return t.live, v.end()
}

type transfer struct {
	zone string
	live *live
	last string
	room []byte
	done bool
}

func (t *transfer) cut(err error) error {
	if errors.Is(err, driver.ErrUnreachable) && t.live.soa.Name != "" {
		return fmt.Errorf("cut short after %d sets: %w", len(t.live.sets), err)
	}
	return err
}

func (t *transfer) message(a answer) error {
	return eachAnswer(a.msg, a.header, func(name []byte, r wireRecord) error {
		if t.done {
			return errors.New("records behind the last SOA")
		}
		if r.class != mdns.ClassINET {
			return fmt.Errorf("class %d in the transfer", r.class)
		}
		if t.last != string(name) {
			t.last = string(name)
		}
		if r.typ == mdns.TypeSOA {
			return t.soa(a.msg, r)
		}
		if t.live.soa.Name == "" {
			return errors.New("the transfer does not begin with a SOA")
		}
		if !inZone(t.last, t.zone) {
			return fmt.Errorf("%s is outside the zone", t.last)
		}
		var err error
		if t.room, err = appendRdata(t.room[:0], a.msg, r.data, r.size, r.typ); err != nil {
			return fmt.Errorf("%s: %w", t.last, err)
		}
		t.live.add(t.last, RRset{Type: r.typ, TTL: r.ttl}, string(t.room))
		return nil
	})
}

func (t *transfer) soa(msg []byte, r wireRecord) error {
	soa, err := soaSet(t.zone, msg, r)
	switch {
	case err != nil:
		return err
	case t.last != t.zone:
		return fmt.Errorf("a SOA of %s in the transfer", t.last)
	case t.live.soa.Name == "":
		t.live.soa = soa
	case t.live.soa.Serial != soa.Serial || !t.live.soa.same(&soa):
		return errors.New("the transfer ends with another SOA than it began with")
	default:
		t.done = true
	}
	return nil
}
