package dns

import (
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// serverMade are the types that a signing server makes; they are never
// managed.
var serverMade = map[uint16]bool{
	mdns.TypeRRSIG: true, mdns.TypeNSEC: true, mdns.TypeNSEC3: true, mdns.TypeNSEC3PARAM: true,
	mdns.TypeDNSKEY: true, mdns.TypeCDS: true, mdns.TypeCDNSKEY: true, 65534: true,
}

// finish checks every zone as a whole, leaves out what is not managed and
// adds PTR records.
func (st *desiredState) finish(in driver.Input, spec *Spec, diags *plan.Diagnostics) {
	seen := map[string]string{}
	managed := 0
	for _, z := range st.zones {
		if other, dup := seen[z.name]; dup {
			diags.Errorf(plan.Source{File: z.file}, "", "keep one of them", "%s describes the zone %s too", other, z.name)
		}
		seen[z.name] = z.file
		z.check(diags)
		for i := range z.sets {
			z.sets[i].sort()
		}
		z.keepSOA()
		z.leaveOut(in, spec, diags)
		managed += z.managed
	}
	if managed == 0 && len(st.zones) > 0 && in.Mode != plan.Destroy && diags.Err() == nil {
		diags.Errorf(plan.Source{File: in.Path}, "", "to remove everything on purpose, destroy the target", "it declares no record that is managed")
	}
	if spec.PTR != nil {
		st.addPTR(in, spec, diags)
	}
}

// check finds what only the whole zone shows.
func (z *zone) check(diags *plan.Diagnostics) {
	cnames := map[string]*desiredSet{}
	for i := range z.sets {
		if s := &z.sets[i]; s.Type == mdns.TypeCNAME {
			z.checkCNAME(s, diags)
			cnames[s.Name] = s
		}
	}
	for i := range z.sets {
		s := &z.sets[i]
		if c := cnames[s.Name]; c != nil && s != c && s.Name != z.name {
			diags.Errorf(c.at[0].source(), "", "remove one of them", "a CNAME for %s beside its %s (%s)", s.Name, typeName(s.Type), s.at[0].source())
		}
		z.checkSet(s, diags)
		z.checkTargets(s, diags)
	}
}

func (z *zone) checkSet(s *desiredSet, diags *plan.Diagnostics) {
	switch at := s.at[0].source(); {
	case serverMade[s.Type]:
		diags.Errorf(at, "", "remove it: the server makes these records", "%s records can't be managed", typeName(s.Type))
	case s.Type == mdns.TypeSOA && s.Name != z.name:
		diags.Errorf(at, "", "remove it, or set spec.zone", "a SOA of %s in the zone %s", s.Name, z.name)
	case (s.Type == mdns.TypeSOA || s.Type == mdns.TypeDNAME) && len(s.at) > 1:
		diags.Errorf(s.at[1].source(), "", "remove one of them", "a second %s for %s (%s)", typeName(s.Type), s.Name, at)
	case s.Type == mdns.TypeDS && s.Name == z.name:
		diags.Errorf(at, "", "the parent zone holds it", "a DS of the zone itself")
	case s.Type == mdns.TypeDS && z.get(s.Name, mdns.TypeNS) == nil:
		diags.Warnf(at, "", "add the NS records", "%s has DS records but no NS records", s.Name)
	}
}

func (z *zone) checkCNAME(s *desiredSet, diags *plan.Diagnostics) {
	if len(s.at) > 1 {
		diags.Errorf(s.at[1].source(), "", "remove one of them", "a second CNAME for %s (%s)", s.Name, s.at[0].source())
	}
	if s.Name == z.name {
		diags.Errorf(s.at[0].source(), "", "use A and AAAA records", "a CNAME at the zone's own name, beside its SOA and NS")
	}
}

// checkTargets warns of names inside the zone that nothing stands behind.
func (z *zone) checkTargets(s *desiredSet, diags *plan.Diagnostics) {
	if s.Type != mdns.TypeCNAME && s.Type != mdns.TypeNS && s.Type != mdns.TypeMX && s.Type != mdns.TypeSRV || len(s.Unknown) > 0 {
		return
	}
	for i, data := range s.Data {
		for _, target := range targets(s.Type, data) {
			if target != "." && target != z.name && inZone(target, z.name) && !z.below(target) {
				z.checkTarget(s, s.at[min(i, len(s.at)-1)].source(), target, diags)
			}
		}
	}
}

func (z *zone) checkTarget(s *desiredSet, at plan.Source, target string, diags *plan.Diagnostics) {
	name := target
	if !z.exists(name) {
		name = z.wildcard(target)
	}
	what := typeName(s.Type)
	switch alias := s.Type == mdns.TypeCNAME; {
	case name == "":
		diags.Warnf(at, "", "", "the %s of %s points to %s, which does not exist in the zone", what, s.Name, target)
	case !alias && z.get(name, mdns.TypeCNAME) != nil:
		diags.Warnf(at, "", "point it to a name with addresses", "the %s of %s points to %s, which is a CNAME", what, s.Name, target)
	case !alias && z.get(name, mdns.TypeA) == nil && z.get(name, mdns.TypeAAAA) == nil:
		diags.Warnf(at, "", "", "the %s of %s points to %s, which has no address in the zone", what, s.Name, target)
	}
}

// exists tells whether the zone holds anything at a name.
func (z *zone) exists(name string) bool {
	if z.get(name, mdns.TypeA) != nil || z.get(name, mdns.TypeAAAA) != nil || z.get(name, mdns.TypeCNAME) != nil {
		return true
	}
	if z.names == nil {
		z.names = make(map[string]bool, len(z.sets))
		for i := range z.sets {
			z.names[z.sets[i].Name] = true
		}
	}
	return z.names[name]
}

// below tells whether a name lies in a child zone or under a DNAME, where this
// zone does not speak for it.
func (z *zone) below(name string) bool {
	for n := parent(name); n != "" && n != z.name && inZone(n, z.name); n = parent(n) {
		if z.get(n, mdns.TypeNS) != nil || z.get(n, mdns.TypeDNAME) != nil {
			return true
		}
	}
	return false
}

// wildcard gives the wildcard that answers for a name, or "".
func (z *zone) wildcard(name string) string {
	for n := parent(name); n != "" && inZone(n, z.name); n = parent(n) {
		if w := "*." + n; z.exists(w) {
			return w
		}
		if z.exists(n) {
			return "" // RFC 4592: the closest encloser has no wildcard
		}
	}
	return ""
}

func parent(name string) string {
	for i := 0; i < len(name); i++ {
		if name[i] == '.' && !escapedDot(name, i) {
			return name[i+1:]
		}
	}
	return ""
}

// keepSOA remembers what a new zone begins with.
func (z *zone) keepSOA() {
	for _, typ := range []uint16{mdns.TypeSOA, mdns.TypeNS} {
		if s := z.get(z.name, typ); s != nil && len(s.Unknown) == 0 {
			z.start = append(z.start, s.RRset)
			if typ == mdns.TypeSOA && len(s.Data) == 1 {
				// The serial is the server's: it takes no part in comparing.
				_, data := takeSerial([]byte(s.Data[0]))
				s.Data = []string{string(data)}
			}
		}
	}
}

// leaveOut takes SOA and apex NS out unless they are asked for, and refuses
// what is outside the target's scope.
func (z *zone) leaveOut(in driver.Input, spec *Spec, diags *plan.Diagnostics) {
	z.names = nil
	scope := z.scope()
	for i := range z.sets {
		s := &z.sets[i]
		switch {
		case s.Type == mdns.TypeSOA && !spec.ManageSOA, s.Type == mdns.TypeNS && s.Name == z.name && !spec.ManageApexNS:
			s.skip = true
			continue
		case len(spec.Ignore) > 0 && matchAny(spec.Ignore, s.Name, z.name):
			diags.Errorf(s.at[0].source(), "", "remove it here or in spec.ignore", "%s is declared and ignored at once (ignore: %s)", s.Name, strings.Join(spec.Ignore, ", "))
		case outside(in, plan.Key{Scope: scope}, &s.RRset):
			diags.Errorf(s.at[0].source(), "", "remove it, or widen the target's scope", "%s is outside the target's scope", s.address())
		}
		z.managed++
	}
}

// outside tells whether a set lies outside the target's scope.
func outside(in driver.Input, k plan.Key, r *RRset) bool {
	if s, ok := in.Scope.(*Scope); in.Scope == nil || ok && s.empty() {
		return false
	}
	k.Address = r.address()
	return !in.Scope.Contains(k, kindSet)
}
