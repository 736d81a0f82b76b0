//go:build real

package ssh_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// TestSysctl: the value now and after a start of the host; on prune the file goes.
func TestSysctl(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	b.doc("sysctl:\n  net.ipv4.ip_forward: 1\n  net.ipv4.ip_local_port_range: 20000   30000\n  net/ipv4/conf/eth0/rp_filter: 2\n")
	b.sync()
	b.expect("cat /proc/sys/net/ipv4/ip_forward; sysctl -n net.ipv4.conf.eth0.rp_filter; sysctl -n net.ipv4.ip_local_port_range", "1\n2\n20000\t30000")
	b.expect("sysctl -n -p /etc/sysctl.d/60-trueup-net_ipv4_ip_forward.conf", "1")
	b.on("sysctl -qw net.ipv4.ip_forward=0; echo 'net.ipv4.conf.eth0.rp_filter = 1' >/etc/sysctl.d/60-trueup-net_ipv4_conf_eth0_rp_filter.conf")
	if c := change(t, b.plan(), "sysctl:net/ipv4/ip_forward"); c.Reason != plan.ByDrift {
		t.Fatalf("%+v", c)
	}
	b.sync()
	b.expect("cat /proc/sys/net/ipv4/ip_forward; sysctl -n -p /etc/sysctl.d/60-trueup-net_ipv4_conf_eth0_rp_filter.conf", "1\n2")

	b.doc("sysctl:\n  net.ipv4.ip_forward: 1\n  net.ipv4.no_such_thing: 1\n")
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || !strings.Contains(bad["sysctl:net/ipv4/no_such_thing"].Error, "no setting") {
		t.Fatalf("%v %+v", err, bad)
	}
	b.expect("ls /etc/sysctl.d | grep -c trueup", "1")
}

// TestCron: jobs in files and in crontabs, beside those of others.
func TestCron(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	b.on("useradd -m ann; printf 'MAILTO=ann\\n@hourly theirs\\n' | crontab -u ann -; echo '@daily root true' >/etc/cron.d/theirs")
	const mine = "cron:\n  backup: {schedule: '15 3 * * *', command: 'backup --to /srv 100\\%', env: {MAILTO: ops@example.com}}\n" +
		"  mine: {schedule: '@daily', command: mine, user: ann, crontab: true}\n  more: {schedule: '@weekly', command: more, user: ann, crontab: true}\n"
	b.doc(mine)
	b.sync()
	b.expect("grep -v '^#' /etc/cron.d/backup; stat -c %a /etc/cron.d/backup", "MAILTO=ops@example.com\n15 3 * * * root backup --to /srv 100\\%\n644")
	const tab = "MAILTO=ann\n@hourly theirs\n# begin trueup mine\n@daily mine\n# end trueup mine\n# begin trueup more\n@weekly more\n# end trueup more"
	b.expect("crontab -l -u ann", tab)

	// By hand: a job changed, one removed, one of theirs added.
	b.on("crontab -l -u ann | sed -e 's/@daily mine/@yearly mine/; $a 5 * * * * new' -e '/more/d' | crontab -u ann -; echo '# x' >>/etc/cron.d/backup")
	b.sync()
	b.expect("crontab -l -u ann | grep -v '^#'", "MAILTO=ann\n@hourly theirs\n@daily mine\n5 * * * * new\n@weekly more")
	b.expect("grep -c '# x' /etc/cron.d/backup || :", "0")

	// From the crontab into a file, and the others go.
	b.doc("cron:\n  mine: {schedule: '@daily', command: mine, user: ann}\n")
	b.sync()
	b.expect("crontab -l -u ann; ls /etc/cron.d | grep -v e2scrub", "MAILTO=ann\n@hourly theirs\n5 * * * * new\nmine\ntheirs")

	// Another's file of the same name is not taken over.
	b.doc("cron:\n  mine: {schedule: '@daily', command: mine, user: ann}\n  theirs: {schedule: '@daily', command: x}\n")
	if c := change(t, b.plan(), "cron:theirs"); c.Conflict == "" {
		t.Fatalf("%+v", c)
	}
}

