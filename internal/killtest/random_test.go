//go:build real

package killtest

import (
	"slices"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
)

// TestKilledAtRandom lets commits rain on a server that is killed again and
// again, over a network that cuts updates and transfers in the middle, for
// 200 runs.
func TestKilledAtRandom(t *testing.T) {
	const runs = 200
	w := newWorld(t, 8)
	p := newProxy(t, w.dns.Addr, w.rng)
	s := newServer(t, w.dir, "one", w.config(p.addr(), ""))
	s.start()
	s.ready()
	w.ledger = sqliteLedger(t, s.dir)
	w.settle(60 * time.Second)
	p.disturb(0.25)
	kills, looks := 0, 0
	enough := func() bool {
		return kills >= 5 && looks >= 20 && len(p.cuts) == 4 && w.ledger.number("SELECT count(*) FROM runs") >= runs
	}
	for end := time.Now().Add(6 * time.Minute); !enough(); {
		if time.Now().After(end) {
			t.Fatalf("only %d runs, %d kills, %d looks, cuts %v", w.ledger.number("SELECT count(*) FROM runs"), kills, looks, p.cuts)
		}
		w.change(4 + w.rng.IntN(5))
		s.poll()
		time.Sleep(time.Duration(20+w.rng.IntN(380)) * time.Millisecond)
		switch w.rng.IntN(6) {
		case 0:
			w.neighbour(w.zones[w.rng.IntN(len(w.zones))])
		case 1, 2:
			s.freeze()
			looks += w.noFalseSuccess()
			s.thaw()
		default:
			s.kill()
			if kills++; kills%3 == 0 {
				w.journalled()
			}
			s.start()
		}
	}
	p.disturb(0)
	w.settle(60 * time.Second)
	w.converged()
	s.stop(20 * time.Second)
	t.Logf("%d runs %v, %d commits, %d kills, %d looks at a target at rest, cuts %v",
		len(w.ledger.runs()), w.states(), len(w.asked), kills, looks, p.cuts)
}

// noFalseSuccess compares, while the server stands still, what it says about
// targets that nobody works on with what the DNS server holds. It tells how
// many there were.
func (w *world) noFalseSuccess() int {
	w.t.Helper()
	last := map[string]store.Run{}
	for _, r := range w.ledger.runs() {
		last[r.Target] = r
	}
	looks := 0
	for _, e := range w.ledger.targets() {
		if r := last[e.ID]; e.Owner != "" || r.State == store.RunActive || r.State == store.RunAbandoned {
			continue
		}
		if r := last[e.ID]; r.State == store.RunSucceeded || r.State == store.RunNoChange {
			looks += w.holds(e.ID, r.Commit, "run "+r.ID+" "+string(r.State))
		}
		if e.idle() && e.Status.Phase == store.Synced {
			looks += w.holds(e.ID, e.Status.Applied, "the target is synced")
		}
	}
	return looks
}

// holds checks that a zone is what a commit asked for.
func (w *world) holds(target, commit, says string) int {
	w.t.Helper()
	z := w.zoneOf(target)
	n, known := w.number[commit]
	if !known {
		w.t.Errorf("%s: %s at the unknown commit %s", target, says, commit)
		return 0
	}
	want, got := z.wanted(w.asked[n][z.name]), w.served(z)
	if !slices.Equal(want, got) {
		w.t.Errorf("false success: %s: %s at commit %d, the zone is not:%s", target, says, n, difference(want, got))
	}
	return 1
}

// states counts the runs by state.
func (w *world) states() map[store.RunState]int {
	m := map[store.RunState]int{}
	for _, r := range w.ledger.runs() {
		m[r.State]++
	}
	return m
}
