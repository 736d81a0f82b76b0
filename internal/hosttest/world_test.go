//go:build real

package hosttest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// program is the real program.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trueup-hosttest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "trueup")
	if out, err := exec.Command("go", "build", "-o", program, "trueup.dev/trueup/cmd/trueup").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build trueup: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// world is hosts, a repository and a server between them.
type world struct {
	t      *testing.T
	lab    *sshhosts.Lab
	dir    string
	git    string // the working copy
	health string // URL of what says whether a host is healthy
	log    string
	cmd    *exec.Cmd
	done   chan struct{}
}

const config = `version: 1
limits: {retryMin: 300ms, retryMax: 2s, lease: 3s}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
commands:
  drain: {args: [/bin/sh, -c, 'echo "drain $TRUEUP_HOST" >>%[1]s/calls']}
  undrain: {args: [/bin/sh, -c, 'echo "undrain $TRUEUP_HOST" >>%[1]s/calls']}
policies:
  hosts:
    driftInterval: 3s
    flapping: 1000
    guard: {update: 100000, delete: 100000, replace: 1000, disable: 1000}
environments:
  hosts:
    driver: ssh
    policy: hosts
    connect:
      inventory: %[1]s/inventory.yaml
      key: file:%[2]s
      knownHosts: %[3]s
      timeout: 5s
    allow: [{repository: infra}]
`

// newWorld starts hosts and makes a repository; the server is not started.
func newWorld(t *testing.T, n int) *world { return worldOf(t, sshhosts.Start(t, n)) }

func worldOf(t *testing.T, lab *sshhosts.Lab) *world {
	w := &world{t: t, lab: lab, dir: t.TempDir()}
	w.git, w.log = filepath.Join(w.dir, "work"), filepath.Join(w.dir, "log")
	w.run(w.dir, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
	w.run(w.dir, "git", "clone", "-q", "origin.git", "work")
	w.run(w.git, "git", "checkout", "-q", "-b", "main")
	var inv strings.Builder
	inv.WriteString("hosts:\n")
	for i, h := range w.lab.Hosts {
		groups := "web"
		if i == 0 {
			groups = "web, canary"
		}
		fmt.Fprintf(&inv, "  %s: {address: %s, port: %d, groups: [%s], vars: {color: c%d}}\n", h.Name, h.Addr, h.Port, groups, i)
	}
	w.write("inventory.yaml", inv.String())
	w.write("server.yaml", fmt.Sprintf(config, w.dir, w.lab.Key, w.lab.KnownHosts))
	w.serveHealth()
	t.Cleanup(func() {
		if t.Failed() {
			for _, args := range [][]string{{"show", "infra/app"}, {"get", "hosts", "infra/app"}, {"get", "runs", "--target", "infra/app", "--limit", "6"}, {"logs", "infra/app"}} {
				out, _ := w.cli(args...)
				t.Logf("trueup %v:\n%s", args, out)
			}
		}
		w.kill()
	})
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// serveHealth answers for each host: healthy unless its own file says that it
// is sick.
func (w *world) serveHealth() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.health = "http://" + l.Addr().String()
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		h := w.lab.Host(name)
		if h == nil {
			http.NotFound(rw, r)
			return
		}
		b, err := h.ReadFile("/srv/app/version")
		if err != nil || strings.Contains(string(b), "sick on "+name+"\n") {
			http.Error(rw, fmt.Sprintf("%s is sick (%v)", name, err), http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = s.Serve(l) }()
	w.t.Cleanup(func() { _ = s.Close() })
}

func (w *world) run(dir, name string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.test", "GIT_COMMITTER_NAME=Ann",
		"GIT_COMMITTER_EMAIL=ann@example.test", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// push writes files (an empty text removes one), commits and pushes.
func (w *world) push(files map[string]string) string {
	w.t.Helper()
	for name, text := range files {
		p := filepath.Join(w.git, name)
		if text == "" {
			if err := os.Remove(p); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run(w.git, "git", "add", "-A")
	w.run(w.git, "git", "commit", "-qm", "change")
	w.run(w.git, "git", "push", "-q", "origin", "HEAD:main")
	return w.run(w.git, "git", "rev-parse", "HEAD")
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, append(args, "--config", filepath.Join(w.dir, "server.yaml"), "--data-dir", filepath.Join(w.dir, "data"))...)
	cmd.Dir = w.dir
	return cmd
}

func (w *world) cli(args ...string) (string, error) {
	out, err := w.command(args...).CombinedOutput()
	return string(out), err
}

// start starts the server. The thread that starts it lives as long, for the
// death signal comes with the thread's end.
func (w *world) start() {
	w.t.Helper()
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := w.command("serve", "--log-format", "text")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w.cmd, w.done = cmd, make(chan struct{})
	done, begun := w.done, make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		defer log.Close()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-begun; err != nil {
		w.t.Fatal(err)
	}
}

// kill ends the server where it stands.
func (w *world) kill() {
	if w.cmd == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	<-w.done
	w.cmd = nil
}

const patience = 3 * time.Minute

func (w *world) eventually(what string, check func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if check() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("never within %s: %s", patience, what)
}

// on gives a file of each host, by what it holds: text to the hosts' names.
func (w *world) on(path string) map[string][]string {
	out := map[string][]string{}
	for _, h := range w.lab.Hosts {
		b, err := h.ReadFile(path)
		text := string(bytes.TrimSpace(b))
		if err != nil {
			text = "(none)"
		}
		out[text] = append(out[text], h.Name)
	}
	return out
}

// everywhere tells whether all hosts have a file with this text, but for some.
func (w *world) everywhere(path, text string, but ...*sshhosts.Host) bool {
	skip := map[string]bool{}
	for _, h := range but {
		skip[h.Name] = true
	}
	for have, hosts := range w.on(path) {
		for _, h := range hosts {
			if have != text && !skip[h] {
				return false
			}
		}
	}
	return true
}

func (w *world) calls() []string {
	b, _ := os.ReadFile(filepath.Join(w.dir, "calls"))
	return strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(b)), " ", "_"))
}
