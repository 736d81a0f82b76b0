// Package kubetest starts a real Kubernetes control plane (etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler) with played nodes,
// on a free loopback port, in a directory of its own:
//
//	c := kubetest.Start(t)      // built into the cache directory the first time
//	c.Kubeconfig                // of a cluster administrator
//	ns := c.Namespace(t)        // one for each test
//	c.Kubectl(t, "-n", ns, "get", "pods")
//	c.Stop(); err := c.Again()  // the same cluster goes away and comes back
//
// Deployments roll out, Jobs complete, webhooks and custom resources work, but
// pods run no containers. A pod with the annotation kubetest/fail: REASON never
// gets ready; one with kubetest/exit: CODE ends. The processes end with the
// test, also when the test process dies. Share one cluster among the tests of a
// package: start it in TestMain with StartIn.
package kubetest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/servertest/built"
)

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Cluster is a running control plane.
type Cluster struct {
	Kubeconfig string // path, of a cluster administrator
	URL        string // of the API server
	Dir        string

	program string
	args    []string
	cmd     *exec.Cmd
	done    chan struct{}
	spaces  atomic.Int32
}

// Start starts a cluster and stops it when the test ends. Args are flags of
// the server program: "-api-only", "-nodes=0"; behind "--" those of
// kube-apiserver.
func Start(t TB, args ...string) *Cluster {
	t.Helper()
	c, err := StartIn(t.TempDir(), args...)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(c.Stop)
	return c
}

// StartIn starts a cluster with its data in a directory.
func StartIn(dir string, args ...string) (*Cluster, error) {
	program, err := built.Program("kubetest")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig"), URL: fmt.Sprintf("https://127.0.0.1:%d", port), program: program}
	c.args = append([]string{"-dir", dir, "-port", strconv.Itoa(port)}, args...)
	return c, c.Again()
}

// Again starts a stopped cluster on the same port and data.
func (c *Cluster) Again() error {
	log, err := os.OpenFile(filepath.Join(c.Dir, "out.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := os.Remove(c.Kubeconfig); err != nil && !os.IsNotExist(err) {
		return err
	}
	c.cmd = exec.Command(c.program, c.args...)
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "TMPDIR=" + os.TempDir()} // no proxy stands before webhooks
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	cmd, done := c.cmd, make(chan struct{})
	c.done = done
	go func() { _ = cmd.Wait(); close(done) }()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
		if _, err := os.Stat(c.Kubeconfig); err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("the cluster ended while it started:\n%s", c.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	c.Kill()
	return fmt.Errorf("the cluster does not get ready:\n%s", c.Log())
}

// Stop ends the cluster; it may be called twice.
func (c *Cluster) Stop() { c.end(syscall.SIGTERM) }

// Kill ends the cluster at once, as a power cut does.
func (c *Cluster) Kill() { c.end(syscall.SIGKILL) }

func (c *Cluster) end(sig syscall.Signal) {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(sig)
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
	c.cmd = nil
}

// Log gives what the cluster wrote.
func (c *Cluster) Log() string {
	a, _ := os.ReadFile(filepath.Join(c.Dir, "out.log"))
	b, _ := os.ReadFile(filepath.Join(c.Dir, "kube.log"))
	if len(b) > 1<<16 {
		b = b[len(b)-1<<16:]
	}
	return string(a) + string(b)
}

// Namespace makes a namespace for one test.
func (c *Cluster) Namespace(t TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d-%d", os.Getpid(), c.spaces.Add(1))
	c.Kubectl(t, "create", "namespace", name)
	return name
}

// Kubectl runs kubectl as the administrator and gives its output; a failure
// fails the test.
func (c *Cluster) Kubectl(t TB, args ...string) string {
	t.Helper()
	out, err := c.Run(args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Run runs kubectl as the administrator.
func (c *Cluster) Run(args ...string) (string, error) { return c.RunIn("", args...) }

// RunIn runs kubectl with text on its standard input.
func (c *Cluster) RunIn(stdin string, args ...string) (string, error) {
	cmd := exec.Command("kubectl", append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir}
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}
