//go:build real

package hosttest

import (
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/dnsserver"
	tofuserver "trueup.dev/trueup/internal/servertest/tofu"
)

const outputsConfig = `  cloud:
    driver: tofu
    policy: hosts
    connect:
      program: %[2]s
      cache: %[1]s/cache
      env: {THINGS_URL: %[3]q}
      secretEnv: {THINGS_TOKEN: "file:things-token"}
      mirrors: {filesystem: %[4]s}
      backend: {localState: %[1]s/state}
    allow: [{repository: infra}]
  public:
    driver: dns
    policy: hosts
    connect: {server: %[5]q, zone: example.test, tsig: "file:tsig"}
    allow: [{repository: infra}]
`

const outputsManifest = `version: 1
targets:
  - {name: lb, environment: cloud, path: lb, outputs: {ip: {readableBy: [zone, app]}}}
  - {name: zone, environment: public, path: zone, values: {lb: lb.ip}}
  - {name: app, environment: hosts, path: app, values: {lb: lb.ip}}
`

// thing is a root with one thing, whose address the server of things chooses.
func thing(name string) string {
	return fmt.Sprintf("terraform {\n  required_providers {\n    things = { source = \"trueup/things\" }\n  }\n}\n"+
		"resource \"things_thing\" \"lb\" {\n  name  = %q\n  value = \"balancer\"\n}\noutput \"ip\" {\n  value = things_thing.lb.address\n}\n", name)
}

// TestOutputsReachDNSAndHosts: an address that the infrastructure chooses comes
// from OpenTofu to a record on BIND and to a file of every host, and a new
// address follows.
func TestOutputsReachDNSAndHosts(t *testing.T) {
	program, err := tofuserver.Program()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 2)
	things := tofuserver.NewThings(t, "token-of-the-things")
	bind := dnsserver.BIND(t, dnsserver.Zone{Name: "example.test"})
	w.write("things-token", things.Token)
	w.write("tsig", bind.Key.String())
	w.write("server.yaml", fmt.Sprintf(config, w.dir, w.lab.Key, w.lab.KnownHosts)+
		fmt.Sprintf(outputsConfig, w.dir, program, things.URL, tofuserver.Mirror(t), bind.Addr))
	follow := func(address string) {
		t.Helper()
		w.eventually("record and files have "+address, func() bool {
			out, err := bind.Dig("+short", "www.example.test", "A")
			return err == nil && strings.TrimSpace(out) == address && w.everywhere("/etc/lb.conf", "backend "+address)
		})
	}
	w.push(map[string]string{"trueup.yaml": outputsManifest, "lb/main.tf": thing("blue"),
		"zone/all.zone": "$TTL 300\nwww A {{ .lb }}\n",
		"app/host.yaml": "files:\n  /etc/lb.conf: {template: lb.conf}\n", "app/lb.conf": "backend {{ .lb }}\n"})
	w.start()
	follow("192.0.2.1")
	// Another thing in its place has another address.
	w.push(map[string]string{"lb/main.tf": thing("green")})
	follow("192.0.2.2")
	if all := things.All(); len(all) != 1 || all["green"].Address != "192.0.2.2" {
		t.Errorf("on the server of things is %v", all)
	}
}
