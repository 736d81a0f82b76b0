//go:build real

package sftp_test

import (
	"os"
	"path/filepath"
	"testing"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/sftp"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

// newChroot is OpenSSH with an account that may transfer files below a root
// of its own, and nothing else: no shell, no forwarding.
func newChroot(t testing.TB) *world {
	t.Helper()
	// Every directory above a chroot must belong to root and be closed to others.
	base, err := os.MkdirTemp("/var/lib", "trueup-sftp-")
	if err != nil {
		t.Fatalf("a chroot needs a directory that belongs to root; run as root: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	up := filepath.Join(base, "upload")
	if err := os.Mkdir(up, 0o755); err != nil {
		t.Fatal(err)
	}
	d := sshserver.StartSSHD(t, "PermitRootLogin prohibit-password", "AllowTcpForwarding no", "PermitTTY no",
		"ForceCommand internal-sftp", "ChrootDirectory "+base)
	return &world{root: up, pem: d.PrivateKey, stop: func() {},
		connect: &sftp.Connect{Host: d.Addr, User: d.User, Root: "/upload", Key: "mem:key", KnownHosts: []string{d.KnownHosts(t)}}}
}

// TestConformanceOpenSSH runs the kit against OpenSSH in a chroot.
func TestConformanceOpenSSH(t *testing.T) {
	h := harness(func(t testing.TB) drivertest.World { return newChroot(t) })
	h.OptOut = map[string]string{
		"TruncatedReadPlansNoDelete": "OpenSSH's answers can't be cut from outside; the in-process server's are, in TestConformance",
	}
	drivertest.Run(t, h)
}

func TestTreesOpenSSH(t *testing.T) { trees(newRig(t, newChroot(t))) }

// TestPlantedLinksOpenSSH plants links as somebody on the server would: the
// chroot would let them lead anywhere below it.
func TestPlantedLinksOpenSSH(t *testing.T) {
	w := newChroot(t)
	outside := filepath.Join(filepath.Dir(w.root), "other")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	planted(newRig(t, w), outside)
}
