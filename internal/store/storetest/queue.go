package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/store"
)

func init() {
	register("queue/one run for many triggers", manyTriggers)
	register("queue/trigger during a run", triggerDuringRun)
	register("queue/fencing", fencing)
	register("queue/finish", finish)
	register("queue/classes and ageing", classes)
	register("queue/slots", slots)
	register("queue/reserved", reserved)
	register("queue/remove", removal)
	register("queue/cancel", cancelling)
	register("queue/next", next)
	register("queue/config version", configVersion)
	register("queue/wait", wait)
}

func manyTriggers(e *env) {
	for i := range 10 {
		tr := trigger("a/1", store.ByPush)
		tr.Actor = store.Actor(fmt.Sprintf("user:%d", i))
		e.ok(e.Trigger(e.ctx, tr))
	}
	leases := e.claim(options("x", 10))
	e.equal("leases", len(leases), 1)
	l := leases[0]
	e.equal("generation", l.Generation, int64(10))
	e.equal("triggers", len(l.Triggers), 10)
	for i, tr := range l.Triggers {
		e.equal("actor", tr.Actor, store.Actor(fmt.Sprintf("user:%d", i)))
		e.equal("trigger generation", tr.Generation, int64(i+1))
		e.equal("time", tr.At.Equal(e.clock.Now()), true)
	}
	e.equal("second claim", len(e.claim(options("y", 10))), 0)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation}))
	e.equal("after the answer", len(e.claim(options("y", 10))), 0)
}

func triggerDuringRun(e *env) {
	l := e.hold("a/1")
	e.trigger(store.ByPerson, "a/1", "a/1", "a/1")
	e.equal("while leased", len(e.claim(options("y", 10))), 0)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, NextDue: e.clock.Now().Add(time.Hour)}))
	again := e.claim(options("y", 10))
	e.equal("one more run", len(again), 1)
	e.equal("its class", again[0].Class, store.ByPerson)
	e.equal("its triggers", len(again[0].Triggers), 3)
	e.equal("token rises", again[0].Token > l.Token, true)
	e.ok(e.Finish(e.ctx, again[0].Fence, store.Finish{Observed: again[0].Generation}))
	e.equal("no third run", len(e.claim(options("y", 10))), 0)
}

func fencing(e *env) {
	old := e.hold("a/1")
	e.equal("until", old.Until.Equal(e.clock.Now().Add(time.Minute)), true)
	o := options("second", 10)
	e.clock.Move(59 * time.Second)
	e.equal("before the end", len(e.claim(o)), 0)
	lost, err := e.Renew(e.ctx, time.Minute, old.Fence)
	e.ok(err)
	e.equal("lost", len(lost), 0)
	e.clock.Move(59 * time.Second)
	e.equal("renewed", len(e.claim(o)), 0)
	e.clock.Move(2 * time.Second)
	taken := e.claim(o)
	e.equal("taken over", len(taken), 1)
	e.equal("its class stays", taken[0].Class, store.ByPush)
	e.equal("its triggers stay", len(taken[0].Triggers), 1)
	e.equal("token rises", taken[0].Token > old.Token, true)
	lost, err = e.Renew(e.ctx, time.Minute, old.Fence, taken[0].Fence)
	e.ok(err)
	e.equal("lost", len(lost), 1)
	e.equal("which", lost[0], old.Fence)
	e.fenced("finish", e.Finish(e.ctx, old.Fence, store.Finish{Observed: 1}))
	e.fenced("run", e.PutRun(e.ctx, old.Fence, store.Run{ID: "r1", Target: "a/1"}))
	_, err = e.Run(e.ctx, "r1")
	e.equal("nothing written", errors.Is(err, store.ErrNotFound), true)
	e.ok(e.PutRun(e.ctx, taken[0].Fence, store.Run{ID: "r1", Target: "a/1"}))
	e.ok(e.Finish(e.ctx, taken[0].Fence, store.Finish{Observed: 1}))
	e.fenced("finish twice", e.Finish(e.ctx, taken[0].Fence, store.Finish{Observed: 1}))
	e.fenced("the zero fence", e.PutRun(e.ctx, store.Fence{Kind: store.Reconcile, Key: "a/1"}, store.Run{ID: "r2"}))

	e.trigger(store.ByPush, "a/1")
	o.Grace = 30 * time.Second
	held := e.claim(o)
	e.equal("leased", len(held), 1)
	e.clock.Move(89 * time.Second)
	e.equal("still stopping", len(e.claim(options("third", 10))), 0)
	e.clock.Move(2 * time.Second)
	e.equal("after its grace", len(e.claim(options("third", 10))), 1)
}

