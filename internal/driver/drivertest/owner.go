package drivertest

import (
	"errors"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func testDrift(b *bench) {
	want := Objects{"one": "v1", "two": "v1", "three": "v1"}
	b.sync(want)
	b.world.Set(b, "one", "broken")
	b.world.Unset(b, "two")
	in := b.input(want)
	p := b.plan(in)
	if c := b.expect(p, "one", plan.Update); c.Reason != plan.ByDrift {
		b.Errorf("the reason of a changed object is %q, not drift", c.Reason)
	}
	if c := b.expect(p, "two", plan.Create); c.Reason != plan.ByDrift {
		b.Errorf("the reason of a removed object is %q, not drift", c.Reason)
	}
	b.mustApply(in, p)
	b.is(want)
	b.settled(want)
}

// testStale changes the environment between plan and apply: the write must
// not happen over what was not planned for.
func testStale(b *bench) {
	b.sync(Objects{"one": "v1", "two": "v1"})
	want := Objects{"one": "v2", "three": "v1"}
	for _, meanwhile := range []func(){
		func() { b.world.Set(b, "one", "else") },
		func() { b.world.Set(b, "one", "v1"); b.world.Set(b, "three", "else") },
		func() { b.world.Unset(b, "three"); b.world.Set(b, "two", "else") },
	} {
		in := b.input(want)
		p := b.plan(in)
		meanwhile()
		before := b.world.List(b)
		j := NewJournal(b.inventory, p)
		if err := b.apply(in, p, j); !errors.Is(err, driver.ErrStale) {
			b.Fatalf("apply over a changed environment gives %v, it should give ErrStale", err)
		}
		b.is(before)
	}
}

func testAdopt(b *bench) {
	b.world.Set(b, "one", "v1")
	want := Objects{"one": "v1"}
	in := b.input(want)
	p := b.plan(in)
	b.expect(p, "one", plan.Adopt)
	if p.Writes() {
		b.Fatalf("an equal object needs no write:\n%s", show(p))
	}
	b.mustApply(in, p)
	if !b.owns("one") {
		b.Fatal("an adopted object is in the inventory")
	}
	b.settled(want)
}

// testConflict: an object that differs and that nobody owns is held, and even
// an apply of that plan leaves it alone while it does the rest.
func testConflict(b *bench) {
	b.world.Set(b, "one", "theirs")
	in := b.input(Objects{"one": "ours", "two": "v1"})
	p := b.plan(in)
	if c := b.find(p, "one"); c == nil || c.Conflict == "" {
		b.Fatalf("an object that differs and has no owner must be held:\n%s", show(p))
	}
	j := NewJournal(b.inventory, p)
	if err := b.apply(in, p, j); err != nil {
		b.Fatalf("apply: %v", err)
	}
	b.is(Objects{"one": "theirs", "two": "v1"})
	if b.owns("one") || !b.owns("two") {
		b.Fatal("only what was written is owned")
	}
}

func testPrune(b *bench) {
	b.world.Set(b, "neighbour", "theirs")
	b.sync(Objects{"one": "v1", "two": "v1"})
	b.world.Set(b, "late", "theirs")
	in := b.input(Objects{"one": "v1"})
	p := b.plan(in)
	if c := b.expect(p, "two", plan.Delete); c.Reason != plan.ByPrune {
		b.Errorf("the reason is %q, not prune", c.Reason)
	}
	if b.find(p, "neighbour") != nil || b.find(p, "late") != nil {
		b.Fatalf("what others own is in the plan:\n%s", show(p))
	}
	unmanaged := 0
	for _, s := range p.Scopes {
		unmanaged += s.Unmanaged
	}
	if unmanaged < 2 {
		b.Errorf("%d unmanaged objects are counted, there are 2", unmanaged)
	}
	b.mustApply(in, p)
	b.is(Objects{"one": "v1", "neighbour": "theirs", "late": "theirs"})
	if b.owns("two") {
		b.Error("a pruned object is still owned")
	}
}

func testAddOnly(b *bench) {
	b.sync(Objects{"one": "v1", "two": "v1"})
	in := b.input(Objects{"one": "v2", "three": "v1"})
	in.Mode = plan.AddOnly
	p := b.plan(in)
	b.mustApply(in, p)
	b.is(Objects{"one": "v2", "two": "v1", "three": "v1"})
	if !b.owns("two") {
		b.Error("what an add-only run leaves is still owned")
	}
	if p := b.plan(in); p.Summary()[plan.Delete] != 0 {
		b.Errorf("an add-only plan deletes:\n%s", show(p))
	}
}

func testRename(b *bench) {
	b.sync(Objects{"old": "v1", "other": "v1"})
	want := Objects{"new": "v1", "other": "v1"}
	in := b.input(want)
	in.Previously = map[plan.Address]plan.Address{b.h.Key("old").Address: b.h.Key("new").Address}
	p := b.plan(in)
	c := b.expect(p, "new", plan.Rename)
	if c.From != b.h.Key("old").Address {
		b.Errorf("the rename is from %q", c.From)
	}
	if s := p.Summary(); s[plan.Delete] != 0 || s[plan.Create] != 0 {
		b.Errorf("a rename neither creates nor deletes:\n%s", show(p))
	}
	b.mustApply(in, p)
	b.is(want)
	if b.owns("old") || !b.owns("new") {
		b.Error("after the rename the new name is owned, and the old one is not")
	}
	b.settled(want)
}

func testDestroy(b *bench) {
	b.world.Set(b, "neighbour", "theirs")
	b.sync(Objects{"one": "v1", "two": "v1"})
	in := b.input(Objects{"one": "v1", "two": "v1"})
	in.Mode = plan.Destroy
	p := b.plan(in)
	b.expect(p, "one", plan.Delete)
	b.mustApply(in, p)
	b.is(Objects{"neighbour": "theirs"})
	if len(b.inventory) != 0 {
		b.Errorf("the inventory is not empty after destroy: %v", b.inventory)
	}
}

// testEmptyDesired: a path that is missing or holds nothing never means that
// everything is to go.
func testEmptyDesired(b *bench) {
	b.sync(Objects{"one": "v1"})
	for name, in := range map[string]driver.Input{"empty": b.input(Objects{}), "missing": b.missing()} {
		prep, err := b.h.Driver.Prepare(b.Context(), in)
		if err == nil && prep.Diagnostics.Err() == nil {
			b.Errorf("%s: Prepare finds nothing wrong", name)
		}
		if p, err := b.tryPlan(in); err == nil {
			b.Errorf("%s: it was planned for:\n%s", name, show(p))
		}
	}
	b.is(Objects{"one": "v1"})
}

// missing is an input whose path does not exist.
func (b *bench) missing() driver.Input {
	in := b.input(Objects{"one": "v1"})
	in.Path = "no/such/path"
	return in
}

func testImpact(b *bench) {
	b.sync(Objects{"one": "v1", "two": "v1", "three": "v1", "four": "v1"})
	before := b.world.List(b)
	p := b.sync(Objects{"one": "v1", "two": "v2", "five": "v1", "six": "v1"})
	after := b.world.List(b)
	var want, got plan.Impact
	for name, v := range after {
		if was, ok := before[name]; !ok {
			want.Create++
		} else if was != v {
			want.Update++
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			want.Delete++
		}
	}
	for _, i := range p.Impact() {
		i.Class = ""
		got = got.Add(i)
	}
	if got != want {
		b.Errorf("the plan declared %+v, what happened is %+v", got, want)
	}
	total := 0
	for _, n := range p.Owned() {
		total += n
	}
	if total != len(before) {
		b.Errorf("the plan counts %d owned resources, there were %d", total, len(before))
	}
}
