//go:build real

package ssh_test

import (
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/sshhosts"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

func publicLine(t *testing.T) string {
	t.Helper()
	key, _ := sshserver.NewKey(t)
	return strings.TrimSpace(string(xssh.MarshalAuthorizedKey(key.PublicKey()))) + " somebody"
}

func TestAccounts(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	ann, bob, own := publicLine(t), publicLine(t), publicLine(t)
	b.on("groupadd -g 4000 theirs; useradd -m old; mkdir -p /home/old/.ssh; echo '# by hand' >/home/old/.ssh/authorized_keys; echo '" + own + "' >>/home/old/.ssh/authorized_keys; chown -R old:old /home/old; chmod 700 /home/old/.ssh; chmod 640 /home/old/.ssh/authorized_keys")
	b.doc(`
groups:
  app: { system: true }
  ops: { gid: 4242 }
users:
  app: { system: true, group: app, home: /srv/app, createHome: true, shell: /usr/sbin/nologin, comment: "the app" }
  ann: { uid: 4243, groups: [ops, theirs], shell: /bin/bash }
directories:
  /srv/app/data: { owner: app, group: app, mode: "0700" }
files:
  /srv/app/conf: { content: "x", owner: app, group: app, mode: "0600" }
authorizedKeys:
  ann: { keys: ["` + ann + `", "from=\"192.0.2.0/24\" ` + bob + `"] }
  old: { keys: ["` + bob + `"], exclusive: false }
`)
	b.sync()
	b.expect("getent passwd app | cut -d: -f5-7", "the app:/srv/app:/usr/sbin/nologin")
	b.expect("id -u ann; id -nG ann | tr ' ' '\\n' | sort | tr '\\n' ' '", "4243\nann ops theirs")
	b.expect("stat -c '%U:%G %a' /srv/app/conf /srv/app/data /home/ann/.ssh /home/ann/.ssh/authorized_keys", "app:app 600\napp:app 700\nann:ann 700\nann:ann 600")
	b.expect("cat /home/old/.ssh/authorized_keys", "# by hand\n"+own+"\n"+bob)
	b.expect("stat -c '%U %a' /home/old/.ssh/authorized_keys", "old 640")
	// Drift.
	b.on("usermod -s /bin/sh -G '' ann; groupmod -g 4300 ops; echo '" + bob + "' >>/home/ann/.ssh/authorized_keys")
	p := b.plan()
	if len(p.Changes) != 3 {
		t.Errorf("%s", changes(p))
	}
	b.sync()
	b.expect("getent passwd ann | cut -d: -f7; id -nG ann | tr ' ' '\\n' | sort | tr '\\n' ' '; wc -l </home/ann/.ssh/authorized_keys", "/bin/bash\nann ops theirs 2")
	// Leaving: disabled first, deleted only where that is wanted, later.
	b.doc("groups: { app: { system: true }, ops: { gid: 4242 } }\nauthorizedKeys: { old: { keys: [\"" + ann + "\"], exclusive: false } }\nusers: { app: { system: true, group: app, home: /srv/app, shell: /usr/sbin/nologin } }\n")
	p = b.plan()
	if c := change(t, p, "user:ann"); c.Action != plan.Disable || len(c.Impact) != 1 || c.Impact[0].Disable != 1 {
		t.Errorf("%+v", c)
	}
	b.sync()
	b.expect("getent shadow ann | cut -d: -f2,8; id -u ann", "!:1\n4243")
	b.expect("cat /home/old/.ssh/authorized_keys", "# by hand\n"+own+"\n"+ann)
	b.spec = &ssh.Spec{OnLeave: ssh.LeaveDelete}
	if c := change(t, b.plan(), "user:ann"); c.Action != plan.Delete {
		t.Errorf("%+v", c)
	}
	b.sync()
	b.expect("id ann 2>/dev/null; ls -d /home/ann", "/home/ann")
}

// TestRootStays: neither root nor who logs in is disabled or removed.
func TestRootStays(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	b.doc("users: { root: { shell: /bin/bash }, ann: {} }\n")
	b.sync()
	b.spec = &ssh.Spec{OnLeave: ssh.LeaveDelete}
	b.doc("files: { /etc/x: { content: x } }\n")
	p := b.plan()
	if c := change(t, p, "user:root"); c.Action != plan.Forget {
		t.Errorf("%+v", c)
	}
	if bad, err := b.carryOut(p); err != nil || len(bad) > 0 {
		t.Errorf("%v %+v", err, bad)
	}
	b.expect("getent passwd root | cut -d: -f7; getent shadow root | cut -d: -f8", "/bin/bash")
	b.mode = plan.Destroy
	bad, err := b.apply()
	if err != nil || len(bad) > 0 {
		t.Errorf("%v %+v", err, bad)
	}
	b.expect("getent passwd root | cut -d: -f7", "/bin/bash")
}

// TestSudoOnAHost: a user who may become root without and with a password.
func TestSudoOnAHost(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	const canary = "canary-sudo-4711"
	h := b.lab.Hosts[0]
	for name, password := range map[string]string{"free": "", "asked": canary} {
		if err := h.AddUser(name, true, password); err != nil {
			t.Fatal(err)
		}
	}
	b.doc("files: { /etc/rooted: { content: x, owner: root, mode: \"0600\" } }\n")
	b.connect.User, b.connect.Sudo = "free", &ssh.Sudo{}
	b.sync()
	b.expect("stat -c '%U %a' /etc/rooted", "root 600")
	b.doc("files: { /etc/rooted: { content: y, owner: root, mode: \"0600\" } }\n")
	b.connect.User, b.connect.Sudo = "asked", &ssh.Sudo{}
	p, err := b.tryPlan()
	if err != nil || len(p.UnknownScopes()) != 1 || !strings.Contains(p.Scopes[0].Unknown, "sudo") {
		t.Errorf("%v %+v", err, p)
	}
	b.connect.Sudo = &ssh.Sudo{Password: "mem:sudo"}
	b.password = canary
	b.sync()
	b.expect("cat /etc/rooted", "y")
	b.password = "wrong" + canary
	p, err = b.tryPlan()
	if err != nil || len(p.UnknownScopes()) != 1 || strings.Contains(p.Scopes[0].Unknown, canary) {
		t.Errorf("%v %+v", err, p)
	}
	// Without sudo only what the user may write is written.
	b.connect.User, b.connect.Sudo = "free", nil
	b.doc("files: { /home/free/f: { content: x }, /etc/other: { content: x }, /root/x: { content: x } }\n")
	p, err = b.tryPlan()
	if err != nil || len(p.UnknownScopes()) != 1 || !strings.Contains(p.Scopes[0].Unknown, "/root/x") {
		t.Errorf("what can't be seen: %v %+v", err, p.Scopes)
	}
	b.doc("files: { /home/free/f: { content: x }, /etc/other: { content: x } }\n")
	b.inv = driver.Inventory{}
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || bad["/etc/other"].Error == "" {
		t.Errorf("%v %+v", err, bad)
	}
	b.expect("stat -c %U /home/free/f", "free")
}

// hostWorld is a real OpenSSH host as the kit sees it: files in one directory.
type hostWorld struct {
	*labBench
	root string
}

func (w *hostWorld) Environment() driver.Environment { return w.environment() }

func (w *hostWorld) Set(_ testing.TB, name, value string) {
	w.on("printf %s '" + value + "' >" + w.root + "/" + name + "; chmod 644 " + w.root + "/" + name)
}

func (w *hostWorld) Unset(_ testing.TB, name string) { w.on("rm " + w.root + "/" + name) }

func (w *hostWorld) List(testing.TB) drivertest.Objects {
	out := drivertest.Objects{}
	for _, line := range strings.Split(w.on("cd "+w.root+" && for f in *; do [ -f \"$f\" ] && echo \"$f=$(cat \"$f\")\"; done; true"), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			out[name] = value
		}
	}
	return out
}