func (e *env) fenced(what string, err error) {
	e.t.Helper()
	if !errors.Is(err, store.ErrFenced) {
		e.t.Fatalf("%s: got %v, want ErrFenced", what, err)
	}
}

func finish(e *env) {
	l := e.hold("a/1")
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, RetryAfter: 10 * time.Second}))
	e.equal("too early", len(e.claim(options("x", 1))), 0)
	e.clock.Move(10 * time.Second)
	l = e.claim(options("x", 1))[0]
	e.equal("retry", l.Class, store.ByRetry)
	e.equal("attempts", l.Attempts, 1)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Release: true}))
	l = e.claim(options("x", 1))[0]
	e.equal("released: class", l.Class, store.ByRetry)
	e.equal("released: attempts", l.Attempts, 1)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, RetryAfter: time.Hour}))
	e.trigger(store.ByPerson, "a/1")
	l = e.claim(options("x", 1))[0]
	e.equal("an earlier time wins", l.Class, store.ByPerson)
	e.equal("attempts", l.Attempts, 2)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, NextDue: e.clock.Now().Add(time.Minute)}))
	w, err := e.Work(e.ctx, store.Reconcile, "a/1")
	e.ok(err)
	e.equal("attempts", w.Attempts, 0)
	e.equal("due", w.DueAt.Equal(e.clock.Now().Add(time.Minute)), true)
	tr := trigger("a/1", store.ByPush)
	tr.After = time.Hour
	e.ok(e.Trigger(e.ctx, tr))
	e.clock.Move(time.Minute)
	l = e.claim(options("x", 1))[0]
	e.equal("answers the trigger too", len(l.Triggers), 1)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{}))
	e.equal("what was not answered is due again", len(e.claim(options("x", 1))), 1)
}

func classes(e *env) {
	e.trigger(store.ByClock, "a/clock")
	e.clock.Move(time.Second)
	e.trigger(store.ByRetry, "a/retry")
	e.clock.Move(time.Second)
	e.trigger(store.ByPush, "a/push")
	e.clock.Move(time.Second)
	e.trigger(store.ByPerson, "a/person")
	o := options("x", 4)
	o.Lease = time.Hour
	e.equal("order", keysOf(e.claim(o)), "a/person a/push a/retry a/clock")

	e.trigger(store.ByClock, "b/old")
	e.clock.Move(time.Minute)
	e.trigger(store.ByPush, "b/push")
	o.Max = 1
	e.equal("a short wait changes nothing", keysOf(e.claim(o)), "b/push")
	e.clock.Move(6 * time.Minute)
	e.trigger(store.ByPush, "b/new")
	e.equal("ageing", keysOf(e.claim(o)), "b/old")
}

func slots(e *env) {
	var slow []string
	for i := range 50 {
		slow = append(slow, fmt.Sprintf("slow/%02d", i))
	}
	e.trigger(store.ByPush, slow...)
	e.clock.Move(time.Second)
	e.trigger(store.ByPush, "fast/1", "fast/2", "third/1")
	o := options("x", 4)
	o.DefaultSlot = 2
	first := keysOf(e.claim(o))
	e.equal("fair over slots", strings.Count(first, "slow"), 2)
	e.equal("the others get in", strings.Contains(first, "fast/1") && strings.Contains(first, "third/1"), true)
	o.Max, o.SlotLimit = 100, map[string]int{"slow": 5}
	rest := keysOf(e.claim(o))
	e.equal("up to the limits", strings.Count(rest, "slow"), 3)
	e.equal("fast's second place", strings.Contains(rest, "fast/2"), true)
	e.equal("all are taken", len(e.claim(o)), 0)
	o.SlotLimit["slow"] = 0
	e.equal("a slot without room", len(e.claim(o)), 0)
}

func reserved(e *env) {
	e.trigger(store.ByClock, "a/1", "a/2", "a/3", "b/1", "b/2", "b/3")
	o := options("x", 10)
	o.DefaultSlot = 3
	e.equal("drift leaves a place", len(e.claim(o)), 4)
	e.trigger(store.ByPush, "a/4")
	e.equal("a push takes it", keysOf(e.claim(o)), "a/4")
	e.trigger(store.ByClock, "c/1", "d/1", "e/1")
	o.Max, o.Reserved = 3, 2
	e.equal("reserved of all", len(e.claim(o)), 1)
	e.trigger(store.ByPerson, "f/1", "g/1", "h/1")
	e.equal("people may take all", keysOf(e.claim(o)), "f/1 g/1 h/1")
}

