package gitserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// SSH is OpenSSH's sshd on loopback, which lets one key in.
type SSH struct {
	Addr        string // host:port
	KnownHosts  string // text of a known_hosts file with its key
	Key         string // the private key that is let in
	OtherKey    string // one that is not
	OtherPublic string // its public half
	user        string
	cmd         *exec.Cmd
}

// URL gives the URL of a repository by its path on this machine.
func (s *SSH) URL(path string) string { return "ssh://" + s.user + "@" + s.Addr + path }

// StartSSH starts sshd with keys of its own.
func StartSSH(tb testing.TB) *SSH {
	tb.Helper()
	sshd := lookup(tb, "sshd", "openssh-server")
	lookup(tb, "ssh-keygen", "openssh-client")
	dir := tb.TempDir()
	keygen := func(name string) string {
		p := filepath.Join(dir, name)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", p).CombinedOutput(); err != nil {
			tb.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		return p
	}
	host, client, other := keygen("host"), keygen("client"), keygen("other")
	copyFile(tb, client+".pub", filepath.Join(dir, "authorized_keys"))
	me, err := user.Current()
	if err != nil {
		tb.Fatal(err)
	}
	if os.Getuid() == 0 {
		// sshd wants this directory when it runs as root.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	s := &SSH{Addr: freeAddr(tb), user: me.Username, Key: read(tb, client), OtherKey: read(tb, other), OtherPublic: read(tb, other+".pub")}
	_, port, _ := net.SplitHostPort(s.Addr)
	conf := filepath.Join(dir, "sshd_config")
	lines := []string{"ListenAddress 127.0.0.1", "Port " + port, "HostKey " + host, "PidFile none", "AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
		"PermitUserEnvironment no", "AcceptEnv GIT_PROTOCOL",
		// A shell level above one keeps bash from reading ~/.bashrc.
		"SetEnv SHLVL=3"}
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.KnownHosts = fmt.Sprintf("[127.0.0.1]:%s %s", port, read(tb, host+".pub"))
	log := filepath.Join(dir, "log")
	s.cmd = exec.Command(sshd, "-D", "-f", conf, "-E", log)
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	waitFor(tb, s.Addr, log)
	return s
}

// Stop ends the server.
func (s *SSH) Stop() {
	if s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

func waitFor(tb testing.TB, addr, log string) {
	tb.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
	}
	said, _ := os.ReadFile(log)
	tb.Fatalf("sshd doesn't answer at %s:\n%s", addr, said)
}

func lookup(tb testing.TB, program, pkg string) string {
	tb.Helper()
	for _, p := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if found, err := exec.LookPath(p); err == nil {
			if abs, err := filepath.Abs(found); err == nil {
				return abs
			}
		}
	}
	tb.Fatalf("%s is missing; install it (Debian: apt-get install %s)", program, pkg)
	return ""
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func copyFile(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.WriteFile(to, []byte(read(tb, from)), 0o600); err != nil {
		tb.Fatal(err)
	}
}