func (w *hostWorld) MakeUnreadable(t testing.TB) func() {
	if err := w.lab.Hosts[0].KillSSHD(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := w.lab.Hosts[0].StartSSHD(); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *hostWorld) Block(_ testing.TB, name string) func() {
	w.on("rm " + w.root + "/" + name + " && mkdir -p " + w.root + "/" + name + "/in-the-way")
	return func() { w.on("rm -r " + w.root + "/" + name) }
}

// TestConformanceOnOpenSSH runs the kit on a real host.
func TestConformanceOnOpenSSH(t *testing.T) {
	k := &kit{root: "/srv/kit"}
	lab := newLab(t, sshhosts.Debian)
	h := k.harness()
	h.New = func(t testing.TB) drivertest.World {
		lab.TB = t
		lab.on("rm -rf /srv/kit && mkdir -p /srv/kit")
		return &hostWorld{lab, "/srv/kit"}
	}
	h.OptOut["TruncatedReadPlansNoDelete"] = "cutting an answer in the middle takes a server of our own: TestConformance"
	drivertest.Run(t, h)
}

// TestAnyTreeOnOtherShells: bash as sh, and busybox alone.
func TestAnyTreeOnOtherShells(t *testing.T) {
	for name, path := range map[string]string{"bash": bashAsSh(t), "busybox": toolbox(t)} {
		t.Run(name, func(t *testing.T) { anyTree(t, newBench(t, path)) })
	}
}
