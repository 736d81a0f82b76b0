package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
)

// RunParallel lets workers, on two replicas where there can be two, compete
// for work on the database's own clock: never two on one key, never more in
// a slot than its limit, and every trigger is answered.
func RunParallel(t *testing.T, b Backend) {
	stores := []store.Store{b.Open(t, nil)}
	if b.Second != nil {
		stores = append(stores, b.Second(t, nil))
	}
	const workers, limit, keys = 3, 2, 60
	r := &race{t: t, running: map[string]bool{}, slots: map[string]int{}, seen: map[string]int64{}, limit: limit}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i, s := range stores {
		for n := range workers {
			wg.Go(func() { r.work(ctx, s, fmt.Sprintf("replica%d-%d", i, n)) })
		}
	}
	want := map[string]int64{}
	for round := range 5 {
		var list []store.Trigger
		for k := range keys {
			list = append(list, trigger(fmt.Sprintf("slot%d/%d", k%4, k), store.Class(k%4)))
			want[list[k].Key]++
		}
		if err := stores[round%len(stores)].Trigger(ctx, list...); err != nil {
			t.Fatal(err)
		}
	}
	for !r.answered(want) && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("not every trigger was answered")
	}
	cancel()
	wg.Wait()
}

type race struct {
	t       *testing.T
	mu      sync.Mutex
	running map[string]bool
	slots   map[string]int
	seen    map[string]int64
	limit   int
}

func (r *race) answered(want map[string]int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, n := range want {
		if r.seen[k] < n {
			return false
		}
	}
	return true
}

func (r *race) work(ctx context.Context, s store.Store, owner string) {
	o := options(owner, 3)
	o.DefaultSlot = r.limit
	for ctx.Err() == nil {
		leases, err := s.Claim(ctx, o)
		if err != nil {
			if ctx.Err() == nil {
				r.t.Error(err)
			}
			return
		}
		for _, l := range leases {
			r.enter(l)
		}
		for _, l := range leases {
			r.leave(l)
			if err := s.Finish(ctx, l.Fence, store.Finish{Observed: l.Generation}); err != nil && ctx.Err() == nil {
				r.t.Error(err)
			}
		}
		if len(leases) == 0 && s.Wait(ctx, 50*time.Millisecond) != nil {
			return
		}
	}
}

func (r *race) enter(l store.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slot, _, _ := strings.Cut(l.Key, "/")
	if r.running[l.Key] {
		r.t.Errorf("%s is leased twice", l.Key)
	}
	if r.slots[slot]++; r.slots[slot] > r.limit {
		r.t.Errorf("%d run in %s, %d may", r.slots[slot], slot, r.limit)
	}
	r.running[l.Key] = true
}

func (r *race) leave(l store.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slot, _, _ := strings.Cut(l.Key, "/")
	r.running[l.Key] = false
	r.slots[slot]--
	r.seen[l.Key] = max(r.seen[l.Key], l.Generation)
}
