package sql_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// recordOneRun is what the history of one run costs: it starts, it ends, and
// the events around it.
func recordOneRun(b *testing.B, s store.Store, l store.Lease, i int) {
	ctx := b.Context()
	data := json.RawMessage(`{"commit":"0123456789012345678901234567890123456789","cause":"push","environment":"dns-public"}`)
	r := store.Run{ID: fmt.Sprintf("r%s-%d", l.Key, i), Target: l.Key, Environment: "env", Repository: "infra", State: store.RunActive, Summary: plan.Summary{plan.Create: 1}}
	steps := []func() error{
		func() error { return s.PutRun(ctx, l.Fence, r) },
		func() error {
			return s.AddEvent(ctx, store.Event{Kind: "run.started", Target: l.Key, Run: r.ID, Data: data})
		},
		func() error { r.State = store.RunSucceeded; return s.PutRun(ctx, l.Fence, r) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkRecord(b *testing.B, s store.Store) {
	if err := s.Trigger(b.Context(), store.Trigger{Kind: store.Reconcile, Key: "k", Slot: "s"}); err != nil {
		b.Fatal(err)
	}
	l, err := s.Claim(b.Context(), store.ClaimOptions{Owner: "x", Kinds: []store.WorkKind{store.Reconcile}, Max: 1, Lease: 1 << 50, DefaultSlot: 10})
	if err != nil {
		b.Fatal(err)
	}
	n := make(chan int, b.N)
	for i := range b.N {
		n <- i
	}
	close(n)
	b.ResetTimer()
	done := make(chan bool)
	for range 8 {
		go func() {
			for i := range n {
				recordOneRun(b, s, l[0], i)
			}
			done <- true
		}()
	}
	for range 8 {
		<-done
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}
