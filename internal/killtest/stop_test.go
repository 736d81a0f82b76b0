//go:build real

package killtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
)

// patient makes a world with one zone behind a proxy that can hold updates
// back for longer than anybody waits, and its running server.
func patient(t *testing.T) (*world, *proxy, *server) {
	t.Helper()
	w := newWorld(t, 1)
	p := newProxy(t, w.dns.Addr, w.rng)
	config := strings.Replace(w.config(p.addr(), ""), "timeout: 20s", "timeout: 10m", 1)
	s := newServer(t, w.dir, "one", config)
	s.start()
	s.ready()
	w.ledger = sqliteLedger(t, s.dir)
	w.settle(60 * time.Second)
	return w, p, s
}

// midApply commits a change and waits until its update is held back.
func (w *world) midApply(p *proxy, s *server, answers bool) {
	w.t.Helper()
	p.holdUpdates(answers)
	w.change(1)
	s.poll()
	eventually(w.t, 20*time.Second, "an update is held back", func() bool { return p.waiting() > 0 })
}

func (w *world) lastRun() store.Run {
	w.t.Helper()
	runs := w.ledger.runs()
	return runs[len(runs)-1]
}

// TestStopLetsAnApplyEnd stops the server while an update is on its way: the
// run ends as it should, and then the server.
func TestStopLetsAnApplyEnd(t *testing.T) {
	t.Parallel()
	w, p, s := patient(t)
	w.midApply(p, s, true)
	released := make(chan bool)
	go func() {
		select {
		case <-s.done:
			released <- false
		case <-time.After(1500 * time.Millisecond):
			p.release()
			released <- true
		}
	}()
	took := s.stop(20 * time.Second)
	if !<-released {
		t.Fatalf("the server ended after %s in the middle of an update", took)
	}
	if r := w.lastRun(); r.State != store.RunSucceeded {
		t.Errorf("the run ended as %s: %s", r.State, r.Error)
	}
	if why, ok := w.settled(); !ok {
		t.Error(why)
	}
	w.converged()
}

// TestStopAbandonsAStuckApply stops the server while an update never gets an
// answer: it ends within its grace, and the next start goes on.
func TestStopAbandonsAStuckApply(t *testing.T) {
	t.Parallel()
	w, p, s := patient(t)
	w.midApply(p, s, false)
	// 30 s for the run to end by itself, then the driver's own grace.
	took := s.stop(45 * time.Second)
	if r := w.lastRun(); r.State != store.RunAbandoned {
		t.Errorf("the run ended as %s: %s", r.State, r.Error)
	}
	if e := w.ledger.targets()[0]; e.Owner != "" || e.Generation == e.Observed {
		t.Errorf("the work was not given back: owner %q, generation %d, observed %d", e.Owner, e.Generation, e.Observed)
	}
	p.release()
	s.start()
	w.settle(30 * time.Second)
	w.converged()
	t.Logf("ended after %s", took)
}

// TestCancelDuringApply cancels a run whose update the DNS server has carried
// out, but not answered yet.
func TestCancelDuringApply(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"not sent": false, "not answered": true} {
		t.Run(name, func(t *testing.T) {
			w, p, s := patient(t)
			w.midApply(p, s, answers)
			before := time.Now()
			if out, err := s.cli("cancel", "infra/z0"); err != nil {
				t.Fatalf("trueup cancel: %v: %s", err, out)
			}
			eventually(t, 10*time.Second, "the run is cancelled", func() bool { return w.ledger.targets()[0].Owner == "" })
			took := time.Since(before)
			if r := w.lastRun(); r.State != store.RunCancelled || !strings.Contains(r.Error, "cancelled by") {
				t.Errorf("the run ended as %s: %s", r.State, r.Error)
			}
			if e := w.ledger.targets()[0]; e.Status.Phase == store.Synced {
				t.Errorf("after a cancelled run the target counts as %s at %s", e.Status.Phase, e.Status.Applied)
			}
			z := w.zones[0]
			if got := w.served(z); slices.Equal(got, z.wanted(z.own())) != answers {
				t.Errorf("the server has the change: %v", !answers)
			}
			p.release()
			if out, err := s.cli("sync", "infra/z0", "--wait", "20s"); err != nil {
				t.Errorf("trueup sync: %v: %s", err, out)
			}
			w.settle(10 * time.Second)
			w.converged()
			t.Logf("cancelled within %s", took)
		})
	}
}