// TestCommands run until their check says that they are done.
func TestCommands(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	b.connect.Commands["init"] = ssh.HostCommand{Run: []string{"/bin/sh", "-c", `echo "$GREETING" >>/root/init; env | grep -c SSH_ >>/root/env || :`},
		Unless: []string{"test", "-e", "/root/init"}, Env: map[string]string{"GREETING": "it's $me"}}
	b.connect.Commands["liar"] = ssh.HostCommand{Run: []string{"true"}, Creates: "/root/liar"}
	b.connect.Commands["slow"] = ssh.HostCommand{Run: []string{"sleep", "600"}, Creates: "/root/slow", Timeout: 1e9}
	b.doc("commands:\n  init: {}\n")
	if c := change(t, b.plan(), "command:init"); !c.Simulated || c.Action != plan.Create {
		t.Fatalf("%+v", c)
	}
	b.expect("ls /root/init 2>/dev/null || echo none", "none")
	b.sync()
	b.expect("cat /root/init /root/env", "it's $me\n0")
	b.on("rm /root/init")
	b.sync()
	b.expect("cat /root/init", "it's $me")

	b.doc("commands:\n  init: {}\n  liar: {}\n  slow: {}\n")
	bad, err := b.apply()
	if err != nil || len(bad) != 2 || !strings.Contains(bad["command:liar"].Error, "/root/liar is not there") || !strings.Contains(bad["command:slow"].Error, "did not end") {
		t.Fatalf("%v %+v", err, bad)
	}
	b.doc("commands:\n  rm-rf: {}\n")
	if _, err := b.tryPlan(); err == nil || !strings.Contains(err.Error(), `command "rm-rf" is not among connect.commands`) || !strings.Contains(err.Error(), "hosts/host.yaml:2") {
		t.Fatalf("a command that the operator does not have: %v", err)
	}
}

// repository makes Debian packages and an apt repository of files on the host.
const repository = `set -e
mkdir -p /srv/repo /var/lib/apt/lists/partial
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list
make() { # NAME VERSION DEPENDS
	d=/tmp/pkg-$1-$2
	mkdir -p $d/DEBIAN $d/usr/share/$1
	echo $2 >$d/usr/share/$1/version
	printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: test <t@example.com>\nDescription: test\n%s' $1 $2 "$3" >$d/DEBIAN/control
	dpkg-deb -b $d /srv/repo/$1_$2.deb >/dev/null
}
index() {
	cd /srv/repo
	for f in *.deb; do
		dpkg-deb -f $f
		printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $f $(stat -c %s $f) $(sha256sum <$f | cut -c 1-64)
	done >Packages
}
`

// TestPackages: real apt and dpkg in the host's own root.
func TestPackages(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	b.on(repository + "make hello-lib 1.0 ''\nmake hello 1.0 'Depends: hello-lib\n'\nmake hello 1.1 'Depends: hello-lib\n'\nmake bye 2.0 ''\nindex")
	b.doc("packages:\n  hello: {version: '1.0', held: true}\n  bye: present\n")
	if c := change(t, b.plan(), "package:hello"); !c.Simulated || c.Action != plan.Create {
		t.Fatalf("%+v", c)
	}
	b.expect("dpkg-query -W hello 2>&1 | grep -c 1.0 || :", "0")
	b.sync()
	b.expect("cat /usr/share/hello/version /usr/share/bye/version; apt-mark showhold; dpkg-query -W -f '${db:Status-Status}' hello-lib", "1.0\n2.0\nhello\ninstalled")

	// By hand: another version, no hold; a package removed.
	b.on("apt-get -qq -y --allow-change-held-packages install hello=1.1 >/dev/null; apt-mark unhold hello >/dev/null; dpkg --remove bye >/dev/null")
	b.sync()
	b.expect("cat /usr/share/hello/version /usr/share/bye/version; apt-mark showhold", "1.0\n2.0\nhello")

	// A newer version by a glob, one package absent, one that does not exist.
	b.doc("packages:\n  hello: {version: 1.1*, held: true}\n  bye: absent\n  nonsense: present\n")
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || bad["package:nonsense"].Outcome != plan.Failed || !strings.Contains(bad["package:nonsense"].Error, "Unable to locate package") {
		t.Fatalf("%v %+v", err, bad)
	}
	b.expect("cat /usr/share/hello/version; test -e /usr/share/bye/version || echo gone", "1.1\ngone")

	// What nobody asks for any more stays.
	b.doc("packages:\n  bye: absent\n")
	b.sync()
	b.expect("cat /usr/share/hello/version", "1.1")
}
