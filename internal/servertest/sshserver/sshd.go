package sshserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHD is OpenSSH's sshd on loopback, which lets the current user in with one
// key.
type SSHD struct {
	Addr, User string
	Dir        string
	PrivateKey string     // PEM text of the key that is let in
	HostKey    ssh.Signer // what it shows
	cmd        *exec.Cmd
	conf       string
}

// StartSSHD starts sshd with keys of its own; lines are added to its
// configuration.
func StartSSHD(tb testing.TB, lines ...string) *SSHD {
	tb.Helper()
	program := ""
	for _, p := range []string{"sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if found, err := exec.LookPath(p); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		tb.Fatal("sshd is missing; install it (Debian: apt-get install openssh-server)")
	}
	me, err := user.Current()
	if err != nil {
		tb.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd asks for it as root
			tb.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	s := &SSHD{Addr: addr, User: me.Username, Dir: tb.TempDir()}
	host, hostPEM := NewKey(tb)
	login, loginPEM := NewKey(tb)
	s.HostKey, s.PrivateKey = host, loginPEM
	put := func(name, text string) string {
		p := filepath.Join(s.Dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		return p
	}
	_, port, _ := net.SplitHostPort(addr)
	conf := append([]string{"ListenAddress 127.0.0.1", "Port " + port, "HostKey " + put("host", hostPEM), "PidFile none",
		"AuthorizedKeysFile " + put("authorized_keys", string(ssh.MarshalAuthorizedKey(login.PublicKey()))), "StrictModes no", "UsePAM no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "Subsystem sftp internal-sftp", "MaxStartups 200:30:400",
		"SetEnv SHLVL=3"}, lines...) // a shell level above one keeps bash from reading ~/.bashrc
	s.conf = put("sshd_config", strings.Join(conf, "\n")+"\n")
	tb.Cleanup(s.Stop)
	s.Start(tb, program)
	return s
}

// Start starts the server again after Stop.
func (s *SSHD) Start(tb testing.TB, program string) {
	tb.Helper()
	log := filepath.Join(s.Dir, "log")
	s.cmd = exec.Command(program, "-D", "-f", s.conf, "-E", log)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			_ = c.Close()
			return
		}
	}
	said, _ := os.ReadFile(log)
	tb.Fatalf("sshd doesn't answer at %s:\n%s", s.Addr, said)
}

// Stop ends the server; connections that are open go on.
func (s *SSHD) Stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// KnownHosts writes a known_hosts file with the server's key.
func (s *SSHD) KnownHosts(tb testing.TB) string {
	tb.Helper()
	return WriteFile(tb, "known_hosts", fmt.Sprintln(strings.TrimSpace(KnownLine(s.Addr, s.HostKey.PublicKey()))))
}
