// Package helm runs the helm program, built from Go modules into the cache
// directory the first time, beside what is tested:
//
//	h := helm.For(t, cluster.Kubeconfig)
//	h.Run(t, "-n", ns, "history", "shop")
package helm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"trueup.dev/trueup/internal/servertest/built"
)

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Fatalf(format string, args ...any)
}

// Helm is the program with a cluster and a home of its own.
type Helm struct {
	program, kubeconfig, home string
}

// For gives the program for a cluster.
func For(t TB, kubeconfig string) *Helm {
	t.Helper()
	p, err := built.Program("helm")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return &Helm{program: p, kubeconfig: kubeconfig, home: t.TempDir()}
}

// Run runs it and gives its output; a failure fails the test.
func (h *Helm) Run(t TB, args ...string) string {
	t.Helper()
	out, err := h.Try(args...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Try runs it.
func (h *Helm) Try(args ...string) (string, error) {
	cmd := exec.Command(h.program, append([]string{"--kubeconfig", h.kubeconfig}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.home}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}
