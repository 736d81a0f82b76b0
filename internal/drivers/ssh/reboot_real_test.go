//go:build real

package ssh_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// TestReboot: after all other changes, once, and only where the operator allows it.
func TestReboot(t *testing.T) {
	b := newLab(t, sshhosts.Systemd)
	b.doc("files:\n  /etc/kernel.conf: {content: one, notify: kernel}\nreboots:\n  kernel: {required: true}\n")
	if _, err := b.tryPlan(); err == nil || !strings.Contains(err.Error(), "connect.reboot.allow") {
		t.Fatalf("a restart that nobody allowed: %v", err)
	}
	b.connect.Reboot = &ssh.Reboot{Allow: true, Within: 2 * time.Minute}
	boot := b.on("cat /proc/sys/kernel/random/boot_id")
	c := change(t, b.plan(), "reboot:kernel")
	if !c.Simulated || c.Note == "" {
		t.Fatalf("%+v", c)
	}
	b.sync()
	now := b.on("cat /proc/sys/kernel/random/boot_id")
	if now == boot {
		t.Fatal("it did not restart")
	}
	b.expect("cat /etc/kernel.conf; ls /var/lib/trueup/due", "one")

	// The host itself asks for it.
	b.on("touch /run/reboot-required")
	change(t, b.plan(), "reboot:kernel")
	b.sync()
	if again := b.on("cat /proc/sys/kernel/random/boot_id"); again == now {
		t.Fatal("it did not restart although it said that it has to")
	}

	// A host that does not come back is no success; when it does, it is done.
	release, err := b.lab.Hosts[0].HoldReboot()
	if err != nil {
		t.Fatal(err)
	}
	b.connect.Reboot.Within = 3 * time.Second
	b.doc("files:\n  /etc/kernel.conf: {content: two, notify: kernel}\nreboots:\n  kernel: {required: true}\n")
	bad, err := b.apply()
	if err != nil || bad["reboot:kernel"].Outcome != plan.Unknown || !strings.Contains(bad["reboot:kernel"].Error, "did not come back") {
		t.Fatalf("%v %+v", err, bad)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := b.lab.Hosts[0].WaitSSH(time.Minute); err != nil {
		t.Fatal(err)
	}
	last := b.on("cat /proc/sys/kernel/random/boot_id")
	b.sync()
	b.expect("cat /proc/sys/kernel/random/boot_id", last)
}

// TestCompose runs against a strict stand-in for docker: no container engine
// runs here. It keeps containers in a file and refuses what docker would not take.
func TestCompose(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	fake, err := os.ReadFile(filepath.Join("testdata", "docker"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.lab.Hosts[0].WriteFile("/usr/local/bin/docker", fake, 0o755); err != nil {
		t.Fatal(err)
	}
	b.file("shop.yaml", "services:\n  web: {image: nginx}\n  db: {image: postgres}\n  job: {image: job}\n  debug: {image: x, profiles: [debug]}\n")
	b.doc("files:\n  /srv/shop.env: {content: one}\ncompose:\n  shop: {file: shop.yaml, once: job, watch: /srv/shop.env, pull: true}\n")
	if _, err := b.tryPlan(); err == nil || !strings.Contains(err.Error(), "connect.compose") {
		t.Fatalf("a program that nobody allowed: %v", err)
	}
	b.connect.Compose = []string{"/usr/local/bin/docker", "compose"}
	if c := change(t, b.plan(), "compose:shop"); !c.Simulated || c.Action != plan.Create {
		t.Fatalf("%+v", c)
	}
	b.sync()
	b.expect("sort /run/docker/ps", "shop db running\nshop job exited\nshop web running")
	b.expect("stat -c %a /srv/compose/shop/compose.yaml; cat /run/docker/log", "600\npull shop\nup shop")

	// A container stopped by hand, one removed.
	b.on("sed -i 's/shop web running/shop web exited/; /shop db/d' /run/docker/ps")
	if c := change(t, b.plan(), "compose:shop"); c.Reason != plan.ByDrift {
		t.Fatalf("%+v", c)
	}
	b.sync()
	b.expect("sort /run/docker/ps", "shop db running\nshop job exited\nshop web running")

	// A file that it reads changes; a service goes.
	b.file("shop.yaml", "services:\n  web: {image: nginx}\n")
	b.doc("files:\n  /srv/shop.env: {content: two}\ncompose:\n  shop: {file: shop.yaml, watch: /srv/shop.env}\n")
	b.sync()
	b.expect("cat /run/docker/ps; tail -n 1 /run/docker/log", "shop web running\nup shop --force-recreate")

	// The engine is down: the host is unknown, nothing is taken for gone.
	b.on("touch /run/docker/down")
	p, err := b.tryPlan()
	if err != nil || len(p.Scopes) != 1 || !strings.Contains(p.Scopes[0].Unknown, "Cannot connect to the Docker daemon") {
		t.Fatalf("%v %+v", err, p)
	}
	b.on("rm /run/docker/down")
	b.doc("files:\n  /srv/shop.env: {content: two}\n")
	b.sync()
	b.expect("cat /run/docker/ps; ls /srv/compose/shop", "")
}

// TestHooks: a rollout runs the operator's commands on a host; their variables
// stand in no process list.
func TestHooks(t *testing.T) {
	b := newLab(t, sshhosts.Systemd)
	s := b.open(driver.Write)
	var said []string
	err := s.(driver.Commander).Command(t.Context(), "host1", driver.Command{Args: []string{"/bin/sh", "-c", `echo "$TOKEN in $(pwd)"; echo 'it''s' "$1" >&2; cat /proc/*/cmdline | tr '\0' ' ' | grep -c hunter2; exit 3`, "x", "a b"},
		Env: map[string]secret.Value{"TOKEN": secret.New("hunter" + "2")}, Dir: "/srv"}, func(l string) { said = append(said, l) })
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || strings.Join(said, "|") != "hunter2 in /srv|its a b|1" {
		// One line of the process list has the word: the grep itself.
		t.Fatalf("%v %q", err, said)
	}
	if err := s.(driver.Commander).Command(t.Context(), "nobody", driver.Command{Args: []string{"true"}}, nil); err == nil {
		t.Fatal("a host that is not there")
	}
	h := s.(driver.HealthChecker)
	// A unit counts as active when it has been so for a while.
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := h.Health(t.Context(), b.input(), map[string]any{"systemd": "dbus.service"})
		if err == nil {
			break
		}
		if !errors.Is(err, driver.ErrNotReady) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if err := h.Health(t.Context(), b.input(), map[string]any{"systemd": []any{"dbus.service", "none.service"}}); err == nil || !strings.Contains(err.Error(), "inactive") {
		t.Fatal(err)
	}
}
