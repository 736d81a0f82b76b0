//go:build real

package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/servertest/dnsserver"
	"trueup.dev/trueup/internal/store"
)

// balancer is a tool that makes a load balancer: a directory with an address
// and a key, as the repository asks for them.
const balancer = `#!/bin/sh
set -eu
case $1 in
plan)
  if [ ! -e "$2/ip" ]; then action=create; elif cmp -s ip "$2/ip"; then echo '{"version": 1, "changes": [], "objects": [{"address": "lb"}]}'; exit; else action=update; fi
  echo '{"version": 1, "changes": [{"address": "lb", "action": "'$action'", "after": {"size": 1}}]}' ;;
apply) cp ip "$2/ip"; echo "the balancer has an address" ;;
outputs) echo '{"ip": {"value": "'$(cat "$2/ip")'"}, "key": {"value": "canary-of-an-output-93", "sensitive": true}}' ;;
esac
`

const outputsConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
policies:
  quick: {driftInterval: 1s}
  careful: {driftInterval: 1s, guard: {update: 0}}
environments:
  cloud:
    driver: exec
    policy: quick
    connect: {plan: [%[1]s/balancer, plan, %[1]s/cloud], apply: [%[1]s/balancer, apply, %[1]s/cloud], outputs: [%[1]s/balancer, outputs, %[1]s/cloud]}
    allow: [{repository: infra}]
  public:
    driver: dns
    policy: careful
    connect: {server: "%[2]s", zone: example.test, tsig: "file:tsig"}
    allow: [{repository: infra}]
  site:
    driver: files
    policy: quick
    connect: {root: %[1]s/site}
    allow: [{repository: infra}]
`

const outputsManifest = `version: 1
targets:
  - name: network
    environment: cloud
    path: net
    outputs: { ip: { readableBy: [zone, proxy] }, key: { readableBy: [%s] } }
  - { name: zone, environment: public, path: zone, values: { lb: network.ip } }
  - { name: proxy, environment: site, path: proxy, spec: { templates: ["**"] }, values: { lb: network.ip, key: network.key } }
`

// TestRealOutputsReachDNSAndAFile follows an address from the tool that made it
// into a record on BIND and a file, through a change that is held for its own
// approval.
func TestRealOutputsReachDNSAndAFile(t *testing.T) {
	var log lockedBuffer
	w := &dnsWorld{world: newWorld(t), bind: dnsserver.BIND(t, dnsserver.Zone{Name: "example.test"})}
	w.log = &log
	for name, text := range map[string]string{"tsig": w.bind.Key.String(), "balancer": balancer} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(w.dir, "cloud"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.config = fmt.Sprintf(outputsConfig, w.dir, w.bind.Addr)
	first := w.push(map[string]string{"trueup.yaml": fmt.Sprintf(outputsManifest, "proxy"), "net/ip": "192.0.2.10\n",
		"zone/all.zone": zoneText("www A {{ .lb }}", "api A {{ .lb }}"), "proxy/lb.conf": "listen {{ .lb }} key {{ .key }}\n"})
	w.start()
	for _, id := range []string{"infra/network", "infra/zone", "infra/proxy"} {
		w.synced(id, first)
	}
	if got := w.dig("www.example.test"); got != "192.0.2.10" {
		t.Fatalf("the record is %q", got)
	}
	if got := w.file("lb.conf"); got != "listen 192.0.2.10 key canary-of-an-output-93\n" {
		t.Fatalf("the file is %q", got)
	}

	// Only net/ip changes; what uses the address follows by itself, and passes
	// its own gates again.
	second := w.push(map[string]string{"net/ip": "192.0.2.20\n"})
	w.synced("infra/network", second)
	w.eventually("the file follows", func() bool { return strings.HasPrefix(w.file("lb.conf"), "listen 192.0.2.20 ") })
	held := w.held("infra/zone", engine.GateGuard)
	if got := w.dig("www.example.test"); got != "192.0.2.10" {
		t.Fatalf("the record moved past its guard: %q", got)
	}
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/zone", held.Status.PlanHash, "the balancer moved"); err != nil {
		t.Fatal(err)
	}
	w.eventually("the records follow", func() bool {
		return w.dig("www.example.test") == "192.0.2.20" && w.dig("api.example.test") == "192.0.2.20"
	})
	w.eventually("a run says that an output caused it", func() bool {
		runs, _, _ := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/zone"})
		for _, r := range runs {
			if r.Cause == "output" {
				return true
			}
		}
		return false
	})
	w.noSecret(&log)

	// Who may read is declared: a manifest that takes the right away changes
	// nothing, and says where.
	w.push(map[string]string{"trueup.yaml": fmt.Sprintf(outputsManifest, "zone"), "proxy/lb.conf": "stolen {{ .key }}\n"})
	w.eventually("the manifest is refused", func() bool {
		rs, _ := w.st.Repositories(context.Background())
		b, _ := json.Marshal(rs)
		return bytes.Contains(b, []byte("not readable by"))
	})
	if got := w.file("lb.conf"); !strings.HasPrefix(got, "listen 192.0.2.20 ") {
		t.Fatalf("an output was read without the right: %q", got)
	}
}

// noSecret looks for the sensitive output in everything that is kept or shown
// in the clear.
func (w *dnsWorld) noSecret(log *lockedBuffer) {
	w.t.Helper()
	ctx := context.Background()
	found := func(where string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		if bytes.Contains(b, []byte("canary-of-an-output")) {
			w.t.Errorf("the sensitive output shows in %s", where)
		}
	}
	runs, _, err := w.st.Runs(ctx, store.RunFilter{})
	if err != nil || len(runs) < 5 {
		w.t.Fatalf("%d runs, %v", len(runs), err)
	}
	found("the runs", runs)
	for _, r := range runs {
		lines, _ := w.st.Log(ctx, r.ID, 0)
		found("the log of "+r.ID, lines)
		p, _, err := w.st.Plan(ctx, r.ID)
		if err == nil {
			found("the changes of "+r.ID, p.Changes)
		}
	}
	found("the server's log", log.String())
	files, err := filepath.Glob(filepath.Join(w.dir, "data", "*"))
	if err != nil || len(files) == 0 {
		w.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && bytes.Contains(b, []byte("canary-of-an-output")) {
			w.t.Errorf("the sensitive output stands in the clear in %s", f)
		}
	}
}
