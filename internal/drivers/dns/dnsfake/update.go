package dnsfake

import (
	"github.com/miekg/dns"
)

// update carries out one UPDATE as a whole or not at all (RFC 2136 section 3)
// and gives the answer's code.
func (s *Server) update(r *dns.Msg, signed bool) int {
	q := r.Question[0]
	z := s.zones[dns.CanonicalName(q.Name)]
	switch {
	case q.Qtype != dns.TypeSOA || q.Qclass != dns.ClassINET:
		return dns.RcodeFormatError // 3.1.1
	case z == nil:
		return dns.RcodeNotAuth // 3.1.2
	case !signed:
		return dns.RcodeRefused // 3.3
	}
	if code := z.prerequisites(r.Answer); code != 0 {
		return code
	}
	for _, rr := range r.Ns {
		if code := z.prescan(rr); code != 0 {
			return code
		}
		if s.refuse != "" && dns.CanonicalName(rr.Header().Name) == s.refuse {
			return dns.RcodeRefused
		}
	}
	before := z.clone()
	for _, rr := range r.Ns {
		z.change(rr)
	}
	if z.soa().Serial == before.soa().Serial && len(r.Ns) > 0 {
		z.raise() // 3.6
	}
	return dns.RcodeSuccess
}

// prerequisites checks section 3.2: sets that exist, sets with exactly this
// data, names in use, and their opposites.
func (z *Zone) prerequisites(rrs []dns.RR) int {
	exact := map[key][]dns.RR{}
	for _, rr := range rrs {
		h := rr.Header()
		name := dns.CanonicalName(h.Name)
		k := key{name, h.Rrtype}
		switch {
		case h.Ttl != 0:
			return dns.RcodeFormatError
		case !dns.IsSubDomain(z.name, name):
			return dns.RcodeNotZone
		case h.Class == dns.ClassANY && h.Rdlength != 0, h.Class == dns.ClassNONE && h.Rdlength != 0:
			return dns.RcodeFormatError
		case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY && !z.inUse(name):
			return dns.RcodeNameError
		case h.Class == dns.ClassANY && h.Rrtype != dns.TypeANY && len(z.sets[k]) == 0:
			return dns.RcodeNXRrset
		case h.Class == dns.ClassNONE && h.Rrtype == dns.TypeANY && z.inUse(name):
			return dns.RcodeYXDomain
		case h.Class == dns.ClassNONE && h.Rrtype != dns.TypeANY && len(z.sets[k]) > 0:
			return dns.RcodeYXRrset
		case h.Class == dns.ClassINET:
			exact[k] = append(exact[k], rr)
		case h.Class != dns.ClassANY && h.Class != dns.ClassNONE:
			return dns.RcodeFormatError
		}
	}
	for k, want := range exact {
		if !equal(want, z.sets[k]) {
			return dns.RcodeNXRrset
		}
	}
	return 0
}

func equal(a, b []dns.RR) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		found := false
		for _, y := range b {
			found = found || same(x, y)
		}
		if !found {
			return false
		}
	}
	return true
}

// same compares data alone: prerequisites and removals carry other classes
// and TTLs.
func same(a, b dns.RR) bool {
	a, b = dns.Copy(a), dns.Copy(b)
	for _, rr := range []dns.RR{a, b} {
		rr.Header().Name, rr.Header().Class, rr.Header().Ttl, rr.Header().Rdlength = ".", dns.ClassINET, 0, 0
	}
	return dns.IsDuplicate(a, b)
}

// prescan is section 3.4.1.
func (z *Zone) prescan(rr dns.RR) int {
	h := rr.Header()
	meta := h.Rrtype == dns.TypeANY || h.Rrtype == dns.TypeAXFR || h.Rrtype == dns.TypeMAILA || h.Rrtype == dns.TypeMAILB
	switch {
	case !dns.IsSubDomain(z.name, dns.CanonicalName(h.Name)):
		return dns.RcodeNotZone
	case h.Class == dns.ClassINET && !meta:
		return 0
	case h.Class == dns.ClassANY && h.Ttl == 0 && h.Rdlength == 0 && (h.Rrtype == dns.TypeANY || !meta):
		return 0
	case h.Class == dns.ClassNONE && h.Ttl == 0 && !meta:
		return 0
	}
	return dns.RcodeFormatError
}

// change is section 3.4.2: what can't be done is dropped in silence.
func (z *Zone) change(rr dns.RR) {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	k := key{name, h.Rrtype}
	apex := name == z.name && (h.Rrtype == dns.TypeSOA || h.Rrtype == dns.TypeNS)
	switch h.Class {
	case dns.ClassINET:
		z.insert(rr, k)
	case dns.ClassANY:
		if h.Rrtype == dns.TypeANY {
			for have := range z.sets {
				if have.name == name && (name != z.name || have.typ != dns.TypeSOA && have.typ != dns.TypeNS) {
					delete(z.sets, have)
				}
			}
		} else if !apex {
			delete(z.sets, k)
		}
	case dns.ClassNONE:
		if h.Rrtype == dns.TypeSOA || apex && len(z.sets[k]) == 1 {
			return
		}
		var kept []dns.RR
		for _, have := range z.sets[k] {
			if !same(have, rr) {
				kept = append(kept, have)
			}
		}
		if z.sets[k] = kept; len(kept) == 0 {
			delete(z.sets, k)
		}
	}
}

// insert is section 3.4.2.2: no CNAME beside others, no others beside a CNAME,
// no SOA with a serial that is not above the zone's.
func (z *Zone) insert(rr dns.RR, k key) {
	for have, rrs := range z.sets {
		if have.name == k.name && len(rrs) > 0 && (k.typ == dns.TypeCNAME) != (have.typ == dns.TypeCNAME) {
			return
		}
	}
	if soa, ok := rr.(*dns.SOA); ok && (k.name != z.name || int32(soa.Serial-z.soa().Serial) <= 0) {
		return
	}
	z.add(dns.Copy(rr))
}

func (z *Zone) clone() *Zone {
	c := &Zone{name: z.name, sets: make(map[key][]dns.RR, len(z.sets))}
	for k, rrs := range z.sets {
		c.sets[k] = append([]dns.RR(nil), rrs...)
	}
	return c
}
