//go:build real

package ssh_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// labBench is a target on real OpenSSH hosts.
type labBench struct {
	*bench
	lab *sshhosts.Lab
}

func newLab(t *testing.T, kinds ...sshhosts.Kind) *labBench {
	t.Helper()
	l := sshhosts.StartWith(t, sshhosts.Options{Hosts: kinds})
	pem, err := os.ReadFile(l.Key)
	if err != nil {
		t.Fatal(err)
	}
	c := &ssh.Connect{KnownHosts: []string{l.KnownHosts}, Key: "mem:key", Hosts: map[string]inventory.HostSpec{}, Commands: map[string]ssh.HostCommand{}}
	for _, h := range l.Hosts {
		c.Hosts[h.Name] = inventory.HostSpec{Address: h.Addr}
	}
	return &labBench{lab: l, bench: &bench{TB: t, park: &park{dir: t.TempDir(), pem: string(pem), known: l.KnownHosts, connect: c}, tree: fstest.MapFS{},
		inv: driver.Inventory{}, scope: &ssh.Scope{}, spec: &ssh.Spec{}, mode: plan.Apply}}
}

// on runs a script on the first host, past trueup, and gives what it printed.
func (b *labBench) on(script string) string {
	b.Helper()
	return b.lab.Hosts[0].Sh(b, script)
}

func (b *labBench) expect(script, want string) {
	b.Helper()
	if got := strings.TrimSpace(b.on(script)); got != want {
		b.Errorf("%s gives %q, want %q", script, got, want)
	}
}

// change gives the planned change of an address.
func change(t testing.TB, p *plan.Plan, a plan.Address) plan.Change {
	t.Helper()
	for _, c := range p.Changes {
		if c.Address == a {
			return c
		}
	}
	t.Fatalf("no change of %s in %s", a, changes(p))
	return plan.Change{}
}
