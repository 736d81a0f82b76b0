//go:build real

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/servertest/dnsserver"
	"trueup.dev/trueup/internal/store"
)

// dnsWorld is a world whose environments are zones on a real BIND.
type dnsWorld struct {
	*world
	bind *dnsserver.Server
}

const dnsConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
policies:
  quick: {driftInterval: 1s}
environments:
  public:
    driver: dns
    policy: quick
    connect: {server: "%[2]s", zone: example.test, tsig: "file:tsig"}
    allow: [{repository: infra%[3]s}]
`

func newDNSWorld(t *testing.T, scope string) *dnsWorld {
	w := &dnsWorld{world: newWorld(t), bind: dnsserver.BIND(t, dnsserver.Zone{Name: "example.test"})}
	if err := os.WriteFile(filepath.Join(w.dir, "tsig"), []byte(w.bind.Key.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config = fmt.Sprintf(dnsConfig, w.dir, w.bind.Addr, scope)
	return w
}

func (w *dnsWorld) dig(name string) string {
	w.t.Helper()
	out, err := w.bind.Dig("+short", name, "A")
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

const dnsManifest = "version: 1\ntargets:\n  - {name: zone, environment: public, path: zone}\n"

func zoneText(lines ...string) string {
	return "$TTL 300\n" + strings.Join(lines, "\n") + "\n"
}

func addresses(n int, third string) string {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("h%03d A 192.0.%s.%d", i, third, i%250+1))
	}
	return zoneText(lines...)
}

func TestRealGrantOfTeamACannotTouchTheApex(t *testing.T) {
	w := newDNSWorld(t, `, scope: {names: ["*.team-a"], types: [A, AAAA, CNAME]}`)
	c1 := w.push(map[string]string{"trueup.yaml": dnsManifest, "zone/team.zone": zoneText("x.team-a A 192.0.2.1")})
	w.start()
	w.synced("infra/zone", c1)
	if w.dig("x.team-a.example.test") != "192.0.2.1" {
		t.Fatal("the granted record did not arrive")
	}
	w.push(map[string]string{"zone/team.zone": zoneText("x.team-a A 192.0.2.2", "@ A 192.0.2.66", "www A 192.0.2.66")})
	held := w.held("infra/zone", engine.GateScope)
	time.Sleep(2 * time.Second)
	if got := w.dig("example.test") + w.dig("www.example.test"); got != "" || w.dig("x.team-a.example.test") != "192.0.2.1" {
		t.Fatalf("written outside the grant: %q", got)
	}
	if !strings.Contains(held.Status.Message, "example.test./A") {
		t.Fatalf("the message does not name the apex: %s", held.Status.Message)
	}
}

func TestRealThreeHundredWrongUpdatesAreHeld(t *testing.T) {
	w := newDNSWorld(t, "")
	c1 := w.push(map[string]string{"trueup.yaml": dnsManifest, "zone/all.zone": addresses(300, "2")})
	w.start()
	w.synced("infra/zone", c1)
	w.push(map[string]string{"zone/all.zone": addresses(300, "3")})
	held := w.held("infra/zone", engine.GateGuard)
	if w.dig("h007.example.test") != "192.0.2.8" {
		t.Fatal("a mass rewrite passed")
	}
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/zone", held.Status.PlanHash, "renumbering"); err != nil {
		t.Fatal(err)
	}
	w.eventually("the approved rewrite arrives", func() bool { return w.dig("h007.example.test") == "192.0.3.8" })
}

func TestRealTwoNamesForOneServerCollide(t *testing.T) {
	w := newDNSWorld(t, "")
	_, port, _ := strings.Cut(w.bind.Addr, ":")
	w.config += fmt.Sprintf("  alias:\n    driver: dns\n    policy: quick\n    connect: {server: \"localhost:%s\", zone: example.test, tsig: \"file:tsig\"}\n    allow: [{repository: infra}]\n", port)
	c1 := w.push(map[string]string{"trueup.yaml": dnsManifest, "zone/a.zone": zoneText("www A 192.0.2.1")})
	w.start()
	w.synced("infra/zone", c1)
	w.push(map[string]string{"other/a.zone": zoneText("www A 192.0.2.1"), "trueup.yaml": dnsManifest + "  - {name: other, environment: alias, path: other}\n"})
	w.eventually("the second owner of www is refused", func() bool {
		s := w.target("infra/other").Status
		return s.Phase == store.Failing && strings.Contains(s.Message, "infra/zone")
	})
}

// A server that is away is shown, retried and recovered from.
func TestRealServerAwayIsRecoveredFrom(t *testing.T) {
	w := newDNSWorld(t, "")
	c1 := w.push(map[string]string{"trueup.yaml": dnsManifest, "zone/a.zone": zoneText("www A 192.0.2.1")})
	w.start()
	w.synced("infra/zone", c1)
	w.bind.Kill()
	w.push(map[string]string{"zone/a.zone": zoneText("www A 192.0.2.2")})
	w.eventually("the outage is shown", func() bool {
		p := w.target("infra/zone").Status.Phase
		return p == store.Failing || p == store.Partial
	})
	if err := w.bind.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("recovered", func() bool {
		out, err := w.bind.Dig("+short", "www.example.test", "A")
		return err == nil && strings.TrimSpace(out) == "192.0.2.2"
	})
}
