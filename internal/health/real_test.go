//go:build real

package health

import (
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/servertest/dnsserver"
)

// A check follows a change on a real name server: it is unhealthy before the
// update and healthy after it.
func TestRealBIND(t *testing.T) {
	s := dnsserver.BIND(t, dnsserver.Zone{Name: "example.test"})
	ask := func(name string, expect ...string) config.Health {
		return config.Health{DNS: &config.DNSCheck{Name: name, Server: s.Addr, Expect: expect}}
	}
	c := &Checker{}
	unhealthy(t, c, ask("new.example.test"), "NXDOMAIN")
	unhealthy(t, c, ask("www.example.org"), "REFUSED")
	timer := time.AfterFunc(time.Second, func() {
		if err := s.NSUpdate(s.Key, "zone example.test.\nupdate add new.example.test. 60 A 192.0.2.7\nsend\n"); err != nil {
			t.Error(err)
		}
	})
	defer timer.Stop()
	healthy(t, c, ask("new.example.test", "192.0.2.7"))
	out, err := s.Dig("+short", "new.example.test", "A")
	if err != nil || out != "192.0.2.7\n" && out != "192.0.2.7" {
		t.Errorf("dig says %q, %v", out, err)
	}
	unhealthy(t, c, ask("new.example.test", "192.0.2.8"), "answered 192.0.2.7, without 192.0.2.8")
	s.Stop()
	unhealthy(t, c, ask("new.example.test", "192.0.2.7"), "not healthy within")
}
