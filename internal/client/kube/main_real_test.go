//go:build real

package kube_test

import (
	"fmt"
	"os"
	"testing"

	"trueup.dev/trueup/internal/servertest/kubetest"
)

// server is the one of all tests with a real server.
var server *kubetest.Cluster

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kube")
	if err == nil {
		server, err = kubetest.StartIn(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.Stop()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
