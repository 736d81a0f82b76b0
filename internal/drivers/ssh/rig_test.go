package ssh_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

// park is an in-process SSH server that runs real shells on this machine, and
// a directory that stands for what a target owns on it.
type park struct {
	server  *sshserver.Server
	dir     string
	pem     string
	known   string
	connect *ssh.Connect
	cut     *atomic.Int64
	// password is what mem:sudo leads to.
	password string
}

const hostName = "host1"

// newPark starts it. path, if not empty, is the PATH of the host.
func newPark(t testing.TB, path string) *park {
	t.Helper()
	key, pem := sshserver.NewKey(t)
	p := &park{dir: t.TempDir(), pem: pem, cut: &atomic.Int64{}}
	cfg := sshserver.Config{Keys: append([]publicKey(nil), key.PublicKey()), CutOutput: p.cut}
	if path != "" {
		cfg.Env = []string{"PATH=" + path, "TRUEUP_TEST_PATH=" + path}
	}
	p.server = sshserver.Start(t, cfg)
	p.known = p.server.KnownHosts(t)
	p.connect = p.connectTo(hostName)
	return p
}

func (p *park) connectTo(names ...string) *ssh.Connect {
	host, port, _ := strings.Cut(p.server.Addr, ":")
	c := &ssh.Connect{KnownHosts: []string{p.known}, Key: "mem:key", Hosts: map[string]inventory.HostSpec{}}
	for _, n := range names {
		h := inventory.HostSpec{Address: host}
		_, _ = fmt.Sscan(port, &h.Port)
		c.Hosts[n] = h
	}
	return c
}

func (p *park) environment() driver.Environment {
	return driver.Environment{Name: "park", Connect: p.connect, HashKey: []byte("0123456789abcdef"),
		Secret: func(_ context.Context, ref secret.Ref) (secret.Value, error) {
			switch ref {
			case "mem:key":
				return secret.New(p.pem), nil
			case "mem:sudo":
				return secret.New(p.password), nil
			}
			return secret.Value{}, nil
		}}
}

// bench is a target with its inventory.
type bench struct {
	testing.TB
	*park
	tree  fstest.MapFS
	inv   driver.Inventory
	scope *ssh.Scope
	spec  *ssh.Spec
	vals  map[string]plan.Output
	mode  plan.Mode
}

func newBench(t testing.TB, path string) *bench {
	return &bench{TB: t, park: newPark(t, path), tree: fstest.MapFS{}, inv: driver.Inventory{}, scope: &ssh.Scope{}, spec: &ssh.Spec{}, mode: plan.Apply}
}

// doc sets host.yaml; $D in it is the directory.
func (b *bench) doc(text string) { b.file("host.yaml", text) }

func (b *bench) file(name, text string) {
	b.tree["hosts/"+name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "$D", b.dir)), Mode: 0o644}
}

func (b *bench) input() driver.Input {
	return driver.Input{Target: "t", Tree: b.tree, Path: "hosts", Spec: b.spec, Scope: b.scope, Inventory: b.inv, Mode: b.mode, Values: b.vals}
}

func (b *bench) open(purpose driver.Purpose) driver.Session {
	b.Helper()
	s, err := ssh.New().Open(b.Context(), b.environment(), purpose)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func (b *bench) tryPlan() (*plan.Plan, error) {
	return b.open(driver.Read).Plan(b.Context(), b.input())
}

func (b *bench) plan() *plan.Plan {
	b.Helper()
	p, err := b.tryPlan()
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range p.Scopes {
		if s.Unknown != "" {
			b.Fatalf("%s is unknown: %s", s.Scope, s.Unknown)
		}
	}
	return p
}

// apply plans and applies; what did not go well is given back by address.
func (b *bench) apply() (map[plan.Address]plan.Result, error) {
	b.Helper()
	return b.carryOut(b.plan())
}

func (b *bench) carryOut(p *plan.Plan) (map[plan.Address]plan.Result, error) {
	b.Helper()
	j := drivertest.NewJournal(b.inv, p)
	err := b.open(driver.Write).Apply(b.Context(), b.input(), p, j)
	b.inv = j.Inventory()
	bad := map[plan.Address]plan.Result{}
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied {
			bad[r.Address] = r
		}
	}
	return bad, err
}

// sync brings the host to the document, and expects nothing to be left over.
func (b *bench) sync() {
	b.Helper()
	bad, err := b.apply()
	if err != nil || len(bad) > 0 {
		b.Fatalf("%v %+v", err, bad)
	}
	b.settled()
}

func (b *bench) settled() {
	b.Helper()
	if p := b.plan(); !p.Empty() {
		b.Fatalf("the plan after apply is not empty: %s", changes(p))
	}
}

func changes(p *plan.Plan) string {
	var out strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&out, "\n%s %s (%s): %s -> %s %s", c.Action, c.Key, c.Kind, c.Before, c.After, c.Conflict)
	}
	return out.String()
}

func (b *bench) at(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) put(name, text string, mode os.FileMode) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(b.at(name)), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(b.at(name), []byte(text), mode); err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod(b.at(name), mode); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) has(name, text string) {
	b.Helper()
	got, err := os.ReadFile(b.at(name))
	if err != nil || string(got) != text {
		b.Errorf("%s holds %q (%v), not %q", name, got, err, text)
	}
}

func addr(b *bench, name string) plan.Address { return plan.Address(b.at(name)) }
