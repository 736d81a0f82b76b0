package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("audit/chain", chain)
	register("audit/retention", auditRetention)
	register("audit/restore", auditRestore)
	register("audit/parallel", auditParallel)
}

// sound checks the whole record; n is the number of events, 0 is any.
func (e *env) sound(n int64) store.AuditReport {
	e.t.Helper()
	r, err := e.VerifyAudit(e.ctx)
	e.ok(err)
	if r.Broken != nil {
		e.t.Fatalf("the record is broken: %+v", *r.Broken)
	}
	if n != 0 && r.Events != n {
		e.t.Fatalf("%d events were checked, want %d", r.Events, n)
	}
	return r
}

// fill writes events, runs and approvals.
func fill(e *env) {
	key := fmt.Sprint("a/", e.clock.Now().Unix())
	l := e.hold(key)
	for i := range 3 {
		id := fmt.Sprintf("run-%d-%d", e.clock.Now().Unix(), i)
		e.ok(e.AddEvent(e.ctx, store.Event{Actor: "system:poll", Kind: "run.started", Target: "a/1", Run: id, Data: json.RawMessage(`{"b": 1.0, "a": "x\u0000<&>"}`)}))
		r := store.Run{ID: id, Target: "a/1", Environment: "env", Repository: "infra", State: store.RunActive, Actor: "user:ann", Summary: plan.Summary{plan.Create: 3},
			Detail: json.RawMessage(`{"health": []}`), Origin: &store.Origin{Number: 4, Proposed: store.Party{Login: "ann"}}}
		e.ok(e.PutRun(e.ctx, l.Fence, r))
		e.clock.Move(time.Second)
		r.State = store.RunSucceeded
		e.ok(e.PutRun(e.ctx, l.Fence, r))
		e.ok(e.AddApproval(e.ctx, store.Approval{ID: "ok-" + id, Target: "a/1", Digest: "d", PlanHash: "h", Approved: true, Actor: "user:bob", Reason: "é\x00"}))
		e.ok(e.AddEvent(e.ctx, store.Event{Kind: "one"}, store.Event{Kind: "two", Actor: "user:\xff"}))
	}
}

func chain(e *env) {
	e.sound(0)
	fill(e)
	r := e.sound(15)
	e.equal("rows", line(r.Runs, r.Approvals, r.First, r.Last), "3 3 1 15")
	events, err := e.Events(e.ctx, 0, 100)
	e.ok(err)
	key, err := e.AuditKey(e.ctx)
	e.ok(err)
	k, err := audit.ParseKey(key)
	e.ok(err)
	prev := audit.Genesis
	for _, ev := range events {
		want, err := audit.Hash(prev, ev)
		e.ok(err)
		if ev.Hash != want || !k.Signed(ev.Hash, ev.Sig) {
			e.t.Fatalf("event %d is not sealed", ev.Seq)
		}
		prev = ev.Hash
	}
	e.equal("head", r.Head, prev)
	var run audit.RunData
	e.ok(json.Unmarshal(events[1].Data, &run))
	e.equal("a run's record", line(events[1].Kind, run.ID == events[1].Run, run.Origin.Number, len(run.Detail), run.Summary[plan.Create]), "run.finished true 4 0 3")
	// A clock that goes back does not turn the order around.
	e.clock.Move(-time.Hour)
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "late"}))
	events, err = e.Events(e.ctx, 14, 10)
	e.ok(err)
	e.equal("order", events[1].At.Before(events[0].At), false)
	e.sound(16)
}

func auditRetention(e *env) {
	fill(e)
	e.clock.Move(48 * time.Hour)
	for range 2 { // the second has nothing to drop but the first one's own event
		e.ok(e.Retain(e.ctx, 10, 24*time.Hour))
		e.sound(1)
	}
	fill(e)
	e.clock.Move(48 * time.Hour)
	e.ok(e.Retain(e.ctx, 10, 24*time.Hour))
	e.sound(1)
	e.ok(e.Retain(e.ctx, 10, 0))
	e.clock.Move(time.Second)
	e.ok(e.Retain(e.ctx, 10, 0))
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "after"}))
	e.sound(2)
}

func auditRestore(e *env) {
	fill(e)
	e.clock.Move(48 * time.Hour)
	e.ok(e.Retain(e.ctx, 10, 24*time.Hour))
	fill(e)
	before := e.sound(0)
	var b bytes.Buffer
	e.ok(e.Backup(e.ctx, &b))
	s, err := e.backend.Restore(e.t, b.Bytes(), e.clock.Now)
	e.ok(err)
	after := &env{Store: s, t: e.t, ctx: e.ctx, clock: e.clock}
	got := after.sound(before.Events + 1)
	e.equal("the same key", got.Key, before.Key)
	events, err := s.Events(e.ctx, before.Last, 10)
	e.ok(err)
	e.equal("the chain goes on", line(len(events), events[0].Kind, events[0].Seq-before.Last), "1 store.restored 1")
	e.ok(s.AddEvent(e.ctx, store.Event{Kind: "more"}))
	after.sound(before.Events + 2)
}

// auditParallel has two replicas write at once.
func auditParallel(e *env) {
	stores := []store.Store{e.Store}
	if e.backend.Second != nil {
		stores = append(stores, e.backend.Second(e.t, e.clock.Now))
	}
	const each, writers = 40, 4
	errs := make(chan error, writers*len(stores))
	for _, s := range stores {
		for range writers {
			go func() {
				var err error
				for i := 0; i < each && err == nil; i++ {
					err = s.AddEvent(e.ctx, store.Event{Kind: "x", Data: json.RawMessage(`{"text": "` + strings.Repeat("y", i) + `"}`)}, store.Event{Kind: "z"})
				}
				errs <- err
			}()
		}
	}
	for range writers * len(stores) {
		e.ok(<-errs)
	}
	e.sound(int64(2 * each * writers * len(stores)))
}
