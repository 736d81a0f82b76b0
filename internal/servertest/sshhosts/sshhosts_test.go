//go:build real

package sshhosts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// login runs a command on the host through SSH.
func login(t *testing.T, h *Host, user, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", "none", "-i", h.lab.Key, "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
		"-o", "UserKnownHostsFile="+h.lab.KnownHosts, "-o", "StrictHostKeyChecking=yes", user+"@"+h.Addr, command)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustLogin(t *testing.T, h *Host, user, command, want string) {
	t.Helper()
	if out, err := login(t, h, user, command); err != nil || out != want {
		t.Fatalf("%s@%s: %q gives %q, %v; want %q", user, h.Name, command, out, err, want)
	}
}

func TestHostsAreApart(t *testing.T) {
	l := Start(t, 3)
	for _, h := range l.Hosts {
		mustLogin(t, h, "root", "hostname; echo $(($(ps ax | wc -l) < 12))", h.Name+"\n1")
		if err := h.WriteFile("/etc/only-here", []byte(h.Name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range l.Hosts {
		mustLogin(t, h, "root", "cat /etc/only-here; stat -c :%a /etc/only-here", h.Name+":640")
	}
	if _, err := os.Stat("/etc/only-here"); err == nil {
		t.Fatal("a host's file is on this machine")
	}
	h := l.Hosts[0]
	h.Sh(t, "useradd -m ann && sysctl -qw net.ipv4.ip_forward=1")
	mustLogin(t, h, "root", "id -un ann; cat /proc/sys/net/ipv4/ip_forward", "ann\n1")
	if out, err := login(t, l.Hosts[1], "root", "id ann"); err == nil {
		t.Fatalf("a user of %s is on %s: %s", h.Name, l.Hosts[1].Name, out)
	}
	if out, err := h.Exec(t.Context(), "echo 1 >/proc/sys/kernel/panic"); err == nil {
		t.Fatalf("a host may set the machine's kernel: %s", out)
	}
	if err := h.AddUser("deploy", true, ""); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, h, "deploy", "sudo -n id -u", "0")
	// dpkg's state is private as well.
	h.Sh(t, "dpkg --remove --force-all cron 2>/dev/null >&2; ! dpkg -s cron >/dev/null 2>&1 || dpkg -s cron | grep -q deinstall")
	if out := l.Hosts[1].Sh(t, "dpkg-query -W -f '${db:Status-Status}' cron"); out != "installed" {
		t.Fatalf("cron on the neighbour: %s", out)
	}
}

func TestFaults(t *testing.T) {
	l := Start(t, 2)
	h, other := l.Hosts[0], l.Hosts[1]
	if err := h.KillSSHD(); err != nil {
		t.Fatal(err)
	}
	if out, err := login(t, h, "root", "true"); err == nil {
		t.Fatalf("sshd was killed and answers: %s", out)
	}
	h.Sh(t, "true")
	if err := h.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, h, "root", "echo up", "up")

	if err := h.DropNetwork(); err != nil {
		t.Fatal(err)
	}
	if out, err := login(t, h, "root", "true"); err == nil {
		t.Fatalf("cut off and reachable: %s", out)
	}
	mustLogin(t, other, "root", "echo up", "up")
	if err := h.RestoreNetwork(); err != nil {
		t.Fatal(err)
	}
	if err := h.WaitSSH(time.Minute); err != nil {
		t.Fatal(err)
	}

	if err := h.NewHostKey(); err != nil {
		t.Fatal(err)
	}
	if out, err := login(t, h, "root", "true"); err == nil || !strings.Contains(out, "REMOTE HOST IDENTIFICATION HAS CHANGED") {
		t.Fatalf("another host key: %v %s", err, out)
	}
}

func TestReboot(t *testing.T) {
	l := StartWith(t, Options{Hosts: []Kind{Debian, Systemd}})
	for _, h := range l.Hosts {
		before, err := h.BootID()
		if err != nil {
			t.Fatal(err)
		}
		h.Sh(t, "touch /run/gone /tmp/gone /etc/stays")
		if err := h.Reboot(); err != nil {
			t.Fatal(err)
		}
		h.Sh(t, "! test -e /run/gone && ! test -e /tmp/gone && test -e /etc/stays")
		after, err := h.BootID()
		if err != nil || after == before || len(after) != 36 {
			t.Fatalf("%s: boot id %q, then %q: %v", h.Name, before, after, err)
		}
		command := "reboot -f"
		if h.Kind == Systemd {
			command = "systemctl reboot"
		}
		_, _ = login(t, h, "root", "nohup "+command+" >/dev/null 2>&1 &")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.WaitReboot(ctx, after); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSystemd(t *testing.T) {
	h := StartWith(t, Options{Hosts: []Kind{Systemd}}).Hosts[0]
	mustLogin(t, h, "root", "cat /proc/1/comm", "systemd")
	if err := h.WriteFile("/etc/systemd/system/hello.service", []byte("[Service]\nExecStart=/bin/sleep 1000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, h, "root", "systemctl daemon-reload && systemctl start hello && systemctl is-active hello", "active")
	if state := h.Sh(t, "systemctl is-system-running --wait || systemctl --failed"); state != "running" {
		t.Fatalf("systemd is %s", state)
	}
}

func TestSmallHosts(t *testing.T) {
	l := StartWith(t, Options{Hosts: []Kind{Busybox, Coreutils}})
	mustLogin(t, l.Hosts[0], "root", "readlink -f /bin/sh; ! command -v bash && ! command -v python3", "/usr/bin/busybox")
	mustLogin(t, l.Hosts[1], "root", "! command -v grep && ! command -v sed && echo abc | sha256sum | cut -c 1-4", "edea")
}

func TestFiftyHosts(t *testing.T) {
	begin := time.Now()
	l := Start(t, 50)
	t.Logf("50 hosts in %s, %d MB", time.Since(begin).Round(time.Millisecond), memory(l)>>20)
	for _, h := range l.Hosts {
		if err := h.greet(); err != nil {
			t.Fatal(err)
		}
	}
}

// memory is the proportional memory of all processes of the hosts.
func memory(l *Lab) (sum int64) {
	for _, h := range l.Hosts {
		init, _ := h.PID()
		ns, _ := os.Readlink(filepath.Join("/proc", itoa(init), "ns/mnt"))
		for _, pid := range processes() {
			if l, err := os.Readlink(filepath.Join("/proc", itoa(pid), "ns/mnt")); err == nil && l == ns {
				sum += proportional(pid)
			}
		}
	}
	return sum
}

// TestNothingStays starts hosts in a process that is killed, and looks for what is left.
func TestNothingStays(t *testing.T) {
	if dir := os.Getenv("SSHHOSTS_CHILD"); dir != "" {
		l, err := Run(dir, Options{Hosts: []Kind{Debian, Systemd}})
		if err != nil {
			t.Fatal(err)
		}
		_ = os.WriteFile(filepath.Join(dir, "up"), []byte(l.Gateway), 0o600)
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingStays$")
	cmd.Env = append(os.Environ(), "SSHHOSTS_CHILD="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var gateway string
	eventually(t, "the hosts are up", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "up"))
		gateway = string(b)
		return err == nil
	})
	if out, _ := exec.Command("ip", "-o", "address").Output(); !strings.Contains(string(out), gateway+"/") {
		t.Fatalf("no %s in %s", gateway, out)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "all processes end and the network goes", func() bool {
		for _, pid := range processes() {
			if b, _ := os.ReadFile(filepath.Join("/proc", itoa(pid), "cmdline")); strings.Contains(string(b), dir) && !zombie(pid) {
				return false
			}
		}
		out, err := exec.Command("ip", "-o", "address").Output()
		return err == nil && !strings.Contains(string(out), gateway+"/")
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
