package health

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"trueup.dev/trueup/internal/config"
)

// nameServer answers for example.test over UDP and TCP on one port.
func nameServer(t *testing.T, zone ...string) string {
	t.Helper()
	l := listen(t)
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mux := dns.NewServeMux()
	mux.HandleFunc("example.test.", func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Rcode = dns.RcodeNameError
		for _, line := range zone {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Error(err)
				return
			}
			if strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
				m.Rcode = dns.RcodeSuccess
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(512)
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{Listener: l, Handler: mux}, {PacketConn: pc, Handler: mux}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return l.Addr().String()
}

func TestDNS(t *testing.T) {
	zone := []string{
		"www.example.test. 60 IN A 192.0.2.1",
		"www.example.test. 60 IN A 192.0.2.2",
		"www.example.test. 60 IN AAAA 2001:db8::1",
		"example.test. 60 IN MX 10 Mail.example.test.",
		`example.test. 60 IN TXT "v=spf1 " "-all"`,
	}
	for i := range 200 {
		zone = append(zone, fmt.Sprintf("big.example.test. 60 IN A 198.51.100.%d", i))
	}
	server := nameServer(t, zone...)
	ask := func(name, typ string, expect ...string) config.Health {
		return config.Health{DNS: &config.DNSCheck{Name: name, Type: typ, Server: server, Expect: expect}}
	}
	c := &Checker{}
	for _, h := range []config.Health{
		ask("www.example.test", ""),
		ask("www.example.test.", "a", "192.0.2.2"),
		ask("www.example.test", "AAAA", "2001:0db8:0::1"),
		ask("example.test", "MX", "10 mail.example.test."),
		ask("example.test", "TXT", "v=spf1 -all"),
		ask("example.test", "TXT", `"v=spf1 -all"`),
		// Cut short over UDP, so asked again over TCP.
		ask("big.example.test", "A", "198.51.100.0", "198.51.100.199"),
	} {
		healthy(t, c, h)
	}
	unhealthy(t, c, ask("www.example.test", "A", "192.0.2.2", "192.0.2.9"), "answered 192.0.2.1, 192.0.2.2, without 192.0.2.9")
	unhealthy(t, c, ask("nope.example.test", "A"), "NXDOMAIN")
	unhealthy(t, c, ask("www.example.test", "MX"), "answered without a MX record")
	unhealthy(t, c, ask("other.test", "A"), "REFUSED")
	long := func(d config.DNSCheck) config.Health { return config.Health{DNS: &d, Within: time.Hour} }
	unhealthy(t, c, long(config.DNSCheck{Name: "x.test", Type: "NOPE", Server: server}), "no type")
	unhealthy(t, c, long(config.DNSCheck{Name: "", Server: server}), "no DNS name")
	unhealthy(t, c, config.Health{DNS: &config.DNSCheck{Name: "x.test", Server: "169.254.169.253"}}, "link-local")
}

// A server that is silent is given up in time.
func TestDNSSilent(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	start := time.Now()
	unhealthy(t, &Checker{}, config.Health{DNS: &config.DNSCheck{Name: "x.test", Server: pc.LocalAddr().String()}, Within: time.Second}, "not healthy within 1s")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

// Every name server of the zone must give the answer; one that does not
// answer makes the check fail.
func TestEveryNameserver(t *testing.T) {
	zone := []string{
		"example.test. 60 IN NS ns1.example.test.",
		"ns1.example.test. 60 IN A 127.0.0.1",
		"www.example.test. 60 IN A 192.0.2.1",
	}
	ask := func(server string) config.Health {
		return config.Health{DNS: &config.DNSCheck{Name: "www.example.test", Server: server, Ask: "every-nameserver", Expect: []string{"192.0.2.1"}}, Within: time.Second}
	}
	c := &Checker{}
	healthy(t, c, ask(nameServer(t, zone...)))
	dead := append([]string{"example.test. 60 IN NS ns2.example.test.", "ns2.example.test. 60 IN A 127.0.0.9"}, zone...)
	unhealthy(t, c, ask(nameServer(t, dead...)), "127.0.0.9")
	unhealthy(t, c, ask(nameServer(t, "www.example.test. 60 IN A 192.0.2.1")), "no zone of www.example.test. names its servers")
}
