//go:build real

package ssh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

func realTarget(t *testing.T, s *sshserver.SSHD, known string) *ssh.Target {
	to := target(t, s.Addr, known, s.PrivateKey)
	to.User = s.User
	return to
}

// TestOpenSSH runs commands on a real sshd.
func TestOpenSSH(t *testing.T) {
	s := sshserver.StartSSHD(t)
	r := &rig{pool: ssh.NewPool(), target: realTarget(t, s, s.KnownHosts(t))}
	defer r.pool.Close()
	large := strings.Repeat("0123456789abcdef", 1<<18)
	if out, err := r.run(t, ssh.Command{Script: "cat", Stdin: reader(large)}); err != nil || out != large {
		t.Errorf("4 MB come back as %d, %v", len(out), err)
	}
	_, err := r.run(t, ssh.Command{Script: "echo no >&2; exit 3"})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Status != 3 || exit.Stderr != "no" {
		t.Errorf("%v", err)
	}
	done := make(chan error, 30)
	for i := range 30 {
		go func() {
			out, err := r.run(t, ssh.Command{Script: fmt.Sprintf("echo %d", i)})
			if err == nil && out != fmt.Sprintln(i) {
				err = errors.New(out)
			}
			done <- err
		}()
	}
	for range 30 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	conn, err := r.pool.Get(t.Context(), r.target)
	if err != nil {
		t.Fatal(err)
	}
	f, err := conn.SFTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat(s.Dir); err != nil {
		t.Error(err)
	}
	_ = f.Close()
}

// TestOpenSSHCancel ends a command with children on a real host.
func TestOpenSSHCancel(t *testing.T) {
	s := sshserver.StartSSHD(t)
	pool, to := ssh.NewPool(), realTarget(t, s, s.KnownHosts(t))
	defer pool.Close()
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- pool.Run(ctx, to, ssh.Command{Script: "trap '' HUP PIPE TERM; sleep 600 & echo $$ $! >" + pids + "; wait; sleep 600"})
	}()
	var a, b int
	until(t, "the start of the command", func() bool {
		text, _ := os.ReadFile(pids)
		n, _ := fmt.Sscan(string(text), &a, &b)
		return n == 2
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, pid := range []int{a, b} {
		until(t, "the end of a process", func() bool { return syscall.Kill(pid, 0) != nil })
	}
}

// TestOpenSSHHostCertificate lets ssh-keygen sign a host key, and a hashed
// known_hosts be made by ssh-keygen -H.
func TestOpenSSHHostCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, caPEM := sshserver.NewKey(t)
	host, hostPEM := sshserver.NewKey(t)
	for name, text := range map[string]string{"ca": caPEM, "h": hostPEM, "h.pub": string(xssh.MarshalAuthorizedKey(host.PublicKey()))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-s", dir+"/ca", "-I", "h", "-h", "-n", "127.0.0.1", dir+"/h.pub").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := sshserver.StartSSHD(t, "HostKey "+dir+"/h", "HostCertificate "+dir+"/h-cert.pub")
	check := func(name, known string) {
		pool := ssh.NewPool()
		defer pool.Close()
		var out bytes.Buffer
		err := pool.Run(t.Context(), realTarget(t, s, known), ssh.Command{Script: "echo in", Stdout: &out})
		if err != nil || out.String() != "in\n" {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("certificate", sshserver.WriteFile(t, "k", "@cert-authority "+sshserver.KnownLine(s.Addr, ca.PublicKey())))
	hashed := sshserver.WriteFile(t, "k", sshserver.KnownLine(s.Addr, s.HostKey.PublicKey()))
	if out, err := exec.Command("ssh-keygen", "-H", "-f", hashed).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if text, _ := os.ReadFile(hashed); strings.Contains(string(text), "127.0.0.1") {
		t.Fatalf("not hashed: %s", text)
	}
	check("hashed", hashed)
}
