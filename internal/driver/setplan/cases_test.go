package setplan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

var errLost = fmt.Errorf("%w: connection reset", setplan.ErrUnknown)

func TestPendingAndGoneIsForgotten(t *testing.T) {
	w := newWorld("x")
	w.own(at("x", "a"), "", true)
	p := w.plan(t)
	only(t, p, at("x", "a"), plan.Forget)
	if p.Writes() {
		t.Error("forgetting writes nothing")
	}
	if _, err := w.apply(t, p, nil); err != nil || len(w.inv) != 0 {
		t.Fatalf("%v, still owned: %v", err, w.inv)
	}
}

// TestForgottenReappears: between plan and apply the object is back. It must
// not lose its owner.
func TestForgottenReappears(t *testing.T) {
	w := newWorld("x")
	w.own(at("x", "a"), cellOf("v1").hash(), false)
	p := w.plan(t)
	only(t, p, at("x", "a"), plan.Forget)
	w.env[at("x", "a")] = cellOf("v1")
	if _, err := w.apply(t, p, nil); !errors.Is(err, driver.ErrStale) {
		t.Fatalf("apply gives %v", err)
	}
	only(t, w.plan(t), at("x", "a"), plan.Delete)
}

func TestHalfARename(t *testing.T) {
	w := newWorld("x")
	old, now := at("x", "old"), at("x", "new")
	w.env[old], w.desired[now] = cellOf("v1"), cellOf("v1")
	w.own(old, cellOf("v1").hash(), false)
	w.previously = map[plan.Address]plan.Address{"old": "new"}
	w.fail[old] = errors.New("refused")
	p := w.plan(t)
	only(t, p, now, plan.Rename)
	results, err := w.apply(t, p, nil)
	if err != nil || results[0].Outcome != plan.Unknown {
		t.Fatalf("half a rename is %v, %v", results, err)
	}
	w.fail = nil
	if !w.inv[old].Pending || !w.inv[now].Pending {
		t.Fatalf("both names stay pending: %v", w.inv)
	}
	if _, err := w.apply(t, w.plan(t), nil); err != nil {
		t.Fatal(err)
	}
	if len(w.env) != 1 || w.env[now] != cellOf("v1") || len(w.inv) != 1 {
		t.Fatalf("%v, %v", w.env, w.inv)
	}
}

// TestRenameCutOffBeforeItBegan: the new name is pending, nothing happened; it
// is still a rename, not a delete and a create.
func TestRenameCutOffBeforeItBegan(t *testing.T) {
	w := newWorld("x")
	w.env[at("x", "old")], w.desired[at("x", "new")] = cellOf("v1"), cellOf("v1")
	w.own(at("x", "old"), cellOf("v1").hash(), true)
	w.own(at("x", "new"), "", true)
	w.previously = map[plan.Address]plan.Address{"old": "new"}
	only(t, w.plan(t), at("x", "new"), plan.Rename)
}

func TestTwoOldNamesForOneNew(t *testing.T) {
	w := newWorld("x")
	for _, a := range []plan.Address{"one", "two"} {
		w.env[at("x", a)] = cellOf("v1")
		w.own(at("x", a), cellOf("v1").hash(), false)
	}
	w.desired[at("x", "new")] = cellOf("v1")
	w.previously = map[plan.Address]plan.Address{"one": "new", "two": "new"}
	for range 10 {
		p := w.plan(t)
		if len(p.Changes) != 2 || p.Changes[0].From != "one" || p.Changes[1].Action != plan.Delete {
			t.Fatal(dump(p))
		}
	}
}

func TestEmptyRead(t *testing.T) {
	w := newWorld("x")
	w.own(at("x", "a"), cellOf("v1").hash(), false)
	w.desired[at("x", "a")] = cellOf("v1")
	p := w.plan(t)
	if !p.Scopes[0].Empty {
		t.Fatalf("an owned scope without any object is empty:\n%s", dump(p))
	}
	w.env[at("x", "other")] = cellOf("v1")
	if p := w.plan(t); p.Scopes[0].Empty {
		t.Fatal("a scope with a neighbour is not empty")
	}
}

func TestMissingScopeIsUnknown(t *testing.T) {
	w := newWorld("x")
	w.own(at("gone", "a"), cellOf("v1").hash(), false)
	w.desired[at("new", "a")] = cellOf("v1")
	p := w.plan(t)
	if len(p.Changes) != 0 || len(p.UnknownScopes()) != 2 {
		t.Fatal(dump(p))
	}
}

