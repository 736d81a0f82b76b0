//go:build real

package sql_test

import (
	"fmt"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
)

// What Claim reads must follow what is due, not what is idle: PostgreSQL
// says how many blocks it touched.
func TestClaimReadsNoIdleWork(t *testing.T) {
	url := newDatabase(t)
	s := openURL(t, url, nil)
	o := store.ClaimOptions{Owner: "x", Kinds: []store.WorkKind{store.Reconcile}, Max: 100, Lease: 1 << 40, DefaultSlot: 100_000}
	settle := func(n int) {
		t.Helper()
		list := make([]store.Trigger, n)
		for i := range list {
			list[i] = store.Trigger{Kind: store.Reconcile, Key: fmt.Sprint("k", i), Slot: fmt.Sprint("s", i%10), After: 1 << 45}
		}
		if err := s.Trigger(t.Context(), list...); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() int {
		t.Helper()
		const rounds = 20
		count := func() (n int) {
			t.Helper()
			out, err := server.Psql(t.Context(), url, "SELECT pg_stat_clear_snapshot(); SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'work'")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(out, &n); err != nil {
				t.Fatal(out, err)
			}
			return n
		}
		statsSettle(t, s)
		before := count()
		for range rounds {
			if err := s.Trigger(t.Context(), store.Trigger{Kind: store.Reconcile, Key: "one", Slot: "s1"}); err != nil {
				t.Fatal(err)
			}
			l, err := s.Claim(t.Context(), o)
			if err != nil || len(l) != 1 {
				t.Fatal(l, err)
			}
			if err := s.Finish(t.Context(), l[0].Fence, store.Finish{Observed: l[0].Generation}); err != nil {
				t.Fatal(err)
			}
		}
		statsSettle(t, s)
		return (count() - before) / rounds
	}
	settle(20)
	few := rows()
	settle(5000)
	many := rows()
	t.Logf("rows read a round: %d among 20 idle, %d among 5000 idle", few, many)
	if many > few+200 {
		t.Errorf("a round reads %d rows among 5000 idle ones, %d among 20", many, few)
	}
}

// statsSettle waits until the store's connections have reported what they
// read: they do when idle, at most once a second.
func statsSettle(t *testing.T, s store.Store) {
	t.Helper()
	time.Sleep(1200 * time.Millisecond)
	for range 8 {
		if _, err := s.Now(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
}
