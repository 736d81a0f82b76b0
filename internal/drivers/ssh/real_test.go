//go:build real

package ssh_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver/drivertest"
)

// TestConformanceOnBusybox runs the kit on a host that has busybox alone.
func TestConformanceOnBusybox(t *testing.T) {
	k := &kit{root: filepath.Join(t.TempDir(), "root"), path: toolbox(t)}
	drivertest.Run(t, k.harness())
}

// toolbox makes a directory with busybox under the names of its programs, and
// nothing else: a host without coreutils.
func toolbox(t testing.TB) string {
	t.Helper()
	bb, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing; install it (Debian: apt-get install busybox-static)")
	}
	dir := t.TempDir()
	out, err := exec.Command(bb, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if err := os.Symlink(bb, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bashAsSh makes a directory in which sh is bash.
func bashAsSh(t testing.TB) string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(bash, filepath.Join(dir, "sh")); err != nil {
		t.Fatal(err)
	}
	return dir + ":" + os.Getenv("PATH")
}
