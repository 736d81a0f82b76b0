package ssh_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
)

type publicKey = xssh.PublicKey

// root is where the objects of the kit lie. The kit's desired states are made
// before its worlds, so that all worlds of one test share the place.
type world struct {
	*park
	root string
}

type kit struct {
	root string
	path string
}

func (k *kit) world(t testing.TB) drivertest.World {
	t.Helper()
	if err := os.RemoveAll(k.root); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(k.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return &world{newPark(t, k.path), k.root}
}

func (w *world) Environment() driver.Environment { return w.environment() }

func (w *world) Set(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.root, name), []byte(value), 0o644); err != nil {
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
	entries, err := os.ReadDir(w.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".trueup-") {
			continue // a cancelled script ends a moment later
		}
		b, err := os.ReadFile(filepath.Join(w.root, e.Name()))
		if err != nil && !os.IsNotExist(err) && !e.IsDir() {
			t.Fatal(err)
		}
		if !e.IsDir() {
			out[e.Name()] = string(b)
		}
	}
	return out
}

// MakeUnreadable ends the host's SSH server.
func (w *world) MakeUnreadable(t testing.TB) func() {
	t.Helper()
	addr := w.connect.Hosts[hostName]
	away := addr
	away.Port = 1 // nobody listens there
	w.connect.Hosts[hostName] = away
	w.server.Disconnect()
	return func() { w.connect.Hosts[hostName] = addr }
}

// TruncateReads ends connections in the middle of an answer.
func (w *world) TruncateReads(t testing.TB) func() {
	w.cut.Store(600)
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

func (k *kit) input(_ testing.TB, want drivertest.Objects) driver.Input {
	tree := fstest.MapFS{"hosts/readme": {}}
	doc := "files:\n"
	for name, value := range want {
		tree["hosts/files/"+name] = &fstest.MapFile{Data: []byte(value), Mode: 0o644}
		doc += "  " + k.root + "/" + name + ": { source: files/" + name + " }\n"
	}
	tree["hosts/host.yaml"] = &fstest.MapFile{Data: []byte(doc), Mode: 0o644}
	return driver.Input{Tree: tree, Path: "hosts", Spec: &ssh.Spec{}, Scope: &ssh.Scope{Hosts: []string{hostName}}}
}

func (k *kit) secretInput(t testing.TB, canary string) driver.Input {
	in := k.input(t, nil)
	in.Tree = fstest.MapFS{
		"hosts/key":      {Data: []byte(canary)},
		"hosts/app.conf": {Data: []byte("password = {{ .password }}\n")},
		"hosts/host.yaml": {Data: []byte("files:\n  " + k.root + "/key: { source: key, sensitive: true, mode: \"0600\" }\n  " +
			k.root + "/app.conf: { template: app.conf }\n")}}
	in.Values = map[string]plan.Output{"password": {Value: []byte(`"` + canary + `"`), Sensitive: true}}
	return in
}

func (k *kit) bad() []drivertest.BadInput {
	doc := func(text string) driver.Input {
		return driver.Input{Path: "hosts", Spec: &ssh.Spec{}, Scope: &ssh.Scope{}, Tree: fstest.MapFS{
			"hosts/host.yaml": {Data: []byte(text)}, "hosts/t": {Data: []byte("a\n{{ .a")}, "hosts/x": {Data: []byte("x")}}}
	}
	spec := doc("files: { /x: { source: x } }")
	spec.Spec = &ssh.Spec{OnLeave: "shoot"}
	outside := doc("files: { /x: { source: x } }")
	outside.Scope = &ssh.Scope{Files: []string{"/etc/**"}}
	const file = "hosts/host.yaml"
	return []drivertest.BadInput{
		{Name: "spec", Input: spec, Field: "onLeave"},
		{Name: "section", Input: doc("fils: {}\n"), Field: "fils", File: file, Line: 1},
		{Name: "relative", Input: doc("files:\n  etc/x: { source: x }\n"), Field: "files.etc/x", File: file, Line: 2},
		{Name: "up", Input: doc("files:\n  /etc/../x: { source: x }\n"), Field: "files./etc/../x", File: file, Line: 2},
		{Name: "no content", Input: doc("files:\n  /x: { mode: \"0644\" }\n"), Field: "files./x", File: file, Line: 2},
		{Name: "setuid", Input: doc("files:\n  /x: { source: x, mode: \"4755\" }\n"), Field: "files./x.mode", File: file, Line: 2},
		{Name: "missing source", Input: doc("files:\n  /x: { source: none }\n"), Field: "files./x.source", File: file, Line: 2},
		{Name: "source outside", Input: doc("files:\n  /x: { source: ../../x }\n"), Field: "files./x.source", File: file, Line: 2},
		{Name: "owner", Input: doc("files:\n  /x: { source: x, owner: \"a b\" }\n"), Field: "files./x.owner", File: file, Line: 2},
		{Name: "field", Input: doc("files:\n  /x: { sauce: x }\n"), Field: "files./x.sauce", File: file, Line: 2},
		{Name: "temporary name", Input: doc("files:\n  /srv/.trueup-x: { source: x }\n"), File: file, Line: 2},
		{Name: "twice", Input: doc("files:\n  /x: { source: x }\nsymlinks:\n  /x: { to: y }\n"), File: file, Line: 4},
		{Name: "template", Input: doc("files:\n  /x: { template: t }\n"), File: "hosts/t", Line: 2},
		{Name: "empty tree", Input: doc("trees:\n  /x: { source: none }\n"), Field: "trees./x.source", File: file, Line: 2},
		{Name: "scope", Input: outside, Field: "scope", File: file, Line: 1},
	}
}

func (k *kit) harness() drivertest.Harness {
	return drivertest.Harness{Driver: ssh.New(), New: k.world, Input: k.input, SecretInput: k.secretInput, Bad: k.bad(),
		Key: func(name string) plan.Key {
			return plan.Key{Scope: hostName, Address: plan.Address(k.root + "/" + name)}
		},
		OptOut: map[string]string{"ImportPlansNoWrite": "a whole host can't be imported: what to import is named, see TestImport"}}
}

// TestConformance runs the kit against an SSH server inside the test process,
// which runs the shell of this machine.
func TestConformance(t *testing.T) {
	k := &kit{root: filepath.Join(t.TempDir(), "root")}
	drivertest.Run(t, k.harness())
}
