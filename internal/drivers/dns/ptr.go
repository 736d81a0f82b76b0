package dns

import (
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// addPTR makes PTR records in the reverse zones from the A and AAAA records of
// the target. Where several names share an address, the first by name gets the
// PTR; one that stands in a file wins over a made one.
func (st *desiredState) addPTR(in driver.Input, spec *Spec, diags *plan.Diagnostics) {
	var zones []*zone
	for _, name := range spec.PTR.Zones {
		canonical, err := canonicalName(name, ".")
		if err != nil {
			continue // Validate has said so
		}
		zones = append(zones, st.reverseZone(canonical, spec))
	}
	// The longest name first: the most specific zone holds the record.
	slices.SortStableFunc(zones, func(a, b *zone) int { return len(b.name) - len(a.name) })
	for _, f := range st.forward(spec) {
		var data []byte
		for _, z := range zones {
			if !inZone(f.reverse, z.name) {
				continue
			}
			if s := z.get(f.reverse, mdns.TypePTR); s != nil {
				if s.made {
					diags.Warnf(f.at.source(), "", "choose with ptr.names or ptr.except", "%s has the address of another name too; the PTR stays with that of %s", f.name, s.at[0].source())
				}
				break
			}
			var err error
			if data, err = appendName(nil, f.name, "."); err != nil {
				break
			}
			k := plan.Key{Scope: z.scope(), Address: plan.Address(f.reverse + "/PTR")}
			if in.Scope != nil && !in.Scope.Contains(k, kindSet) {
				diags.Errorf(f.at.source(), "", "widen the target's scope or narrow ptr.names", "the PTR %s of %s is outside the target's scope", f.reverse, f.name)
				break
			}
			s, _ := z.set(f.reverse, mdns.TypePTR, f.ttl)
			s.Data, s.at, s.made = []string{string(data)}, []place{f.at}, true
			break
		}
	}
}

// reverseZone gives the zone that the files describe, or a new one.
func (st *desiredState) reverseZone(name string, spec *Spec) *zone {
	for _, z := range st.zones {
		if z.name == name {
			return z
		}
	}
	z := newZone(name, spec.View, "", 0)
	z.reverse = true
	st.zones = append(st.zones, z)
	return z
}

type forward struct {
	name, reverse string
	ttl           uint32
	at            place
}

// forward lists the addresses that want a PTR, in the order of their names.
func (st *desiredState) forward(spec *Spec) []forward {
	var out []forward
	for _, z := range st.zones {
		for i := range z.sets {
			s := &z.sets[i]
			if s.Type != mdns.TypeA && s.Type != mdns.TypeAAAA || strings.HasPrefix(s.Name, "*.") ||
				len(spec.PTR.Names) > 0 && !matchAny(spec.PTR.Names, s.Name, z.name) || matchAny(spec.PTR.Except, s.Name, z.name) {
				continue
			}
			for _, d := range s.Data {
				if addr := s.text(d); addr != "" {
					if rev, err := mdns.ReverseAddr(addr); err == nil {
						out = append(out, forward{name: s.Name, reverse: rev, ttl: s.TTL, at: s.at[0]})
					}
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b forward) int { return strings.Compare(a.name, b.name) })
	return out
}
