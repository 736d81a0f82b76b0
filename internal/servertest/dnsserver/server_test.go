//go:build real

package dnsserver_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/dnsserver"
)

// Every server transfers and takes updates with its key, and refuses both
// without one.
func TestServers(t *testing.T) {
	for name, run := range map[string]func(dnsserver.TB, ...dnsserver.Zone) *dnsserver.Server{
		"bind": dnsserver.BIND, "knot": dnsserver.Knot, "powerdns": dnsserver.PowerDNS} {
		t.Run(name, func(t *testing.T) {
			s := run(t, dnsserver.Zone{Name: "example.com"})
			if err := s.NSUpdate(s.Key, "zone example.com\nupdate add a.example.com 60 A 192.0.2.1\nsend\n"); err != nil {
				t.Fatal(err)
			}
			if err := s.NSUpdate(dnsserver.Key{Name: "x", Algorithm: "hmac-sha256", Secret: s.Key.Secret},
				"zone example.com\nupdate add b.example.com 60 A 192.0.2.1\nsend\n"); err == nil {
				t.Error("an update with an unknown key was taken")
			}
			out, err := s.DigKey(s.Key, "+noall", "+answer", "example.com", "AXFR")
			if err != nil || !strings.Contains(out, "192.0.2.1") {
				t.Errorf("transfer: %v %s", err, out)
			}
			if out, _ := s.Dig("+noall", "+answer", "example.com", "AXFR"); strings.Contains(out, "192.0.2.1") {
				t.Errorf("an unsigned transfer was allowed: %s", out)
			}
		})
	}
}
