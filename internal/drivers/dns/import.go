package dns

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Import writes live zones as zone files: what names the zones, by default
// all of the environment's.
func (s *session) Import(ctx context.Context, in driver.Input, what []string) (driver.Imported, error) {
	spec, err := specOf(in)
	if err != nil {
		return driver.Imported{}, err
	}
	zones := s.connect.zones()
	if spec.Zone != "" {
		zones = []string{spec.Zone}
	}
	if len(what) > 0 {
		zones = what
	}
	if len(zones) == 0 {
		return driver.Imported{}, driver.Permanent(fmt.Errorf("name the zones to import: the environment names none"))
	}
	out := driver.Imported{Files: map[string][]byte{}}
	for _, name := range zones {
		zone, err := canonicalName(name, ".")
		if err != nil {
			return out, driver.Permanent(err)
		}
		if err := s.allowed(zone); err != nil {
			return out, err
		}
		l, err := s.backend.read(ctx, zone, s.connect.View, 0)
		if err != nil {
			return out, err
		}
		if l.missing {
			return out, driver.Permanent(fmt.Errorf("the server has no zone %s", zone))
		}
		out.Files[importPath(in.Path, zone, len(zones))] = l.file(zone, &out.Warnings)
	}
	imported := &Spec{Format: "zonefile", View: spec.View, Ownership: spec.Ownership, Ignore: spec.Ignore}
	if len(zones) == 1 {
		imported.Zone = strings.TrimSuffix(zones[0], ".")
	}
	out.Spec = imported
	return out, nil
}

// importPath is where a zone's file goes: the target's own path, or a file in
// its directory.
func importPath(target, zone string, zones int) string {
	if ext := path.Ext(target); zones == 1 && (ext == ".zone" || ext == ".db" || ext == ".txt") {
		return target
	}
	return path.Join(target, strings.ReplaceAll(strings.TrimSuffix(zone, "."), "/", "-")+".zone")
}

// file writes a zone in canonical form: sorted by name from the apex down,
// grouped, names relative to the zone.
func (l *live) file(zone string, warnings *plan.Diagnostics) []byte {
	sets := make([]*RRset, 0, len(l.sets)+1)
	soa := l.soa
	if len(soa.Data) == 1 {
		soa.Data = []string{withSerial(soa.Data[0], soa.Serial)}
		sets = append(sets, &soa)
	}
	ttls := map[uint32]int{}
	left := 0
	for i := range l.sets {
		r := &l.sets[i]
		switch {
		case serverMade[r.Type]:
			left++
		case r.Type == typeALIAS, r.Type == typeLUA, r.Type == typeOther:
			warnings.Warnf(plan.Source{}, "", "", "%s is of a type that only this server knows: it was left out", r.address())
		case len(r.Disabled) > 0:
			warnings.Warnf(plan.Source{}, "", "", "%s holds disabled records: it was left out", r.address())
		default:
			sets = append(sets, r)
			ttls[r.TTL]++
		}
	}
	if left > 0 {
		warnings.Warnf(plan.Source{}, "", "", "%d sets of %s that the server makes (DNSSEC) were left out", left, zone)
	}
	slices.SortFunc(sets, func(a, b *RRset) int { return compareSets(a, b) })
	ttl, most := uint32(3600), 0
	for t, n := range ttls {
		if n > most || n == most && t < ttl {
			ttl, most = t, n
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL %d\n", zone, ttl)
	last := ""
	for _, r := range sets {
		name := relative(r.Name, zone)
		if name == last {
			name = ""
		} else {
			last = name
		}
		for _, d := range r.Data {
			own := ""
			if r.TTL != ttl {
				own = fmt.Sprintf("%d ", r.TTL)
			}
			fmt.Fprintf(&b, "%-23s %sIN %-5s %s\n", name, own, typeName(r.Type), r.text(d))
			name = ""
		}
	}
	return []byte(b.String())
}

// compareSets orders by name in canonical order (RFC 4034 section 6.1), with
// SOA and NS first at a name.
func compareSets(a, b *RRset) int {
	if a.Name != b.Name {
		x, y := labels(a.Name), labels(b.Name)
		for i := 1; i <= min(len(x), len(y)); i++ {
			if c := strings.Compare(x[len(x)-i], y[len(y)-i]); c != 0 {
				return c
			}
		}
		return len(x) - len(y)
	}
	rank := func(t uint16) int {
		switch t {
		case mdns.TypeSOA:
			return 0
		case mdns.TypeNS:
			return 1
		}
		return 2
	}
	if c := rank(a.Type) - rank(b.Type); c != 0 {
		return c
	}
	return int(a.Type) - int(b.Type)
}

// relative shortens a name inside its zone.
func relative(name, zone string) string {
	switch {
	case name == zone:
		return "@"
	case zone == ".":
		return name
	}
	return strings.TrimSuffix(name, "."+zone)
}
