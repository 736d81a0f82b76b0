//go:build real

package killtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/dnsserver"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/store"
)

// world is a repository of zones, the DNS server that they belong on, and what
// every commit asked for.
type world struct {
	t      *testing.T
	dir    string
	rng    *rand.Rand
	repo   *gitserver.Repo
	dns    *dnsserver.Server
	zones  []*zone
	number map[string]int        // commit -> its number
	asked  []map[string][]string // by commit number: zone -> desired lines
	ledger *ledger
}

func newWorld(t *testing.T, zones int) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), rng: newRand(t), number: map[string]int{}}
	var served []dnsserver.Zone
	manifest := "version: 1\ntargets:\n"
	for i := range zones {
		z := newZone(fmt.Sprintf("z%d.test", i), w.rng)
		w.zones = append(w.zones, z)
		served = append(served, dnsserver.Zone{Name: z.name})
		manifest += fmt.Sprintf("  - {name: z%d, environment: dns, path: dns/%s.zone, spec: {zone: %s}}\n", i, z.name, z.name)
	}
	w.dns = dnsserver.BIND(t, served...)
	if err := os.WriteFile(filepath.Join(w.dir, "tsig"), []byte(w.dns.Key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.repo = gitserver.NewRepoAt(t, filepath.Join(w.dir, "infra"))
	w.repo.Write("trueup.yaml", manifest)
	for _, z := range w.zones {
		w.neighbour(z)
	}
	w.commit(w.zones...)
	return w
}

const serverYAML = `version: 1
%s
limits: { retryMin: 50ms, retryMax: 300ms, lease: 3s }
repositories:
  infra: { url: %q, branch: main, poll: 1s }
policies:
  open:
    driftInterval: 1h # so that only triggers bring the zones on
    guard: { update: 1000, replace: 1000, delete: 1000 }
environments:
  dns:
    driver: dns
    policy: open
    concurrency: 6
    connect: { server: %q, zones: [%s], tsig: "file:tsig", timeout: 20s }
    allow: [{ repository: infra }]
`

// config is a server.yaml that reaches the DNS server at an address.
func (w *world) config(address, more string) string {
	names := make([]string, len(w.zones))
	for i, z := range w.zones {
		names[i] = z.name
	}
	return fmt.Sprintf(serverYAML, more, w.repo.Dir, address, strings.Join(names, ", "))
}

// commit commits the zones as they are.
func (w *world) commit(zones ...*zone) string {
	w.t.Helper()
	n := len(w.asked)
	for _, z := range zones {
		w.repo.Write("dns/"+z.name+".zone", z.file())
		z.changed = n
	}
	id := w.repo.Commit(fmt.Sprintf("change %d", n))
	all := map[string][]string{}
	for _, z := range w.zones {
		all[z.name] = z.own()
	}
	w.number[id] = n
	w.asked = append(w.asked, all)
	return id
}

// change changes some zones at random, in one commit.
func (w *world) change(count int) {
	w.t.Helper()
	var changed []*zone
	for _, i := range w.rng.Perm(len(w.zones))[:count] {
		w.zones[i].change(w.rng)
		changed = append(changed, w.zones[i])
	}
	w.commit(changed...)
}

// neighbour writes a record into a zone that trueup does not own.
func (w *world) neighbour(z *zone) {
	w.t.Helper()
	name := fmt.Sprintf("neighbour%d.%s.", len(z.foreign), z.name)
	line := fmt.Sprintf(`%s 60 IN TXT "left %d alone"`, name, w.rng.Uint32())
	if err := w.dns.NSUpdate(w.dns.Key, "zone "+z.name+"\nupdate add "+strings.Replace(line, " IN ", " ", 1)+"\nsend\n"); err != nil {
		w.t.Fatal(err)
	}
	z.foreign[name] = line
}

// served asks the DNS server for a zone, past the proxy.
func (w *world) served(z *zone) []string {
	w.t.Helper()
	out, err := w.dns.DigKey(w.dns.Key, "+noall", "+answer", "AXFR", z.name)
	if err != nil {
		w.t.Fatal(err)
	}
	return z.served(out)
}

func (w *world) zoneOf(target string) *zone {
	for _, z := range w.zones {
		if "infra/"+strings.TrimSuffix(z.name, ".test") == target {
			return z
		}
	}
	w.t.Fatalf("target %s has no zone", target)
	return nil
}

// settled tells whether every target is synced with the last commit that
// concerns it, and why not.
func (w *world) settled() (string, bool) {
	entries := w.ledger.targets()
	if len(entries) != len(w.zones) {
		return fmt.Sprintf("%d of %d targets are known", len(entries), len(w.zones)), false
	}
	for _, e := range entries {
		n, known := w.number[e.Status.Applied]
		if !e.idle() || e.Status.Phase != store.Synced || !known || n < w.zoneOf(e.ID).changed {
			return fmt.Sprintf("%s is %s at %.8s (commit %d, changed last in %d), generation %d, observed %d, owner %q: %s", e.ID,
				e.Status.Phase, e.Status.Applied, n, w.zoneOf(e.ID).changed, e.Generation, e.Observed, e.Owner, e.Status.Message), false
		}
	}
	return "", true
}

// settle waits until every target is in its last state.
func (w *world) settle(within time.Duration) {
	w.t.Helper()
	why, ok := "", false
	for end := time.Now().Add(within); !ok && time.Now().Before(end); {
		if why, ok = w.settled(); !ok {
			time.Sleep(50 * time.Millisecond)
		}
	}
	if !ok {
		w.t.Fatalf("the environment did not converge within %s: %s", within, why)
	}
}

// converged checks the end: every zone as HEAD has it, the neighbour's records
// there, no run left running, no write left pending, nothing unobserved.
func (w *world) converged() {
	w.t.Helper()
	for _, z := range w.zones {
		want, got := z.wanted(z.own()), w.served(z)
		if !slices.Equal(want, got) {
			w.t.Errorf("zone %s is not what HEAD asks for:%s", z.name, difference(want, got))
		}
	}
	if n := w.ledger.number("SELECT count(*) FROM inventory WHERE mark <> ''"); n > 0 {
		w.t.Errorf("%d inventory entries are still pending", n)
	}
	owned := 0
	for _, z := range w.zones {
		owned += len(z.sets)
	}
	if n := w.ledger.number("SELECT count(*) FROM inventory"); n != owned {
		w.t.Errorf("%d RRsets are owned, %d are desired", n, owned)
	}
	w.history()
}

// history checks that no run claims what it is not.
func (w *world) history() {
	w.t.Helper()
	for _, r := range w.ledger.runs() {
		if r.State == store.RunActive {
			w.t.Errorf("run %s of %s is still recorded as running (%s)", r.ID, r.Target, r.Phase)
		}
		if r.State == store.RunSucceeded && (r.Error != "" || r.Phase != "health") {
			w.t.Errorf("run %s of %s succeeded in phase %s: %s", r.ID, r.Target, r.Phase, r.Error)
		}
	}
}

// journalled checks, while no server runs, that whatever was written is in the
// inventory, as owned or as pending: a death between the write and its record
// loses no ownership.
func (w *world) journalled() {
	w.t.Helper()
	known := map[string]bool{}
	w.ledger.rows("SELECT target, address FROM inventory", func(scan func(...any) error) error {
		var target, address string
		err := scan(&target, &address)
		known[target+" "+address] = true
		return err
	})
	for _, z := range w.zones {
		for _, line := range w.served(z) {
			f := strings.Fields(line)
			key := "infra/" + strings.TrimSuffix(z.name, ".test") + " " + f[0] + "/" + f[3]
			if z.foreign[f[0]] == "" && !known[key] {
				w.t.Errorf("%s was written, and nobody would know", key)
			}
		}
	}
}
