package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/store"
)

func init() { register("queue/model", queueModel) }

// queueModel runs random operations on the queue and on a plain model of it,
// and compares after each.
func queueModel(e *env) {
	round := 0
	rapid.Check(e.t, func(t *rapid.T) {
		round++
		m := &model{store: e.Store, ctx: e.ctx, clock: e.clock, t: t, kind: store.WorkKind(fmt.Sprint("model", round)),
			items: map[string]*modelItem{}, tokens: map[string]int64{}}
		t.Repeat(map[string]func(*rapid.T){
			"trigger": m.trigger, "claim": m.claim, "finish": m.finish, "renew": m.renew, "move": m.move, "": m.compare,
		})
	})
}

type modelItem struct {
	generation, observed int64
	due                  time.Time
	attempts             int
	lease                *store.Lease
	until                time.Time
}

type model struct {
	store  store.Store
	ctx    context.Context
	clock  *Clock
	t      *rapid.T
	kind   store.WorkKind
	items  map[string]*modelItem
	tokens map[string]int64
	stale  []store.Fence
}

var modelKeys = rapid.SampledFrom([]string{"a/1", "a/2", "b/1"})

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func (m *model) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) trigger(t *rapid.T) {
	key, n := modelKeys.Draw(t, "key"), rapid.IntRange(1, 3).Draw(t, "n")
	after := time.Duration(rapid.SampledFrom([]int{0, 0, 5, 100}).Draw(t, "after")) * time.Second
	tr := trigger(key, store.Class(rapid.IntRange(0, 3).Draw(t, "class")))
	tr.Kind, tr.After = m.kind, after
	list := make([]store.Trigger, n)
	for i := range list {
		list[i] = tr
	}
	m.must(m.store.Trigger(m.ctx, list...))
	it := m.items[key]
	if it == nil {
		it = &modelItem{}
		m.items[key] = it
	}
	it.generation += int64(n)
	it.due = earlier(it.due, m.clock.Now().Add(after))
}

func (m *model) claim(t *rapid.T) {
	now := m.clock.Now()
	ready := 0
	for _, it := range m.items {
		m.expire(it)
		if it.lease == nil && !it.due.IsZero() && !it.due.After(now) {
			ready++
		}
	}
	most := rapid.IntRange(1, 4).Draw(t, "max")
	o := options("x", most)
	o.Kinds = []store.WorkKind{m.kind}
	leases, err := m.store.Claim(m.ctx, o)
	m.must(err)
	if len(leases) != min(most, ready) {
		t.Fatalf("%d leases, %d are ready and %d may go", len(leases), ready, most)
	}
	for i := range leases {
		l := leases[i]
		it := m.items[l.Key]
		if it == nil || it.lease != nil || it.due.IsZero() || it.due.After(now) {
			t.Fatalf("%s was leased and may not be: %+v", l.Key, it)
		}
		if l.Token <= m.tokens[l.Key] {
			t.Fatalf("the token of %s fell from %d to %d", l.Key, m.tokens[l.Key], l.Token)
		}
		if l.Generation != it.generation || int64(len(l.Triggers)) != it.generation-it.observed || l.Attempts != it.attempts {
			t.Fatalf("lease %+v of %+v", l, it)
		}
		m.tokens[l.Key] = l.Token
		it.lease, it.until, it.due = &l, now.Add(o.Lease), time.Time{}
	}
}

// expire does what Claim does first: a lease past its end is work that is due.
func (m *model) expire(it *modelItem) {
	if it.lease != nil && !it.until.After(m.clock.Now()) {
		m.stale = append(m.stale, it.lease.Fence)
		it.lease = nil
		it.due = earlier(it.due, m.clock.Now())
	}
}

func (m *model) finish(t *rapid.T) {
	if len(m.stale) > 0 && rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
		f := rapid.SampledFrom(m.stale).Draw(t, "fence")
		if err := m.store.Finish(m.ctx, f, store.Finish{Observed: 1, Remove: true}); !errors.Is(err, store.ErrFenced) {
			t.Fatalf("a stale finish: %v", err)
		}
		return
	}
	key := modelKeys.Draw(t, "key")
	it := m.items[key]
	if it == nil || it.lease == nil {
		return
	}
	l := it.lease
	now := m.clock.Now()
	done := store.Finish{Observed: l.Generation}
	it.lease = nil
	m.stale = append(m.stale, l.Fence)
	how := rapid.SampledFrom([]string{"plain", "retry", "clock", "release", "remove"}).Draw(t, "how")
	it.attempts, it.observed = 0, l.Generation
	switch how {
	case "retry":
		done.RetryAfter = 7 * time.Second
		it.attempts = l.Attempts + 1
		it.due = earlier(it.due, now.Add(done.RetryAfter))
	case "clock":
		done.NextDue = now.Add(20 * time.Second)
		it.due = earlier(it.due, done.NextDue)
	case "release":
		done.Release = true
		it.attempts, it.observed = l.Attempts, l.Generation-int64(len(l.Triggers))
		it.due = earlier(it.due, now)
	case "remove":
		done.Remove = true
		if it.generation == l.Generation {
			delete(m.items, key)
		}
	}
	m.must(m.store.Finish(m.ctx, l.Fence, done))
}

func (m *model) renew(t *rapid.T) {
	it := m.items[modelKeys.Draw(t, "key")]
	if it == nil || it.lease == nil {
		return
	}
	lost, err := m.store.Renew(m.ctx, time.Minute, it.lease.Fence)
	m.must(err)
	if len(lost) != 0 {
		t.Fatalf("lost %v", lost)
	}
	it.until = m.clock.Now().Add(time.Minute)
}

func (m *model) move(t *rapid.T) {
	m.clock.Move(time.Duration(rapid.SampledFrom([]int{1, 5, 30, 61}).Draw(t, "seconds")) * time.Second)
}

func (m *model) compare(t *rapid.T) {
	for key, it := range m.items {
		w, err := m.store.Work(m.ctx, m.kind, key)
		m.must(err)
		if w.Generation != it.generation || w.Observed != it.observed || !w.DueAt.Equal(it.due) ||
			(it.lease == nil && w.Attempts != it.attempts) || (w.Owner != "") != (it.lease != nil) {
			t.Fatalf("%s: the store has %+v, the model %+v", key, w, it)
		}
	}
}
