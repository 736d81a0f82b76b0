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
	// Replicas have one configuration, to the byte: one with an older version
	// would take no work.
	p := newProxy(t, w.dns.Addr, w.rng)
	for _, name := range []string{"one", "two"} {
		replicas = append(replicas, newServer(t, w.dir, name, w.config(p.addr(), "database: "+url)))
	}
	replicas[0].start()
	replicas[0].ready()
	w.shareKey(replicas[0], replicas[1])
	replicas[1].start()
	w.ledger = openLedger(t, "pgx", url)
	w.settle(60 * time.Second)
	kills, worked := w.killEither(replicas, p, 2*time.Minute)
	w.settle(90 * time.Second)
	w.converged()
	updates := w.noTwoAtOnce(p)
	t.Logf("%d runs %v, %d commits, kills %v, cuts %v, %d updates", len(w.ledger.runs()), w.states(), len(w.asked), kills, p.cuts, updates)
	if !worked || updates < 6 {
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

// killEither changes zones and kills replicas while they work, until each was
// killed at work twice and there were five kills in all, at most for the time.
func (w *world) killEither(replicas []*server, p *proxy, atMost time.Duration) (kills map[string]int, enough bool) {
	p.disturb(0.2)
	defer p.disturb(0)
	kills = map[string]int{}
	one, two := replicas[0], replicas[1]
	var last time.Time // a dead holder's work waits for its lease: kills leave room for runs
	for end := time.Now().Add(atMost); time.Now().Before(end) && !enough; {
		w.change(2 + w.rng.IntN(5))
		replicas[w.rng.IntN(2)].poll()
		s := w.busy(replicas)
		if s == nil || time.Since(last) < 3*time.Second {
			time.Sleep(time.Duration(100+w.rng.IntN(400)) * time.Millisecond)
			continue
		}
		time.Sleep(time.Duration(w.rng.IntN(40)) * time.Millisecond)
		s.kill()
		s.start()
		kills[s.name]++
		last = time.Now()
		enough = kills[one.name] >= 2 && kills[two.name] >= 2 && kills[one.name]+kills[two.name] >= 5
	}
	return kills, enough
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
// by the updates that the proxy saw: a run updates its zone message by message,
// so two updates of one zone at once are two runs. An abandoned run ended when
// its process died, which nobody recorded.
func (w *world) noTwoAtOnce(p *proxy) (updates int) {
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
	p.mu.Lock()
	all := slices.Clone(p.updates)
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b update) int { return a.from.Compare(b.from) })
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.zone == b.zone && b.from.Before(a.to) {
				w.t.Errorf("two updates of %s at once: from %s to %s and from %s", a.zone, a.from, a.to, b.from)
			}
		}
	}
	return len(all)
}
