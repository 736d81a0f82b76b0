//go:build real

package tofu_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The program runs as a user of its own, who can't read what is trueup's.
func TestOwnUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("this needs root: nothing to see")
		return
	}
	both(t, func(t *testing.T, r *rig) {
		if err := os.Chmod(filepath.Dir(r.dir), 0o755); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(r.dir, filepath.Base(r.connect.Program))
		body, err := os.ReadFile(r.connect.Program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, body, 0o755); err != nil {
			t.Fatal(err)
		}
		said := filepath.Join(t.TempDir(), "said")
		if err := os.Chmod(filepath.Dir(said), 0o777); err != nil {
			t.Fatal(err)
		}
		r.connect.Program, r.connect.User = program, "nobody"
		r.connect.Mirrors.Filesystem = pack(t, r.connect.Mirrors.Filesystem)
		secretFile := filepath.Join(r.dir, "operators")
		if err := os.WriteFile(secretFile, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.main(thing("a", "alpha", "one") + "resource \"terraform_data\" \"who\" {\n  provisioner \"local-exec\" {\n    command = \"id -un > " + said +
			"; cat " + secretFile + " >> " + said + " 2>/dev/null || echo refused >> " + said + "\"\n  }\n}\n")
		r.apply()
		b, err := os.ReadFile(said)
		if err != nil || strings.TrimSpace(string(b)) != "nobody\nrefused" {
			t.Errorf("%q, %v", b, err)
		}
		if r.there()["alpha"] != "one" {
			t.Errorf("on the server is %v", r.there())
		}
	})
}
