package setplan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// taker asks for objects to be taken over.
type taker struct{ *model }

func (m taker) items(items []item) []item {
	for i := range items {
		items[i].TakeOver = true
	}
	return items
}

func TestTakeOver(t *testing.T) {
	w := newWorld("x")
	w.env[at("x", "a")] = cellOf("theirs")
	w.desired[at("x", "a")] = cellOf("v1")
	if c := only(t, w.plan(t), at("x", "a"), plan.Update); c.Conflict == "" {
		t.Error("a foreign object that differs is a conflict")
	}
	desired, err := w.Desired(t.Context(), w.input())
	if err != nil {
		t.Fatal(err)
	}
	scopes, err := w.Observed(t.Context(), w.input(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := setplan.Diff(w.input(), w.model, taker{w.model}.items(desired), scopes)
	if err != nil {
		t.Fatal(err)
	}
	if c := only(t, p, at("x", "a"), plan.Update); c.Conflict != "" {
		t.Errorf("it is asked for to be taken over, and is held: %s", c.Conflict)
	}
}

// many is a model whose scopes are written side by side. Every write waits for
// one of the other scope: one after the other they would never end.
type many struct {
	*model
	mu   sync.Mutex
	seen map[plan.Scope]bool
	both chan struct{}
}

func (m *many) Concurrency() int { return 2 }

func (m *many) Put(ctx context.Context, it, _ item) error {
	m.mu.Lock()
	m.seen[it.Scope] = true
	if len(m.seen) == 2 {
		close(m.both)
	}
	m.mu.Unlock()
	select {
	case <-m.both:
		return nil
	case <-time.After(60 * time.Second):
		return fmt.Errorf("%s waits for the other scope", it.Key)
	}
}

func (m *many) Keep(it item) (json.RawMessage, []string, error) {
	return json.RawMessage(`{"kept":true}`), nil, nil
}

func TestScopesAreWrittenSideBySide(t *testing.T) {
	w := newWorld("x", "y")
	w.desired[at("x", "a")], w.desired[at("y", "a")] = cellOf("v1"), cellOf("v1")
	p := w.plan(t)
	j := drivertest.NewJournal(w.inv, p)
	m := &many{model: w.model, seen: map[plan.Scope]bool{}, both: make(chan struct{})}
	if err := setplan.Apply(t.Context(), w.input(), p, m, j); err != nil {
		t.Fatal(err)
	}
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied || string(r.LastApplied) != `{"kept":true}` {
			t.Errorf("%+v", r)
		}
	}
}
