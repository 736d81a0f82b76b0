package sftp_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/sftp"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

// world is a directory behind an SFTP server.
type world struct {
	root    string // on this machine
	connect *sftp.Connect
	pem     string
	cut     *atomic.Int64
	stop    func()
}

// clock makes every change by hand a few seconds newer than the one before:
// the protocol's times are whole seconds.
var clock atomic.Int64

func newWorld(t testing.TB) *world {
	t.Helper()
	key, pem := sshserver.NewKey(t)
	w := &world{root: t.TempDir(), pem: pem, cut: &atomic.Int64{}}
	srv := sshserver.Start(t, sshserver.Config{Keys: []xssh.PublicKey{key.PublicKey()}, CutOutput: w.cut})
	w.stop = srv.Disconnect
	w.connect = &sftp.Connect{Host: srv.Addr, User: "files", Root: w.root, Key: "mem:key", KnownHosts: []string{srv.KnownHosts(t)}}
	return w
}

func (w *world) Environment() driver.Environment {
	c := *w.connect
	return driver.Environment{Name: "files", Connect: &c, HashKey: []byte("0123456789abcdef"),
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(w.pem), nil }}
}

func (w *world) Set(t testing.TB, name, value string) {
	t.Helper()
	path := filepath.Join(w.root, name)
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(time.Duration(clock.Add(3)) * time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func (w *world) Unset(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(w.root, name)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) List(t testing.TB) drivertest.Objects {
	t.Helper()
	out := drivertest.Objects{}
	list, err := os.ReadDir(w.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), ".trueup-") || e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(w.root, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// MakeUnreadable takes the server away.
func (w *world) MakeUnreadable(testing.TB) func() {
	was := w.connect.Host
	w.connect.Host = "127.0.0.1:1"
	w.stop()
	return func() { w.connect.Host = was }
}

// TruncateReads ends connections in the middle of an answer.
func (w *world) TruncateReads(testing.TB) func() {
	w.cut.Store(700)
	return func() { w.cut.Store(0) }
}

// Block puts a directory that holds something in the object's place.
func (w *world) Block(t testing.TB, name string) func() {
	t.Helper()
	path := filepath.Join(w.root, name)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

func desired(_ testing.TB, want drivertest.Objects) driver.Input {
	tree := fstest.MapFS{"dir": {Mode: os.ModeDir | 0o755}}
	for name, value := range want {
		tree["dir/"+name] = &fstest.MapFile{Data: []byte(value), Mode: 0o644}
	}
	return driver.Input{Tree: tree, Path: "dir", Spec: &sftp.Spec{}, Scope: &sftp.Scope{}}
}

func bad() []drivertest.BadInput {
	spec := func(s sftp.Spec) driver.Input {
		in := desired(nil, drivertest.Objects{"one": "v1"})
		in.Spec = &s
		return in
	}
	outside := desired(nil, drivertest.Objects{"one": "v1"})
	outside.Scope = &sftp.Scope{Files: []string{"elsewhere/**"}}
	return []drivertest.BadInput{
		{Name: "mode", Input: spec(sftp.Spec{Modes: map[string]string{"*": "rw"}}), Field: `modes["*"]`},
		{Name: "setuid", Input: spec(sftp.Spec{Modes: map[string]string{"*": "4755"}}), Field: `modes["*"]`},
		{Name: "owner", Input: spec(sftp.Spec{Owners: map[string]string{"*": "root:root"}}), Field: `owners["*"]`},
		{Name: "glob", Input: spec(sftp.Spec{Ignore: []string{"a", "[z"}}), Field: "ignore[1]"},
		{Name: "up", Input: spec(sftp.Spec{Sensitive: []string{"../x"}}), Field: "sensitive[0]"},
		{Name: "dirMode", Input: spec(sftp.Spec{DirMode: "1777"}), Field: "dirMode"},
		{Name: "check", Input: spec(sftp.Spec{Check: "never"}), Field: "check"},
		{Name: "mapped from outside", Input: spec(sftp.Spec{Files: map[string]string{"a": "../b"}}), Field: "files.a"},
		{Name: "mapped to outside", Input: spec(sftp.Spec{Files: map[string]string{"/a": "one"}}), Field: "files./a"},
		{Name: "mapped from nothing", Input: spec(sftp.Spec{Files: map[string]string{"a": "none"}}), Field: "files.a"},
		{Name: "scope", Input: outside, Field: "scope", File: "dir/one"},
		{Name: "temporary name", Input: desired(nil, drivertest.Objects{".trueup-x": "v1"}), File: "dir/.trueup-x"},
	}
}

func secretInput(_ testing.TB, canary string) driver.Input {
	return driver.Input{Path: "dir", Spec: &sftp.Spec{Sensitive: []string{"secrets/**"}}, Scope: &sftp.Scope{},
		Tree: fstest.MapFS{"dir/secrets/key": {Data: []byte(canary)}}}
}

func harness(world func(t testing.TB) drivertest.World) drivertest.Harness {
	return drivertest.Harness{Driver: sftp.New(), New: world, Input: desired, SecretInput: secretInput, Bad: bad(),
		Key: func(name string) plan.Key { return plan.Key{Address: plan.Address(name)} }}
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, harness(func(t testing.TB) drivertest.World { return newWorld(t) }))
}
