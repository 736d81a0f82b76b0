//go:build real

package dns

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/dnsserver"
)

// proxy stands between driver and server, to refuse connections or to cut
// answers short.
type proxy struct {
	net.Listener
	to     string
	refuse atomic.Bool
	limit  atomic.Int64 // of bytes that go back on one connection; 0 for none
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	if p.refuse.Load() {
		return
	}
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		_, _ = io.Copy(s, c)
		_ = s.(*net.TCPConn).CloseWrite()
	}()
	var back io.Reader = s
	if n := p.limit.Load(); n > 0 {
		back = io.LimitReader(s, n)
	}
	_, _ = io.Copy(c, back)
}

// realWorld is a zone on a real server; it is looked at with dig and changed
// by hand with nsupdate.
type realWorld struct {
	srv *dnsserver.Server
	*proxy
	api bool
	cut int64
}

func newRealWorld(start func(dnsserver.TB, ...dnsserver.Zone) *dnsserver.Server, api bool) func(testing.TB) drivertest.World {
	return func(t testing.TB) drivertest.World {
		srv := start(t, dnsserver.Zone{Name: "example.com", Text: emptyZone + "ns1 IN A 127.0.0.1\n"})
		w := &realWorld{srv: srv, api: api, cut: 200}
		if w.api {
			w.proxy, w.cut = newProxy(t, strings.TrimPrefix(srv.URL, "http://")), 500
		} else {
			w.proxy = newProxy(t, srv.Addr)
		}
		return w
	}
}

func (w *realWorld) Environment() driver.Environment {
	c := &Connect{Server: w.Addr().String(), Zone: "example.com", TSIG: &TSIG{Ref: "test:tsig"}}
	if w.api {
		c = &Connect{Zone: "example.com", PowerDNS: &PowerDNS{URL: "http://" + w.Addr().String(), APIKey: "test:api"}}
	}
	return driver.Environment{Name: "dns", Connect: c, Secret: func(_ context.Context, ref secret.Ref) (secret.Value, error) {
		if ref == "test:api" {
			return secret.New(w.srv.APIKey), nil
		}
		return secret.New(w.srv.Key.String()), nil
	}}
}

func (w *realWorld) update(t testing.TB, lines string) {
	t.Helper()
	if err := w.srv.NSUpdate(w.srv.Key, "zone example.com\n"+lines+"send\n"); err != nil {
		t.Fatal(err)
	}
}

func (w *realWorld) Set(t testing.TB, name, value string) {
	t.Helper()
	w.update(t, fmt.Sprintf("update delete %s.example.com TXT\nupdate add %s.example.com 300 TXT %q\n", name, name, value))
}

func (w *realWorld) Unset(t testing.TB, name string) {
	t.Helper()
	w.update(t, fmt.Sprintf("update delete %s.example.com TXT\n", name))
}

func (w *realWorld) List(t testing.TB) drivertest.Objects {
	t.Helper()
	out, err := w.srv.DigKey(w.srv.Key, "+noall", "+answer", "example.com", "AXFR")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "SOA") {
		t.Fatalf("dig shows no zone: %s", out)
	}
	return listTXT(out)
}

func (w *realWorld) MakeUnreadable(testing.TB) func() {
	w.refuse.Store(true)
	return func() { w.refuse.Store(false) }
}

func (w *realWorld) TruncateReads(testing.TB) func() {
	w.limit.Store(w.cut)
	return func() { w.limit.Store(0) }
}

func TestConformanceReal(t *testing.T) {
	run := func(start func(dnsserver.TB, ...dnsserver.Zone) *dnsserver.Server, api bool) func(*testing.T) {
		return func(t *testing.T) {
			h := harness(newRealWorld(start, api))
			h.OptOut["PartialFailureKeepsOwnership"] = "real servers can't be told while they run to refuse one name: the fake, and TestBINDDeniedName, show it"
			if api {
				h.OptOut["FingerprintFollowsChanges"] = "the PowerDNS API has no fingerprint: edits in its database leave the serial as it is"
			}
			drivertest.Run(t, h)
		}
	}
	t.Run("BIND", run(dnsserver.BIND, false))
	t.Run("Knot", run(dnsserver.Knot, false))
	t.Run("PowerDNS", run(dnsserver.PowerDNS, false))
	t.Run("PowerDNSAPI", run(dnsserver.PowerDNS, true))
}
