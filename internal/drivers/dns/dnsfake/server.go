// Package dnsfake is a small authoritative DNS server in the process: queries,
// transfers (RFC 5936), dynamic updates with prerequisites (RFC 2136) and TSIG
// (RFC 8945). It is strict where the RFCs are, so that a driver which passes
// against it has a chance with real servers. Tests use it, and the demo where
// no server can be installed.
package dnsfake

import (
	"encoding/base64"
	"fmt"
	"net"
	"sort"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Server is a running server. Its knobs may be turned while it runs.
type Server struct {
	Addr string
	// Name, Algorithm and Secret are the key that transfers and updates need.
	Name, Algorithm, Secret string

	mu    sync.Mutex
	zones map[string]*Zone
	tcp   *dns.Server
	udp   *dns.Server
	// cutTransfers ends transfers in the middle, refuseAll refuses everything.
	cutTransfers, refuseAll bool
	// refuse is a name whose updates are refused; drop loses the answer of the
	// next update, after it was carried out.
	refuse string
	drop   bool
}

// Zone is a zone's records by name and type, in presentation form.
type Zone struct {
	name string
	sets map[key][]dns.RR
}

type key struct {
	name string
	typ  uint16
}

// Start starts a server on a free loopback port with zones in master file
// form, by name.
func Start(zones map[string]string) (*Server, error) {
	s := &Server{Name: "fake.", Algorithm: dns.HmacSHA256, Secret: base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two bytes----")),
		zones: map[string]*Zone{}}
	for name, text := range zones {
		if err := s.AddZone(name, text); err != nil {
			return nil, err
		}
	}
	return s, s.listen()
}

// AddZone adds a zone.
func (s *Server) AddZone(name, text string) error {
	z := &Zone{name: dns.CanonicalName(name), sets: map[key][]dns.RR{}}
	zp := dns.NewZoneParser(strings.NewReader(text), z.name, "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		z.add(rr)
	}
	if err := zp.Err(); err != nil {
		return err
	}
	if len(z.sets[key{z.name, dns.TypeSOA}]) != 1 {
		return fmt.Errorf("zone %s: one SOA is needed", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[z.name] = z
	return nil
}

func (s *Server) listen() error {
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			_ = l.Close()
			if try < 20 {
				continue
			}
			return err
		}
		s.Addr = l.Addr().String()
		secrets := map[string]string{s.Name: s.Secret}
		accept := func(h dns.Header) dns.MsgAcceptAction {
			if op := int(h.Bits>>11) & 15; op == dns.OpcodeUpdate || op == dns.OpcodeQuery {
				return dns.MsgAccept
			}
			return dns.MsgRejectNotImplemented
		}
		s.tcp = &dns.Server{Listener: l, Handler: s, TsigSecret: secrets, MsgAcceptFunc: accept}
		s.udp = &dns.Server{PacketConn: p, Handler: s, TsigSecret: secrets, MsgAcceptFunc: accept}
		var ready sync.WaitGroup
		ready.Add(2)
		s.tcp.NotifyStartedFunc, s.udp.NotifyStartedFunc = ready.Done, ready.Done
		go func() { _ = s.tcp.ActivateAndServe() }()
		go func() { _ = s.udp.ActivateAndServe() }()
		ready.Wait()
		return nil
	}
}

// Stop ends the server.
func (s *Server) Stop() {
	_ = s.tcp.Shutdown()
	_ = s.udp.Shutdown()
}

// TSIG gives the key as "name:algorithm:base64".
func (s *Server) TSIG() string {
	return strings.TrimSuffix(s.Name, ".") + ":" + strings.TrimSuffix(s.Algorithm, ".") + ":" + s.Secret
}

// CutTransfers makes transfers end in the middle.
func (s *Server) CutTransfers(on bool) { s.mu.Lock(); s.cutTransfers = on; s.mu.Unlock() }

// Refuse refuses everything that is asked.
func (s *Server) Refuse(on bool) { s.mu.Lock(); s.refuseAll = on; s.mu.Unlock() }

// RefuseName refuses every update that touches a name; "" refuses none.
func (s *Server) RefuseName(name string) {
	s.mu.Lock()
	s.refuse = dns.CanonicalName(name)
	if name == "" {
		s.refuse = ""
	}
	s.mu.Unlock()
}

// DropAnswer closes the connection in place of the next update's answer; the
// update is carried out.
func (s *Server) DropAnswer() { s.mu.Lock(); s.drop = true; s.mu.Unlock() }

// Records gives a zone's records as text, sorted.
func (s *Server) Records(zone string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	if z := s.zones[dns.CanonicalName(zone)]; z != nil {
		for _, rrs := range z.sets {
			for _, rr := range rrs {
				out = append(out, rr.String())
			}
		}
	}
	sort.Strings(out)
	return out
}

// Edit changes a zone past the protocol: record texts to add, and names with
// types ("www.example.com. A") whose sets to remove. The serial is raised.
func (s *Server) Edit(zone string, add, remove []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.zones[dns.CanonicalName(zone)]
	if z == nil {
		return fmt.Errorf("no zone %s", zone)
	}
	for _, r := range remove {
		name, typ, _ := strings.Cut(r, " ")
		delete(z.sets, key{dns.CanonicalName(name), dns.StringToType[typ]})
	}
	for _, a := range add {
		rr, err := dns.NewRR(a)
		if err != nil {
			return err
		}
		z.add(rr)
	}
	z.raise()
	return nil
}

func (z *Zone) add(rr dns.RR) {
	h := rr.Header()
	h.Name = dns.CanonicalName(h.Name)
	k := key{h.Name, h.Rrtype}
	for i, have := range z.sets[k] {
		// RFC 2136 section 3.4.2.2: the same data is replaced, TTL and all.
		if dns.IsDuplicate(have, rr) {
			z.sets[k][i] = rr
			z.setTTL(k, h.Ttl)
			return
		}
	}
	if h.Rrtype == dns.TypeCNAME || h.Rrtype == dns.TypeSOA {
		z.sets[k] = nil // one record at most: the new one takes its place
	}
	z.sets[k] = append(z.sets[k], rr)
	z.setTTL(k, h.Ttl)
}

// setTTL keeps one TTL in a set, as RFC 2181 section 5.2 wants.
func (z *Zone) setTTL(k key, ttl uint32) {
	for _, rr := range z.sets[k] {
		rr.Header().Ttl = ttl
	}
}

func (z *Zone) soa() *dns.SOA { return z.sets[key{z.name, dns.TypeSOA}][0].(*dns.SOA) }

func (z *Zone) raise() {
	soa := *z.soa()
	soa.Serial++
	z.sets[key{z.name, dns.TypeSOA}] = []dns.RR{&soa}
}