func TestExclusiveDeletesStrangersAsDrift(t *testing.T) {
	w := newWorld("x")
	w.exclusive["x"] = true
	w.env[at("x", "stranger")] = cellOf("v1")
	if c := only(t, w.plan(t), at("x", "stranger"), plan.Delete); c.Reason != plan.ByDrift {
		t.Errorf("the reason is %q", c.Reason)
	}
	for _, mode := range []plan.Mode{plan.AddOnly, plan.Destroy} {
		w.mode = mode
		if p := w.plan(t); len(p.Changes) != 0 || p.Scopes[0].Unmanaged != 1 {
			t.Errorf("%s:\n%s", mode, dump(p))
		}
	}
}

func TestContradictingReads(t *testing.T) {
	w := newWorld("x")
	w.own(at("x", "a"), "h", false)
	it := toItem(at("x", "b"), cellOf("v1"))
	for name, s := range map[string]scope{
		"twice":       {Name: "x", Items: []item{it, it}},
		"other scope": {Name: "x", Items: []item{toItem(at("y", "b"), cellOf("v1"))}},
	} {
		p, err := setplan.Diff(w.input(), w.model, nil, []scope{s})
		if err != nil || len(p.Changes) != 0 || len(p.UnknownScopes()) != 1 {
			t.Errorf("%s: %v\n%s", name, err, dump(p))
		}
	}
	if _, err := setplan.Diff(w.input(), w.model, nil, []scope{{Name: "x"}, {Name: "x"}}); err == nil {
		t.Error("a scope that was read twice is an error")
	}
	_, err := setplan.Diff(w.input(), w.model, []item{it, it}, []scope{{Name: "x"}})
	if err == nil || !driver.IsPermanent(err) || !strings.Contains(err.Error(), "cells.yaml") {
		t.Errorf("an object that is asked for twice gives %v", err)
	}
}

// TestForgedPlans are refused before anything is written.
func TestForgedPlans(t *testing.T) {
	k := at("x", "a")
	forge := map[string]func(w *world, p *plan.Plan){
		"other content": func(_ *world, p *plan.Plan) { p.Changes[0].After = []byte(`{"kind":"a","value":"v9"}`) },
		"other desired": func(w *world, _ *plan.Plan) { w.desired[k] = cellOf("v9") },
		"gone from Git": func(w *world, _ *plan.Plan) { delete(w.desired, k) },
		"no base":       func(_ *world, p *plan.Plan) { p.Scopes[0].Base = nil },
		"no scope":      func(_ *world, p *plan.Plan) { p.Scopes = nil },
		"other realm":   func(_ *world, p *plan.Plan) { p.Scopes[0].Realm = "elsewhere" },
		"other target":  func(_ *world, p *plan.Plan) { p.Target = "u" },
		"other mode":    func(_ *world, p *plan.Plan) { p.Mode = plan.AddOnly },
		"unknown scope": func(_ *world, p *plan.Plan) { p.Scopes[0].Unknown = "down" },
		"delete":        func(_ *world, p *plan.Plan) { p.Changes[0].Action = plan.Delete },
		"scope is gone": func(w *world, _ *plan.Plan) { w.scopes = nil },
		"scope is down": func(w *world, _ *plan.Plan) { w.broken["x"] = true },
		"delete in a run that only adds": func(w *world, p *plan.Plan) {
			w.mode, p.Mode, p.Changes[0].Action = plan.AddOnly, plan.AddOnly, plan.Delete
		},
	}
	for name, change := range forge {
		w := newWorld("x")
		w.desired[k] = cellOf("v1")
		p := w.plan(t)
		change(w, p)
		if _, err := w.apply(t, p, nil); err == nil {
			t.Errorf("%s: the plan is carried out", name)
		}
		if len(w.writes) != 0 {
			t.Errorf("%s: something was written", name)
		}
	}
}

