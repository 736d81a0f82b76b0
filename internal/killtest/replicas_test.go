//go:build real

package killtest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/postgres"
	"trueup.dev/trueup/internal/store"
)

// TestReplicasKilled runs two servers on one PostgreSQL and kills either again
// and again. A target never has two runs at once.
func TestReplicasKilled(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pg, err := postgres.Start(ctx, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	url, err := pg.NewDatabase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 6)
	var replicas []*server
	var proxies []*proxy
	for _, name := range []string{"one", "two"} {
		p := newProxy(t, w.dns.Addr, w.rng)
		proxies = append(proxies, p)
		replicas = append(replicas, newServer(t, w.dir, name, w.config(p.addr(), "database: "+url)))
	}
	replicas[0].start()
	replicas[0].ready()
	w.shareKey(replicas[0], replicas[1])
	replicas[1].start()
	w.ledger = openLedger(t, "pgx", url)
	w.settle(60 * time.Second)
	kills := w.killEither(replicas, proxies, 45*time.Second)
	w.settle(90 * time.Second)
	w.converged()
	both := w.noTwoAtOnce(proxies)
	t.Logf("%d runs %v, %d commits, %d kills, cuts %v %v, updates %v", len(w.ledger.runs()), w.states(), len(w.asked), kills,
		proxies[0].cuts, proxies[1].cuts, both)
	if kills < 3 || w.states()[store.RunAbandoned] == 0 || both[0] < 3 || both[1] < 3 {
		t.Errorf("the test was too gentle")
	}
}

// shareKey gives the second replica the first one's encryption key, as
// replicas on one database need it.
func (w *world) shareKey(from, to *server) {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(from.dir, "*key*"))
	if err != nil || len(names) != 1 {
		w.t.Fatalf("key files %v: %v", names, err)
	}
	body, err := os.ReadFile(names[0])
	if err == nil {
		err = os.MkdirAll(to.dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to.dir, filepath.Base(names[0])), body, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) killEither(replicas []*server, proxies []*proxy, during time.Duration) (kills int) {
	for _, p := range proxies {
		p.disturb(0.2)
	}
	var last time.Time // a dead holder's work waits for its lease: kills leave room for runs
	for end := time.Now().Add(during); time.Now().Before(end); {
		w.change(2 + w.rng.IntN(5))
		replicas[w.rng.IntN(2)].poll()
		s := w.busy(replicas)
		if s == nil || time.Since(last) < 3*time.Second {
			time.Sleep(time.Duration(100+w.rng.IntN(400)) * time.Millisecond)
			continue
		}
		time.Sleep(time.Duration(w.rng.IntN(100)) * time.Millisecond)
		s.kill()
		s.start()
		kills, last = kills+1, time.Now()
	}
	for _, p := range proxies {
		p.disturb(0)
	}
	return kills
}

// busy waits a little for a replica that works on a target; nil is none.
func (w *world) busy(replicas []*server) *server {
	w.t.Helper()
	for range 50 {
		for _, e := range w.ledger.targets() {
			for _, s := range replicas {
				if strings.Contains(e.Owner, "/"+itoa(s.cmd.Process.Pid)+"/") {
					return s
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// noTwoAtOnce checks that runs of one target follow each other: by the
// recorded times, which are those of the runs' own processes on one clock, and
// by the updates that the proxies saw. An abandoned run ended when its process
// died, which nobody recorded.
func (w *world) noTwoAtOnce(proxies []*proxy) (updates [2]int) {
	w.t.Helper()
	last := map[string]store.Run{}
	for _, r := range w.ledger.runs() {
		before, ok := last[r.Target]
		if ok && before.Finished.After(r.Started) {
			w.t.Errorf("two runs at once on %s: %s from %s to %s, %s from %s", r.Target, before.ID, before.Started, before.Finished, r.ID, r.Started)
		}
		if r.State != store.RunAbandoned {
			last[r.Target] = r
		}
	}
	type seen struct {
		update
		by int
	}
	var all []seen
	for i, p := range proxies {
		p.mu.Lock()
		for _, u := range p.updates {
			all = append(all, seen{u, i})
		}
		updates[i] = len(p.updates)
		p.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b seen) int { return a.from.Compare(b.from) })
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.zone == b.zone && a.by != b.by && b.from.Before(a.to) {
				w.t.Errorf("both replicas update %s at once: from %s to %s and from %s", a.zone, a.from, a.to, b.from)
			}
		}
	}
	return updates
}
