//go:build real

package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/dnsserver"
)

const balancerRoot = needsThings + `resource "things_thing" "lb" {
  name  = "lb"
  value = %q
}
output "ip" {
  value = things_thing.lb.value
}
`

// TestRealTofuOutputsReachDNSAndAFile: an address that OpenTofu gives out is
// followed by a record on BIND and by a file.
func TestRealTofuOutputsReachDNSAndAFile(t *testing.T) {
	w := newInfraWorld(t)
	bind := dnsserver.BIND(t, dnsserver.Zone{Name: "example.test"})
	if err := os.WriteFile(filepath.Join(w.dir, "tsig"), []byte(bind.Key.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config += fmt.Sprintf("  public:\n    driver: dns\n    policy: quick\n    connect: {server: %q, zone: example.test, tsig: \"file:tsig\"}\n    allow: [{repository: infra}]\n", bind.Addr)
	dig := func() string {
		out, err := bind.Dig("+short", "www.example.test", "A")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	first := w.push(map[string]string{"trueup.yaml": `version: 1
targets:
  - {name: lb, environment: cloud, path: lb, outputs: {ip: {readableBy: [zone, site]}}}
  - {name: zone, environment: public, path: zone, values: {lb: lb.ip}}
  - {name: site, environment: site, path: web, values: {lb: lb.ip}, spec: {templates: ["*.conf"]}}
`, "lb/main.tf": fmt.Sprintf(balancerRoot, "192.0.2.10"), "zone/all.zone": zoneText("www A {{ .lb }}"), "web/lb.conf": "listen {{ .lb }}\n"})
	w.start()
	for _, id := range []string{"infra/lb", "infra/zone", "infra/site"} {
		w.synced(id, first)
	}
	if dig() != "192.0.2.10" || w.file("lb.conf") != "listen 192.0.2.10\n" {
		t.Fatalf("%s, %s", dig(), w.file("lb.conf"))
	}
	w.push(map[string]string{"lb/main.tf": fmt.Sprintf(balancerRoot, "192.0.2.20")})
	w.eventually("record and file follow", func() bool { return dig() == "192.0.2.20" && w.file("lb.conf") == "listen 192.0.2.20\n" })
	w.noCanary()
}
