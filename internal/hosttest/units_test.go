//go:build real

package hosttest

import (
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/sshhosts"
	"trueup.dev/trueup/internal/store"
)

// TestUnitThatDiesIsRolledBack: on hosts with a real systemd, a version whose
// service does not stay up goes back on the first host, and no other gets it.
func TestUnitThatDiesIsRolledBack(t *testing.T) {
	w := worldOf(t, sshhosts.StartWith(t, sshhosts.Options{Hosts: sshhosts.Of(3, sshhosts.Systemd)}))
	const manifest = `version: 1
targets:
  - name: app
    environment: hosts
    path: app
    rollout: {batch: 1, onFailure: rollback, before: drain, after: undrain}
    health: [{systemd: app.service, within: 12s}]
`
	unit := func(command string) map[string]string {
		return map[string]string{"trueup.yaml": manifest, "app/host.yaml": "files:\n  /etc/app.conf: {content: \"" + command + "\\n\"}\nunits:\n" +
			"  app.service: {file: app.service, enabled: true, running: true, restart: /etc/app.conf}\n",
			"app/app.service": fmt.Sprintf("[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c '%s'\n[Install]\nWantedBy=multi-user.target\n", command)}
	}
	c1 := w.push(unit("exec sleep 100000"))
	w.start()
	w.synced(c1)
	for _, h := range w.lab.Hosts {
		if got := h.Sh(t, "systemctl is-active app; systemctl is-enabled app"); got != "active\nenabled" {
			t.Fatalf("%s: %s", h.Name, got)
		}
	}
	w.push(unit("sleep 0.3; exit 7"))
	w.eventually("stopped", func() bool { return w.target().Status.Stopped != "" && w.scope("host1").Phase == store.ScopeRolledBack })
	for _, h := range w.lab.Hosts {
		got := h.Sh(t, "systemctl is-active app; cat /etc/app.conf; grep -c 'sleep 100000' /etc/systemd/system/app.service")
		if got != "active\nexec sleep 100000\n1" {
			t.Errorf("%s: %s", h.Name, got)
		}
		if s := w.scope(h.Name); s.Commit != c1 || s.Drained {
			t.Errorf("%+v", s)
		}
	}
	if m := w.target().Status.Message; !strings.Contains(m, "app.service is ") || !strings.Contains(m, "2 are untouched") {
		t.Error(m)
	}
}

// TestLocalApplyToSomeHosts: without a server, and only where it was asked for.
func TestLocalApplyToSomeHosts(t *testing.T) {
	w := newWorld(t, 3)
	w.push(map[string]string{"trueup.yaml": plainManifest, "app/host.yaml": "files:\n  /etc/app.conf: {content: \"one\\n\"}\n"})
	out := w.must("plan", "app", "--dir", w.git, "--limit", "host2,canary")
	if !strings.Contains(out, "2 scopes: host[1-2]") || strings.Contains(out, "host3") {
		t.Error(out)
	}
	w.must("apply", "app", "--dir", w.git, "--auto-approve", "--limit", "host2")
	if got := w.on("/etc/app.conf"); len(got["one"]) != 1 || got["one"][0] != "host2" {
		t.Fatalf("%v", got)
	}
	if out, err := w.cli("apply", "app", "--dir", w.git, "--auto-approve", "--limit", "nobody"); err == nil || !strings.Contains(out, "no host or group of the target is called that") {
		t.Errorf("%v: %s", err, out)
	}
	w.must("apply", "app", "--dir", w.git, "--auto-approve")
	if !w.everywhere("/etc/app.conf", "one") {
		t.Fatalf("%v", w.on("/etc/app.conf"))
	}
	// A host that is down is told, and is no success.
	if err := w.lab.Hosts[0].KillSSHD(); err != nil {
		t.Fatal(err)
	}
	w.push(map[string]string{"app/host.yaml": "files:\n  /etc/app.conf: {content: \"two\\n\"}\n"})
	out, err := w.cli("apply", "app", "--dir", w.git, "--auto-approve")
	if err == nil || !strings.Contains(out, "host1 unreachable") {
		t.Errorf("%v: %s", err, out)
	}
	if !w.everywhere("/etc/app.conf", "two", w.lab.Hosts[0]) {
		t.Fatalf("%v", w.on("/etc/app.conf"))
	}
}
