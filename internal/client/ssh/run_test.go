package ssh_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

type rng struct{}

func (rng) Read(p []byte) (int, error) { return rand.Read(p) }

func TestRun(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	if got := r.mustRun(t, `echo "it's $((1+1))"; echo noise >&2`); got != "it's 2" {
		t.Errorf("got %q", got)
	}
	out, err := r.run(t, ssh.Command{Argv: []string{"printf", "%s|", "a b", "'", "$HOME", "", "\\n"}})
	if err != nil || out != `a b|'|$HOME||\n|` {
		t.Errorf("argv gives %q, %v", out, err)
	}
	large := strings.Repeat("0123456789abcdef", 1<<17)
	out, err = r.run(t, ssh.Command{Script: "cat", Stdin: reader(large)})
	if err != nil || out != large {
		t.Errorf("2 MB come back as %d bytes, %v", len(out), err)
	}
	_, err = r.run(t, ssh.Command{Script: "echo broken >&2; exit 7", Stdin: reader(large)})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Status != 7 || exit.Stderr != "broken" {
		t.Errorf("%v", err)
	}
	if n := r.server.Conns.Load(); n != 1 {
		t.Errorf("%d connections were made for one host", n)
	}
}

// TestInputThatBreaksOff: a source that fails is an error, whatever the
// command makes of it.
func TestInputThatBreaksOff(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	in, w := io.Pipe()
	go func() { fmt.Fprint(w, "half"); w.CloseWithError(errors.New("the disk is gone")) }()
	if _, err := r.run(t, ssh.Command{Script: "cat", Stdin: in}); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("%v", err)
	}
}

func TestManySessionsOnOneConnection(t *testing.T) {
	r := newRig(t, sshserver.Config{MaxSessions: 3})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if out, err := r.run(t, ssh.Command{Script: fmt.Sprintf("echo %d", i)}); err != nil || out != fmt.Sprintln(i) {
				t.Errorf("%d gives %q, %v", i, out, err)
			}
		})
	}
	wg.Wait()
	if n := r.server.Conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestCancelEndsTheCommand: the command and its children are gone from the
// host when Run returns.
func TestCancelEndsTheCommand(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- r.pool.Run(ctx, r.target, ssh.Command{Script: "trap '' HUP PIPE; sleep 600 & echo $$ $! >" + pids + "; wait"})
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
		until(t, fmt.Sprintf("the end of process %d", pid), func() bool { return syscall.Kill(pid, 0) != nil })
	}
}

func TestLostConnection(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	begun := filepath.Join(t.TempDir(), "begun")
	done := make(chan error, 1)
	go func() {
		_, err := r.run(t, ssh.Command{Script: "echo >" + begun + "; cat", Stdin: forever{}})
		done <- err
	}()
	until(t, "the start of the command", func() bool { _, err := os.Stat(begun); return err == nil })
	r.server.Disconnect()
	if err := <-done; !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if r.mustRun(t, "echo again") != "again" {
		t.Error("no new connection")
	}
}

// TestDeadConnectionIsMadeAnew: a connection that died while nobody looked
// costs nobody an error.
func TestDeadConnectionIsMadeAnew(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	for range 10 {
		r.mustRun(t, "true")
		r.server.Disconnect()
	}
}

type forever struct{}

func (forever) Read(p []byte) (int, error) { return copy(p, "x\n"), nil }

func TestCutOutputIsNoSuccess(t *testing.T) {
	var cut atomic.Int64
	cut.Store(1000)
	r := newRig(t, sshserver.Config{CutOutput: &cut})
	out, err := r.run(t, ssh.Command{Script: "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done"})
	if !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("%d bytes and %v", len(out), err)
	}
}

// fakeSudo is a sudo that asks as sudo does: %s says whether it must ask.
const fakeSudo = `#!/bin/sh
ask=%s; prompt=; quiet=
while :; do case $1 in
-n) quiet=1; shift;; -S) shift;; -p) prompt=$2; shift 2;; -u) shift 2;; --) shift; break;; *) break;; esac; done
if [ $ask = 1 ]; then
  if [ "$quiet" ]; then echo "sudo: a password is required" >&2; exit 1; fi
  for try in 1 2 3; do
    printf %%s "$prompt" >&2; IFS= read -r p || exit 1
    if [ "$p" = "%s" ]; then SUDO_USER=me exec "$@"; fi
    echo "Sorry, try again." >&2
  done
  exit 1
fi
SUDO_USER=me exec "$@"
`

func sudoRig(t *testing.T, ask, password string) *rig {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), fmt.Appendf(nil, fakeSudo, ask, password), 0o755); err != nil {
		t.Fatal(err)
	}
	return newRig(t, sshserver.Config{Env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}})
}

func TestSudo(t *testing.T) {
	const canary = "canary-sudo-91"
	for name, c := range map[string]struct {
		ask  string
		sudo ssh.Sudo
		want string
	}{
		"no password":            {"0", ssh.Sudo{}, ""},
		"password":               {"1", ssh.Sudo{Password: secret.New(canary)}, ""},
		"password, but no asker": {"0", ssh.Sudo{Password: secret.New(canary)}, ""},
		"wrong password":         {"1", ssh.Sudo{Password: secret.New("wrong" + canary)}, "refused"},
		"password needed":        {"1", ssh.Sudo{}, "a password is required"},
	} {
		r := sudoRig(t, c.ask, canary)
		out, err := r.run(t, ssh.Command{Script: `echo "$SUDO_USER"; tr '\0' ' ' </proc/$$/cmdline; cat`, Stdin: reader("input\n"), Sudo: &c.sudo})
		if c.want == "" {
			if err != nil || !strings.HasPrefix(out, "me\n") || !strings.HasSuffix(out, "input\n") || strings.Contains(out, canary) {
				t.Errorf("%s: %q, %v", name, out, err)
			}
			continue
		}
		if !errors.Is(err, ssh.ErrSudo) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSFTP(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	c, err := r.pool.Get(t.Context(), r.target)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 { // more than there are sessions: each is given back
		f, err := c.SFTP(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "x")
		w, err := f.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(make([]byte, 100_000))); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		if info, err := os.Stat(name); err != nil || info.Size() != 100_000 {
			t.Errorf("%v %v", info, err)
		}
		_ = f.Close()
	}
}
