//go:build real

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitea"
)

// program is the real program; forgeServer is the Gitea that the tests share.
var (
	program     string
	forgeServer *gitea.Server
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trueup-e2e-")
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
	home := filepath.Join(dir, "gitea")
	if err := os.Mkdir(home, 0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if forgeServer, err = gitea.StartIn(home); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer forgeServer.Stop()
	return m.Run()
}
