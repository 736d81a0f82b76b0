//go:build real

package killtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/secret"
)

// server is a `trueup serve` process that can be killed and started again.
type server struct {
	t       *testing.T
	name    string
	dir     string // its data directory
	config  string
	log     string
	client  *api.Client
	cmd     *exec.Cmd
	done    chan struct{}
	started int
}

func newServer(t *testing.T, dir, name, config string) *server {
	s := &server{t: t, name: name, dir: filepath.Join(dir, name), log: filepath.Join(dir, name+".log")}
	s.config = filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := api.Dial(filepath.Join(s.dir, "trueup.sock"), secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	s.client = c
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", name, s.tail(40))
		}
	})
	return s
}

func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, append(args, "--config", s.config, "--data-dir", s.dir)...)
	cmd.Dir = filepath.Dir(s.config)
	return cmd
}

// cli runs the command line against the server.
func (s *server) cli(args ...string) (string, error) {
	out, err := s.command(args...).CombinedOutput()
	return string(out), err
}

// start starts the process; it does not wait until it answers.
func (s *server) start() {
	s.t.Helper()
	s.launch(s.command("serve", "--log-format", "text"))
}

// launch runs a command that is the server until it ends. The thread that
// starts it lives as long, for the death signal comes with the thread's end.
func (s *server) launch(cmd *exec.Cmd) {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
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
			_ = cmd.Wait() // it is meant to be killed
		}
	}()
	if err := <-begun; err != nil {
		s.t.Fatal(err)
	}
	s.started++
}

// ready waits until the server answers.
func (s *server) ready() {
	s.t.Helper()
	eventually(s.t, 30*time.Second, s.name+" answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := s.client.Status(ctx)
		return err == nil
	})
}

// kill ends the process where it stands.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// stop asks the process to end and tells how long it took.
func (s *server) stop(within time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(within):
		s.t.Fatalf("%s did not end within %s of SIGTERM", s.name, within)
	}
	s.cmd = nil
	return time.Since(began)
}

// freeze stops the process without its knowing, until thaw.
func (s *server) freeze() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGSTOP)
	eventually(s.t, 10*time.Second, s.name+" stands still", func() bool {
		stat, err := os.ReadFile("/proc/" + itoa(s.cmd.Process.Pid) + "/stat")
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
}

func (s *server) thaw() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// poll asks the server to look at the repository now. A server that is just
// being started or killed does not; its own polling finds the commit.
func (s *server) poll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = s.client.Do(ctx, auth.Poll, api.Action{Repository: "infra"})
}

func (s *server) tail(lines int) string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func eventually(t *testing.T, within time.Duration, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); {
		if check() {
			return
		}
		time.Sleep(30 * time.Millisecond)
	}
	t.Fatalf("never within %s: %s", within, what)
}