func removal(e *env) {
	tr := trigger("m1", store.ByPush)
	tr.Kind, tr.Payload = store.Outbox, []byte(`{"n":1}`)
	e.ok(e.Trigger(e.ctx, tr))
	o := options("x", 5)
	o.Kinds = []store.WorkKind{store.Outbox}
	l := e.claim(o)[0]
	e.equal("payload", string(l.Payload), `{"n":1}`)
	tr.Payload = []byte(`{"n":2}`)
	e.ok(e.Trigger(e.ctx, tr))
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, Remove: true}))
	l2 := e.claim(o)[0]
	e.equal("not removed: newer trigger", string(l2.Payload), `{"n":2}`)
	e.ok(e.Finish(e.ctx, l2.Fence, store.Finish{Observed: l2.Generation, Remove: true}))
	_, err := e.Work(e.ctx, store.Outbox, "m1")
	e.equal("removed", errors.Is(err, store.ErrNotFound), true)
	e.fenced("its fence", e.PutRun(e.ctx, l2.Fence, store.Run{ID: "r"}))
	e.ok(e.Trigger(e.ctx, tr))
	l3 := e.claim(o)[0]
	e.equal("the token still rises", l3.Token > l2.Token, true)
}

func cancelling(e *env) {
	err := e.Cancel(e.ctx, store.Reconcile, "a/1", "user:bob")
	e.equal("nothing runs", errors.Is(err, store.ErrNotFound), true)
	l := e.hold("a/1")
	_, yes, err := e.Cancelled(e.ctx, l.Fence)
	e.ok(err)
	e.equal("not yet", yes, false)
	e.ok(e.Cancel(e.ctx, store.Reconcile, "a/1", "user:bob"))
	by, yes, err := e.Cancelled(e.ctx, l.Fence)
	e.ok(err)
	e.equal("cancelled", yes, true)
	e.equal("by", by, store.Actor("user:bob"))
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation}))
	_, _, err = e.Cancelled(e.ctx, l.Fence)
	e.fenced("afterwards", err)
	l = e.hold("a/1")
	_, yes, err = e.Cancelled(e.ctx, l.Fence)
	e.ok(err)
	e.equal("the next run is free", yes, false)
}

func next(e *env) {
	kinds := []store.WorkKind{store.Reconcile}
	at := func(what string, want time.Time) {
		e.t.Helper()
		got, err := e.Next(e.ctx, kinds)
		e.ok(err)
		if !got.Equal(want) {
			e.t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
	at("nothing", time.Time{})
	tr := trigger("a/1", store.ByPush)
	tr.After = time.Hour
	e.ok(e.Trigger(e.ctx, tr))
	at("later", e.clock.Now().Add(time.Hour))
	e.trigger(store.ByPush, "a/1", "a/2")
	at("now", e.clock.Now())
	o := options("x", 10)
	o.DefaultSlot = 1
	e.equal("leased", len(e.claim(o)), 1)
	at("what waits for a slot is not counted, the lease's end is", e.clock.Now().Add(time.Minute))
}

func configVersion(e *env) {
	v, err := e.PutConfig(e.ctx, "d1", []byte("one"), "user:op")
	e.ok(err)
	e.equal("version", v, int64(1))
	v, err = e.PutConfig(e.ctx, "d1", []byte("one"), "user:op")
	e.ok(err)
	e.equal("same digest", v, int64(1))
	v, err = e.PutConfig(e.ctx, "d2", []byte("two"), "user:op")
	e.ok(err)
	e.equal("version", v, int64(2))
	body, err := e.Config(e.ctx, 1)
	e.ok(err)
	e.equal("body", string(body), "one")
	v, digest, err := e.CurrentConfig(e.ctx)
	e.ok(err)
	e.equal("current", fmt.Sprint(v, digest), "2d2")
	e.trigger(store.ByPush, "a/1")
	o := options("x", 1)
	o.ConfigVersion = 1
	e.equal("an old replica gets nothing", len(e.claim(o)), 0)
	o.ConfigVersion = 2
	e.equal("a current one does", len(e.claim(o)), 1)
}

func wait(e *env) {
	e.claim(options("x", 1))
	done := make(chan time.Duration, 1)
	start := time.Now()
	go func() {
		_ = e.Wait(e.ctx, 30*time.Second)
		done <- time.Since(start)
	}()
	time.Sleep(20 * time.Millisecond)
	e.trigger(store.ByPush, "a/1")
	if took := <-done; took > 10*time.Second {
		e.t.Fatalf("woke after %v", took)
	}
	e.claim(options("x", 1))
	e.trigger(store.ByPush, "a/2")
	start = time.Now()
	e.ok(e.Wait(e.ctx, 30*time.Second))
	e.equal("a trigger between claim and wait is not slept over", time.Since(start) < 10*time.Second, true)
}
