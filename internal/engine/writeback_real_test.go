//go:build real

package engine_test

import (
	"context"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/store"
)

// TestRealWriteBackOfARecord: another system owns the address of vpn; what it
// sets stays, and goes into the zone file by a commit.
func TestRealWriteBackOfARecord(t *testing.T) {
	w := newDNSWorld(t, "")
	w.config = strings.Replace(w.config, "quick: {driftInterval: 1s}", "quick: {driftInterval: 1s, writeBack: commit}", 1)
	manifest := strings.Replace(dnsManifest, "path: zone}", `path: zone/a.zone, writeBack: [{address: vpn.example.test./A, field: /records/0, regexp: '^vpn\s+A\s+(\S+)', via: commit}]}`, 1)
	c1 := w.push(map[string]string{"trueup.yaml": manifest, "zone/a.zone": zoneText("www A 192.0.2.1", "vpn  A 192.0.2.7 ; set by the appliance")})
	w.start()
	w.synced("infra/zone", c1)
	if err := w.bind.NSUpdate(w.bind.Key, "zone example.test\nupdate delete vpn.example.test A\nupdate add vpn.example.test 300 A 198.51.100.9\n"+
		"update delete www.example.test A\nupdate add www.example.test 300 A 198.51.100.66\nsend\n"); err != nil {
		t.Fatal(err)
	}
	w.eventually("www is corrected", func() bool { return w.dig("www.example.test") == "192.0.2.1" })
	w.eventually("vpn is written back", func() bool {
		return strings.Contains(w.run(w.dir, "git", "--git-dir=origin.git", "show", "main:zone/a.zone"), "vpn  A 198.51.100.9 ; set by the appliance")
	})
	if got := w.dig("vpn.example.test"); got != "198.51.100.9" {
		t.Fatalf("the other system's value was corrected to %s", got)
	}
	commit := w.run(w.dir, "git", "--git-dir=origin.git", "rev-parse", "main")
	w.synced("infra/zone", commit)
	w.eventually("nothing is left to write", func() bool {
		_, err := w.st.Edit(context.Background(), store.LiveValues, "infra/zone")
		return err != nil
	})
	if now := w.run(w.dir, "git", "--git-dir=origin.git", "rev-parse", "main"); now != commit || w.dig("vpn.example.test") != "198.51.100.9" {
		t.Errorf("it went on: %s", now)
	}
}
