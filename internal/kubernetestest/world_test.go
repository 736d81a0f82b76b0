//go:build real

package kubernetestest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/kubetest"
)

// program is the real program, and cluster the one that all tests share.
var (
	program string
	cluster *kubetest.Cluster
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trueup-kubernetestest-")
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
	home := filepath.Join(dir, "cluster")
	if err := os.Mkdir(home, 0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if cluster, err = kubetest.StartIn(home); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.Stop()
	return m.Run()
}

// world is a namespace, a repository and a server between them.
type world struct {
	t    *testing.T
	ns   string
	dir  string
	git  string // the working copy
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

const config = `version: 1
limits: {retryMin: 300ms, retryMax: 2s, lease: 3s}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
policies:
  prod: {%[2]s}
environments:
  k8s:
    driver: kubernetes
    policy: prod
    connect: {kubeconfig: "file:%[1]s/kubeconfig"%[3]s}
    allow: [{repository: infra}]
`

// newWorld makes a namespace and a repository; the server is not started.
// Policy and connect are further fields of theirs.
func newWorld(t *testing.T, policy, connect string) *world {
	t.Helper()
	w := &world{t: t, ns: cluster.Namespace(t), dir: t.TempDir()}
	w.git, w.log = filepath.Join(w.dir, "work"), filepath.Join(w.dir, "log")
	w.run(w.dir, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
	w.run(w.dir, "git", "clone", "-q", "origin.git", "work")
	w.run(w.git, "git", "checkout", "-q", "-b", "main")
	kubeconfig, err := os.ReadFile(cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	w.write("kubeconfig", string(kubeconfig))
	w.write("server.yaml", fmt.Sprintf(config, w.dir, policy, connect))
	t.Cleanup(func() {
		if t.Failed() {
			for _, args := range [][]string{{"show", "infra/app"}, {"get", "runs", "--target", "infra/app", "--limit", "6"}, {"logs", "infra/app"}} {
				out, _ := w.cli(args...)
				t.Logf("trueup %v:\n%s", args, out)
			}
			b, _ := os.ReadFile(w.log)
			t.Logf("log:\n%s", b)
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

// kubectl asks the cluster itself; what fails gives nothing.
func (w *world) kubectl(args ...string) string {
	out, err := cluster.Run(append([]string{"-n", w.ns}, args...)...)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// must is kubectl that has to succeed.
func (w *world) must(args ...string) string {
	w.t.Helper()
	return strings.TrimSpace(cluster.Kubectl(w.t, append([]string{"-n", w.ns}, args...)...))
}

// field reads a field of an object.
func (w *world) field(object, path string) string {
	return w.kubectl("get", object, "-o", "jsonpath={"+path+"}")
}

// target is what `trueup show` says of one.
type target struct {
	Status struct {
		Phase, Message, Gate, Applied, Good, PlanHash string
		Drift, Corrected, Owned                       int
	}
	Desired struct{ Commit, Source, Bad string }
}

func (w *world) target(name string) target {
	w.t.Helper()
	var t target
	cmd := w.command("show", "infra/"+name, "-o", "json")
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &t)
	}
	if err != nil {
		return target{} // the server is not there yet
	}
	return t
}

// manifest is a trueup.yaml with one target in the namespace.
func (w *world) manifest(more string) string {
	return fmt.Sprintf("version: 1\ntargets:\n  - name: app\n    environment: k8s\n    path: app\n    spec: {namespace: %s}\n%s", w.ns, more)
}

// deployment is a manifest; more are annotations of its pods.
func deployment(name, image, spec, more string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, labels: {tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {%[4]s}}
    spec: {containers: [{name: c, image: "example.test/c:%[2]s"}]}
%[3]s`, name, image, spec, more)
}

func settings(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %q}\n", name, value)
}
