//go:build real

package ssh_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/sshhosts"
)

const appUnit = "[Unit]\nDescription=app\n[Service]\nExecStart=/bin/sh -c 'cat /etc/app.conf >/run/app.seen; exec sleep 100000'\nExecReload=/bin/sh -c 'echo reloaded >>/run/app.reloads'\n[Install]\nWantedBy=multi-user.target\n"

// TestUnits: on a real systemd, units come, restart when what they read
// changes, are put right after changes by hand, and go.
func TestUnits(t *testing.T) {
	b := newLab(t, sshhosts.Systemd)
	b.file("app.service", appUnit)
	const doc = "files:\n  /etc/app.conf: {content: %1}\n  /etc/app.reload: {content: %2}\nunits:\n" +
		"  app.service: {file: app.service, enabled: true, running: true, restart: /etc/app.conf, reload: /etc/app.reload}\n"
	write := func(one, two string) { b.doc(strings.NewReplacer("%1", one, "%2", two).Replace(doc)) }
	write("one", "a")
	b.sync()
	b.expect("systemctl is-active app; systemctl is-enabled app; cat /run/app.seen", "active\nenabled\none")
	pid := b.on("systemctl show -p MainPID --value app")

	write("two", "a")
	if c := change(t, b.plan(), "unit:app.service"); c.Action != plan.Update || !strings.Contains(string(c.Before), `"due":"restart"`) {
		t.Fatalf("the restart is not planned: %+v", c)
	}
	b.sync()
	b.expect("cat /run/app.seen", "two")
	if now := b.on("systemctl show -p MainPID --value app"); now == pid {
		t.Fatal("it did not restart")
	}
	pid = b.on("systemctl show -p MainPID --value app")

	write("two", "b")
	b.sync()
	b.expect("cat /run/app.reloads", "reloaded")
	b.expect("systemctl show -p MainPID --value app", pid)

	// By hand: stopped, disabled, the file edited.
	b.on("systemctl disable --now app 2>/dev/null; echo '# by hand' >>/etc/systemd/system/app.service")
	if c := change(t, b.plan(), "unit:app.service"); c.Reason != plan.ByDrift {
		t.Fatalf("drift is not found: %+v", c)
	}
	b.sync()
	b.expect("systemctl is-active app; systemctl is-enabled app; grep -c hand /etc/systemd/system/app.service || :", "active\nenabled\n0")

	// No longer asked for: stopped, and gone. Nothing is left of it in systemd.
	b.doc("files:\n  /etc/app.conf: {content: two}\n  /etc/app.reload: {content: b}\n")
	b.sync()
	b.expect("test -e /etc/systemd/system/app.service || echo gone; systemctl show -p LoadState --value app; ls /etc/systemd/system/multi-user.target.wants | grep -c app || :", "gone\nnot-found\n0")
}

// TestUnitsOfOthers: units of packages are set, and left as they are when
// nobody asks for them any more.
func TestUnitsOfOthers(t *testing.T) {
	b := newLab(t, sshhosts.Systemd)
	b.on("printf '[Service]\\nExecStart=/bin/sleep 1000\\n[Install]\\nWantedBy=multi-user.target\\n' | tee /lib/systemd/system/theirs.service >/lib/systemd/system/bad.service; systemctl daemon-reload")
	b.doc("units:\n  theirs.service: {enabled: true, running: true}\n  bad.service: {masked: true}\n")
	b.sync()
	b.expect("systemctl is-active theirs; systemctl is-enabled theirs; systemctl is-enabled bad || :", "active\nenabled\nmasked")
	b.doc("units:\n  theirs.service: {running: false, enabled: false}\n  bad.service: {masked: false, running: true}\n")
	b.sync()
	b.expect("systemctl is-active theirs || :; systemctl is-active bad", "inactive\nactive")
	b.doc("files:\n  /etc/x: {content: x}\n")
	b.sync()
	b.expect("systemctl is-active bad", "active")
}

// TestUnitThatDoesNotRun: a unit that fails is a failure, with what it said.
func TestUnitThatDoesNotRun(t *testing.T) {
	b := newLab(t, sshhosts.Systemd)
	b.doc("units:\n  bad.service:\n    running: true\n    content: |\n      [Service]\n      Type=oneshot\n      RemainAfterExit=yes\n      ExecStart=/bin/sh -c 'echo no luck today >&2; exit 3'\n" +
		"  good.service:\n    running: true\n    content: |\n      [Service]\n      ExecStart=/bin/sleep 1000\n")
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || bad["unit:bad.service"].Outcome != plan.Failed || !strings.Contains(bad["unit:bad.service"].Error, "status=3") {
		t.Fatalf("%v %+v", err, bad)
	}
	b.expect("systemctl is-active good", "active")
	if p := b.plan(); p.Empty() {
		t.Fatal("a unit that does not run is no success")
	}
}

// TestHandlers run once after changes, also when trueup was killed in between.
func TestHandlers(t *testing.T) {
	b := newLab(t, sshhosts.Systemd)
	b.connect.Commands["note"] = ssh.HostCommand{Run: []string{"/bin/sh", "-c", "echo ran >>/root/handled; test ! -e /root/broken"}}
	const doc = "files:\n  /etc/a: {content: %, notify: note}\n  /etc/b: {content: %, notify: [note]}\n  /etc/c: {content: c}\nhandlers:\n  note: {command: note}\n"
	write := func(x string) { b.doc(strings.ReplaceAll(doc, "%", x)) }
	write("one")
	b.sync()
	b.expect("cat /root/handled 2>/dev/null | wc -l", "1")
	b.settled()
	write("two")
	if c := change(t, b.plan(), "handler:note"); !c.Simulated || c.Note == "" {
		t.Fatalf("the handler is not shown: %+v", c)
	}
	b.sync()
	b.expect("wc -l </root/handled", "2")

	// It fails: the files are written, the run is no success, and it is due until it went well.
	b.on("touch /root/broken")
	write("three")
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || bad["handler:note"].Outcome != plan.Failed {
		t.Fatalf("%v %+v", err, bad)
	}
	b.expect("cat /etc/a; wc -l </root/handled", "three3")
	b.on("rm /root/broken")
	change(t, b.plan(), "handler:note")
	b.sync()
	b.expect("wc -l </root/handled; ls /var/lib/trueup/due", "4")

	// Files by hand put right are changes too; a file without notify is none.
	b.on("echo x >/etc/a; echo x >/etc/c")
	b.sync()
	b.expect("wc -l </root/handled", "5")
	b.on("echo x >/etc/c")
	b.sync()
	b.expect("wc -l </root/handled", "5")
}
