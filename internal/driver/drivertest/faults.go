package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

var errKilled = errors.New("killed here by the test")

// testPartialFailure: one object can't be written; the others are, and what
// was written is owned.
func testPartialFailure(b *bench) {
	w, ok := b.world.(Blocking)
	if !ok {
		b.Fatal("the world is no Blocking: implement it or opt out")
	}
	b.sync(Objects{"one": "v1", "two": "v1"})
	mend := w.Block(b, "two")
	want := Objects{"one": "v2", "two": "v2", "three": "v1"}
	in := b.input(want)
	p := b.plan(in)
	j := NewJournal(b.inventory, p)
	err := b.apply(in, p, j)
	failed := 0
	for _, r := range j.Results() {
		if r.Outcome == plan.Applied {
			continue
		}
		failed++
		if r.Error == "" {
			b.Errorf("%s is %s without a reason", r.Key, r.Outcome)
		}
	}
	if failed == 0 && err == nil {
		b.Fatal("a write was refused, and apply reports nothing but success")
	}
	b.truthful()
	mend()
	b.sync(want)
	b.is(want)
	b.settled(want)
}

// truthful expects that everything of ours that is there is owned.
func (b *bench) truthful() {
	b.Helper()
	for name := range b.world.List(b) {
		if !b.owns(name) {
			b.Errorf("%s was written, but it is not owned", name)
		}
	}
}

// testKillBeforeWrite: the journal refuses before the write, so nothing may
// be written.
func testKillBeforeWrite(b *bench) {
	b.sync(Objects{"one": "v1"})
	want := Objects{"one": "v2", "two": "v1"}
	in := b.input(want)
	p := b.plan(in)
	j := NewJournal(b.inventory, p)
	j.OnPending = func([]plan.Key) error { return errKilled }
	if err := b.apply(in, p, j); !errors.Is(err, errKilled) {
		b.Fatalf("apply gives %v, it should give the journal's error", err)
	}
	b.is(Objects{"one": "v1"})
	b.sync(want)
	b.is(want)
	b.settled(want)
}

// testKillAfterWrite: the write happened and its report got lost. The next
// run, in a fresh session, still owns the object, also when it is to go.
func testKillAfterWrite(b *bench) {
	b.kill(nil, Objects{"one": "v1"})
	b.is(Objects{"one": "v1"})
	b.truthful()
	b.sync(Objects{"one": "v1"})
	b.settled(Objects{"one": "v1"})

	b.kill(Objects{"one": "v1"}, Objects{"one": "v2"})
	b.truthful()
	b.sync(Objects{"one": "v3"})
	b.is(Objects{"one": "v3"})

	b.kill(Objects{"one": "v3"}, Objects{"one": "v3", "two": "v1"})
	b.truthful()
	b.sync(Objects{"one": "v3"})
	b.is(Objects{"one": "v3"})
	b.settled(Objects{"one": "v3"})
	if b.owns("two") {
		b.Error("a removed object is still owned")
	}
}

func testKillDuringDelete(b *bench) {
	b.kill(Objects{"one": "v1", "two": "v1"}, Objects{"one": "v1"})
	want := Objects{"one": "v1"}
	in := b.input(want)
	b.mustApply(in, b.plan(in))
	b.is(want)
	b.settled(want)
	if b.owns("two") {
		b.Error("a deleted object is still owned")
	}
}

// kill goes from one state to another, and loses every report of the writes.
func (b *bench) kill(from, to Objects) {
	b.Helper()
	if len(from) > 0 && !b.plan(b.input(from)).Empty() {
		b.sync(from)
	}
	in := b.input(to)
	p := b.plan(in)
	j := NewJournal(b.inventory, p)
	j.OnDone = func([]plan.Result) error { return errKilled }
	if err := b.apply(in, p, j); !errors.Is(err, errKilled) {
		b.Fatalf("apply gives %v, it should give the journal's error", err)
	}
}

// testCancel cancels in the middle of an apply.
func testCancel(b *bench) {
	want := Objects{}
	for i := range 200 {
		want[fmt.Sprintf("many%d", i)] = "v1"
	}
	in := b.input(want)
	p := b.plan(in)
	s := b.open(driver.Write)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	j := NewJournal(b.inventory, p)
	var since time.Time
	j.OnPending = func([]plan.Key) error {
		if since.IsZero() {
			since = time.Now()
			cancel()
		}
		return nil
	}
	err := s.Apply(ctx, in, p, j)
	b.heard(err)
	b.keep(j)
	if took, grace := time.Since(since), b.h.Driver.Info().StopGrace; took > grace {
		b.Errorf("a cancelled apply took %s, longer than its StopGrace of %s", took, grace)
	}
	if since.IsZero() {
		b.Fatal("nothing was marked pending")
	}
	if err == nil && len(b.world.List(b)) != len(want) {
		b.Error("a cancelled apply that did not do everything must say so")
	}
	b.truthful()
	for _, r := range j.Results() {
		if r.Outcome == plan.Applied && r.Action == plan.Create && !b.there(r.Key, want) {
			b.Errorf("%s is reported as applied, but it is not there", r.Key)
		}
	}
	b.sync(want)
	b.is(want)
}

func (b *bench) there(k plan.Key, want Objects) bool {
	list := b.world.List(b)
	for name := range want {
		if b.h.Key(name) == k {
			_, ok := list[name]
			return ok
		}
	}
	return true // an object of the driver's own, a directory say
}

func testUnreadable(b *bench) {
	w, ok := b.world.(Unreadable)
	if !ok {
		b.Fatal("the world is no Unreadable: implement it or opt out")
	}
	b.sync(Objects{"one": "v1", "two": "v1"})
	stale := b.plan(b.input(Objects{"two": "v2"}))
	before := b.world.List(b)
	mend := w.MakeUnreadable(b)
	b.plansNothing(b.input(Objects{"one": "v2"}))
	if s, err := b.tryOpen(driver.Write); err == nil {
		j := NewJournal(b.inventory, stale)
		if err := s.Apply(b.Context(), b.input(Objects{"two": "v2"}), stale, j); err == nil {
			b.Error("apply to an unreadable environment reports success")
		}
	}
	mend()
	if got := b.world.List(b); !maps.Equal(got, before) {
		b.Errorf("the environment was %v, it is %v", before, got)
	}
	b.settled(Objects{"one": "v1", "two": "v1"})
}

func testTruncated(b *bench) {
	w, ok := b.world.(Truncating)
	if !ok {
		b.Fatal("the world is no Truncating: implement it or opt out")
	}
	b.sync(Objects{"one": "v1", "two": "v1", "three": "v1"})
	mend := w.TruncateReads(b)
	b.plansNothing(b.input(Objects{"one": "v1"}))
	mend()
	b.is(Objects{"one": "v1", "two": "v1", "three": "v1"})
}

// plansNothing accepts an error, or a plan whose scopes are all unknown.
func (b *bench) plansNothing(in driver.Input) {
	b.Helper()
	p, err := b.tryPlan(in)
	if err != nil {
		return
	}
	if len(p.Changes) != 0 {
		b.Errorf("changes are planned for what could not be read:\n%s", show(p))
	}
	if len(p.UnknownScopes()) == 0 {
		b.Errorf("no scope is unknown:\n%s", show(p))
	}
}
