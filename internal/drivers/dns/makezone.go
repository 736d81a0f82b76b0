package dns

import (
	"context"
	"errors"
	"fmt"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
)

// missing deals with a zone that the server does not have: it is an error,
// unless the target may make it. Its realm is then the one it will have.
func (z *zoneSet) missing(ref zoneRef, l *live) error {
	if !z.spec.CreateZone || ref.reverse || z.state == nil {
		return driver.Permanent(fmt.Errorf("the server has no zone %s: create it there, or set createZone: true", ref.name))
	}
	start, err := z.startOf(ref.name)
	if err != nil {
		return driver.Permanent(err)
	}
	l.realm = realm(ref.name, ref.view, mname(start[0]), l.identity)
	return nil
}

// startOf gives the SOA and NS that a new zone begins with: the file's, and
// where it has no SOA (octoDNS) one made from its first name server.
func (z *zoneSet) startOf(name string) ([]RRset, error) {
	var soa, ns *RRset
	for _, zo := range z.state.zones {
		if zo.name != name {
			continue
		}
		for i := range zo.start {
			if zo.start[i].Type == mdns.TypeSOA {
				soa = &zo.start[i]
			} else {
				ns = &zo.start[i]
			}
		}
	}
	if ns == nil {
		return nil, fmt.Errorf("createZone: the file names no NS for %s", name)
	}
	if soa != nil {
		return []RRset{*soa, *ns}, nil
	}
	primary := targets(mdns.TypeNS, ns.Data[0])[0]
	data, err := parseRdata(mdns.TypeSOA, primary+" hostmaster 1 10800 3600 604800 3600", name)
	if err != nil {
		return nil, err
	}
	return []RRset{{Name: name, Type: mdns.TypeSOA, TTL: 3600, Data: []string{data}}, *ns}, nil
}

func (z *zoneSet) writeZone(ctx context.Context, zone string, create bool) error {
	m, ok := z.backend.(zoneMaker)
	if !ok {
		return driver.Permanent(errors.New("zones can't be made or removed over dynamic update"))
	}
	if !create {
		return m.removeZone(ctx, zone)
	}
	start, err := z.startOf(zone)
	if err != nil {
		return driver.Permanent(err)
	}
	return m.createZone(ctx, zone, start)
}