// TestMaskedPlanApplies: a plan comes back masked; what is hidden is not
// compared, the rest is.
func TestMaskedPlanApplies(t *testing.T) {
	w := newWorld("x")
	w.desired[at("x", "a")] = cellOf("v1")
	p := w.plan(t)
	p.Changes[0].Sensitive = []string{"/value"}
	if err := p.Mask(func([]byte) string { return "feedbeef" }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.apply(t, p, nil); err != nil {
		t.Fatal(err)
	}
}

// batched is a model that writes in batches.
type batched struct {
	*model
	cut   func([]step) [][]step
	write func([]step) []error
}

func (b *batched) Batches(s []step) [][]step                     { return b.cut(s) }
func (b *batched) Write(_ context.Context, batch []step) []error { return b.write(batch) }

func TestBatchersThatLoseSteps(t *testing.T) {
	run := func(cut func([]step) [][]step, write func([]step) []error) ([]plan.Result, error) {
		w := newWorld("x")
		w.desired[at("x", "a")], w.desired[at("x", "b")] = cellOf("v1"), cellOf("v1")
		p := w.plan(t)
		j := drivertest.NewJournal(nil, p)
		err := setplan.Apply[cell](context.Background(), w.input(), p, &batched{w.model, cut, write}, j)
		return j.Results(), err
	}
	whole := func(s []step) [][]step { return [][]step{s} }
	good := func(s []step) []error { return make([]error, len(s)) }
	if _, err := run(func(s []step) [][]step { return [][]step{s[:1]} }, good); err == nil {
		t.Error("a lost step is not noticed")
	}
	if _, err := run(func(s []step) [][]step { return [][]step{s[:1], s[:1]} }, good); err == nil {
		t.Error("a doubled step is not noticed")
	}
	results, err := run(whole, func([]step) []error { return nil })
	if err != nil || len(results) != 2 || results[0].Outcome != plan.Unknown {
		t.Errorf("writes without an answer: %v, %v", results, err)
	}
	results, err = run(func(s []step) [][]step { return [][]step{s[:1], s[1:]} }, func([]step) []error { return []error{driver.ErrStale} })
	if !errors.Is(err, driver.ErrStale) || len(results) != 2 || results[0].Outcome != plan.Failed || results[1].Outcome != plan.Skipped {
		t.Errorf("a stale batch: %v, %v", results, err)
	}
}

// database is a journal that does nothing for a cancelled caller.
type database struct{ *drivertest.Journal }

func (d database) Done(ctx context.Context, results []plan.Result) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.Journal.Done(ctx, results)
}

// TestJournalRefusesOnce: after the journal's first refusal nothing is
// written, in no scope.
func TestJournalRefusesOnce(t *testing.T) {
	w := newWorld("x", "y")
	w.desired[at("x", "a")], w.desired[at("y", "a")] = cellOf("v1"), cellOf("v1")
	refused := false
	_, err := w.apply(t, w.plan(t), func(j *drivertest.Journal) {
		j.OnPending = func([]plan.Key) error {
			if refused {
				return nil
			}
			refused = true
			return errKill
		}
	})
	if !errors.Is(err, errKill) || len(w.writes) != 0 {
		t.Errorf("%v, written: %v", err, w.writes)
	}
}

func TestCancelledRunRecordsWhatItLeft(t *testing.T) {
	w := newWorld("x", "y")
	for _, k := range []plan.Key{at("x", "a"), at("x", "b"), at("y", "a")} {
		w.desired[k] = cellOf("v1")
	}
	p := w.plan(t)
	ctx, cancel := context.WithCancel(context.Background())
	j := drivertest.NewJournal(nil, p)
	j.OnPending = func([]plan.Key) error { cancel(); return nil }
	err := setplan.Apply(ctx, w.input(), p, w.model, database{j})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("apply gives %v", err)
	}
	got := map[plan.Outcome]int{}
	for _, r := range j.Results() {
		got[r.Outcome]++
	}
	if got[plan.Applied] != 1 || got[plan.Skipped] != 2 || len(j.Inventory()) != 1 {
		t.Errorf("%v, owned: %v", got, j.Inventory())
	}
}

func TestNothingToDoReadsNothing(t *testing.T) {
	w := newWorld("x")
	p := w.plan(t)
	reads := w.reads
	if _, err := w.apply(t, p, nil); err != nil || w.reads != reads {
		t.Errorf("%v, %d reads", err, w.reads-reads)
	}
}

// TestOnlySomeScopes: a plan that is limited to a scope says nothing of the
// others, not even that they are unknown.
func TestOnlySomeScopes(t *testing.T) {
	w := newWorld("x", "y")
	w.desired[at("x", "a")], w.desired[at("y", "a")] = cellOf("v1"), cellOf("v1")
	w.own(at("y", "gone"), cellOf("v1").hash(), false)
	w.own(at("z", "gone"), cellOf("v1").hash(), false)
	in := w.input()
	in.Only = []plan.Scope{"x"}
	p, err := setplan.Plan(context.Background(), in, w.model)
	if err != nil {
		t.Fatal(err)
	}
	only(t, p, at("x", "a"), plan.Create)
	if len(p.Scopes) != 1 || p.Scopes[0].Scope != "x" {
		t.Errorf("scopes %+v", p.Scopes)
	}
}
