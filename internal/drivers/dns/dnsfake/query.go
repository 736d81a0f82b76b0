package dnsfake

import (
	"sort"

	"github.com/miekg/dns"
)

// ServeDNS answers one message.
func (s *Server) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(r)
	tsig := r.IsTsig()
	if tsig != nil && w.TsigStatus() != nil {
		// RFC 8945 section 5.2: NOTAUTH, with the reason in the TSIG.
		m.Rcode = dns.RcodeNotAuth
		m.Extra = append(m.Extra, &dns.TSIG{Hdr: dns.RR_Header{Name: tsig.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
			Algorithm: tsig.Algorithm, TimeSigned: tsig.TimeSigned, Fudge: 300, OrigId: r.Id, Error: badTSIG(w.TsigStatus())})
		_ = w.WriteMsg(m)
		return
	}
	sign := func(m *dns.Msg) {
		if tsig != nil {
			m.SetTsig(tsig.Hdr.Name, tsig.Algorithm, 300, int64(tsig.TimeSigned))
		}
	}
	switch {
	case len(r.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case s.refuseAll:
		m.Rcode = dns.RcodeRefused
	case r.Opcode == dns.OpcodeUpdate:
		m.Rcode = s.update(r, tsig != nil)
		if s.drop {
			s.drop = false
			_ = w.Close()
			return
		}
	case r.Question[0].Qtype == dns.TypeAXFR:
		s.transfer(w, r, m, sign, tsig != nil)
		return
	default:
		s.query(r.Question[0], m)
	}
	sign(m)
	_ = w.WriteMsg(m)
}

func badTSIG(err error) uint16 {
	switch err {
	case dns.ErrSecret, dns.ErrKeyAlg:
		return dns.RcodeBadKey
	case dns.ErrTime:
		return dns.RcodeBadTime
	}
	return dns.RcodeBadSig
}

func (s *Server) query(q dns.Question, m *dns.Msg) {
	if q.Qclass == dns.ClassCHAOS {
		m.Rcode = dns.RcodeRefused
		return
	}
	name := dns.CanonicalName(q.Name)
	var zone *Zone
	for _, z := range s.zones {
		if dns.IsSubDomain(z.name, name) && (zone == nil || len(z.name) > len(zone.name)) {
			zone = z
		}
	}
	if zone == nil {
		m.Rcode = dns.RcodeRefused
		return
	}
	m.Authoritative = true
	for range 8 {
		if rrs := zone.sets[key{name, q.Qtype}]; len(rrs) > 0 {
			m.Answer = append(m.Answer, rrs...)
			return
		}
		c := zone.sets[key{name, dns.TypeCNAME}]
		if len(c) == 0 {
			break
		}
		m.Answer = append(m.Answer, c[0])
		name = dns.CanonicalName(c[0].(*dns.CNAME).Target)
	}
	if len(m.Answer) == 0 && !zone.inUse(name) {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = append(m.Ns, zone.soa())
}

func (z *Zone) inUse(name string) bool {
	for k, rrs := range z.sets {
		if k.name == name && len(rrs) > 0 {
			return true
		}
	}
	return false
}

// transfer sends a zone between two copies of its SOA (RFC 5936 section 2.2),
// in messages of 100 records.
func (s *Server) transfer(w dns.ResponseWriter, r, m *dns.Msg, sign func(*dns.Msg), signed bool) {
	z := s.zones[dns.CanonicalName(r.Question[0].Name)]
	switch {
	case !signed:
		m.Rcode = dns.RcodeRefused
	case z == nil:
		m.Rcode = dns.RcodeNotAuth
	}
	if m.Rcode != 0 {
		sign(m)
		_ = w.WriteMsg(m)
		return
	}
	rrs := z.transferOrder()
	if s.cutTransfers {
		rrs = rrs[:len(rrs)/2]
	}
	for first := true; len(rrs) > 0; first = false {
		out := new(dns.Msg)
		out.SetReply(r)
		out.Authoritative, out.Compress = true, true
		n := min(len(rrs), 100)
		out.Answer, rrs = rrs[:n], rrs[n:]
		sign(out)
		if w.WriteMsg(out) != nil {
			return
		}
		if first {
			w.TsigTimersOnly(true)
		}
	}
	if s.cutTransfers {
		_ = w.Close()
	}
}

func (z *Zone) transferOrder() []dns.RR {
	keys := make([]key, 0, len(z.sets))
	for k := range z.sets {
		if k.typ != dns.TypeSOA {
			keys = append(keys, k)
		}
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].name != keys[j].name {
			return keys[i].name < keys[j].name
		}
		return keys[i].typ < keys[j].typ
	})
	soa := z.soa()
	out := []dns.RR{soa}
	for _, k := range keys {
		out = append(out, z.sets[k]...)
	}
	return append(out, soa)
}
