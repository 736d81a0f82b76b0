//go:build real

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trueup is a `trueup serve` process.
type trueup struct {
	t      *testing.T
	dir    string
	config string
	log    string
	env    []string
	cmd    *exec.Cmd
	done   chan struct{}
}

func newTrueup(t *testing.T, config string, env ...string) *trueup {
	t.Helper()
	s := &trueup{t: t, dir: t.TempDir(), env: env}
	s.config, s.log = filepath.Join(s.dir, "server.yaml"), filepath.Join(s.dir, "server.log")
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the end of the server's log:\n%s", s.tail(60))
		}
	})
	return s
}

func (s *trueup) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, append(args, "--config", s.config, "--data-dir", filepath.Join(s.dir, "data"))...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	return cmd
}

// cli runs the command line and gives stdout and stderr together.
func (s *trueup) cli(args ...string) (string, error) {
	out, err := s.command(args...).CombinedOutput()
	return string(out), err
}

// must runs the command line and gives its stdout.
func (s *trueup) must(args ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("trueup %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

// start starts the server and waits until it answers. The thread that starts
// it lives as long as it, for the death signal comes with the thread's end.
func (s *trueup) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command("serve", "--log-format", "text")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd, s.done = cmd, make(chan struct{})
	done, begun := s.done, make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		defer log.Close()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // how it ends is seen in its log
		}
	}()
	if err := <-begun; err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the server answers", func() error {
		_, err := s.cli("status")
		return err
	})
}

// stop ends the server as an operator would.
func (s *trueup) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.t.Error("the server did not stop within 30 s")
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

func (s *trueup) tail(lines int) string {
	body, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	all := strings.SplitAfter(string(body), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// waiting is when a wait ends.
const waiting = 90 * time.Second

// eventually waits until check gives no error, for a time that a busy machine
// does not use up.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(waiting); time.Now().Before(end); time.Sleep(150 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("never happened: %s: %v", what, err)
}

// want gives an error unless text holds all the parts.
func want(text string, parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return fmt.Errorf("%q is missing in:\n%s", p, text)
		}
	}
	return nil
}
