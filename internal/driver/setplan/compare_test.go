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

// comparing is a model whose environment hashes objects in its own way, so
// that only the model itself can compare them.
type comparing struct {
	*model
	adopted []plan.Key
	refuse  error
}

func (m *comparing) Equal(want, have item) bool { return want.Value == have.Value }

func (m *comparing) Observed(ctx context.Context, in driver.Input, keys []plan.Key) ([]scope, error) {
	scopes, err := m.model.Observed(ctx, in, keys)
	for i := range scopes {
		for j := range scopes[i].Items {
			scopes[i].Items[j].Hash = "there:" + scopes[i].Items[j].Hash
		}
	}
	return scopes, err
}

func (m *comparing) Adopt(_ context.Context, it, old item) error {
	if it.Value != old.Value {
		return fmt.Errorf("%s is adopted and differs", it.Key)
	}
	m.adopted = append(m.adopted, it.Key)
	return m.fail[it.Key]
}

func (m *comparing) Confirm(c plan.Change, it item) error { return m.refuse }

func (m *comparing) plan(t *testing.T, w *world) *plan.Plan {
	t.Helper()
	p, err := setplan.Plan(t.Context(), w.input(), m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (m *comparing) apply(t *testing.T, w *world, p *plan.Plan) ([]plan.Result, error) {
	t.Helper()
	j := drivertest.NewJournal(w.inv, p)
	err := setplan.Apply(t.Context(), w.input(), p, m, j)
	w.inv = j.Inventory()
	return j.Results(), err
}

func TestComparerDecides(t *testing.T) {
	w := newWorld("x")
	m := &comparing{model: w.model}
	w.desired[at("x", "a")], w.env[at("x", "a")] = cellOf("v1"), cellOf("v1")
	p := m.plan(t, w)
	only(t, p, at("x", "a"), plan.Adopt)
	if _, err := m.apply(t, w, p); err != nil {
		t.Fatal(err)
	}
	if len(m.adopted) != 1 || len(w.writes) != 0 {
		t.Errorf("adopted %v, written %v", m.adopted, w.writes)
	}
	if p := m.plan(t, w); !p.Empty() {
		t.Errorf("equal and owned, and yet:\n%s", dump(p))
	}
	w.env[at("x", "a")] = cellOf("v2")
	if c := only(t, m.plan(t, w), at("x", "a"), plan.Update); c.Reason != plan.ByDrift {
		t.Errorf("the reason is %s", c.Reason)
	}
	// The hash of what is there is not that of what was applied: no sign that
	// somebody else changed it.
	delete(w.desired, at("x", "a"))
	if c := only(t, m.plan(t, w), at("x", "a"), plan.Delete); c.Note != "" {
		t.Errorf("the note of a prune is %q", c.Note)
	}
}

func TestConfirmerRefuses(t *testing.T) {
	w := newWorld("x")
	m := &comparing{model: w.model}
	w.desired[at("x", "a")] = cellOf("v1")
	p := m.plan(t, w)
	m.refuse = fmt.Errorf("not what was planned: %w", driver.ErrStale)
	if _, err := m.apply(t, w, p); !errors.Is(err, driver.ErrStale) || len(w.writes) != 0 {
		t.Errorf("%v, written %v", err, w.writes)
	}
	m.refuse = nil
	w.desired[at("x", "a")] = cellOf("v2") // the documents differ, and nobody compares them
	if _, err := m.apply(t, w, p); err != nil || len(w.writes) != 1 {
		t.Errorf("%v, written %v", err, w.writes)
	}
}

// TestAdoptIsJournalled: an adoption that writes is marked before, and one that
// fails owns nothing.
func TestAdoptIsJournalled(t *testing.T) {
	w := newWorld("x")
	m := &comparing{model: w.model}
	w.desired[at("x", "a")], w.env[at("x", "a")] = cellOf("v1"), cellOf("v1")
	p := m.plan(t, w)
	j := drivertest.NewJournal(w.inv, p)
	j.OnPending = func(keys []plan.Key) error { return errors.New("killed") }
	if err := setplan.Apply(t.Context(), w.input(), p, m, j); err == nil || len(m.adopted) != 0 {
		t.Fatalf("%v, adopted %v", err, m.adopted)
	}
	w.fail[at("x", "a")] = fmt.Errorf("half: %w", setplan.ErrUnknown)
	res, err := m.apply(t, w, p)
	if err != nil || len(res) != 1 || res[0].Outcome != plan.Unknown || !w.inv[at("x", "a")].Pending {
		t.Fatalf("%v, %+v, %+v", err, res, w.inv)
	}
	w.fail[at("x", "a")] = errors.New("no")
	w.inv = driver.Inventory{}
	res, err = m.apply(t, w, p)
	if err != nil || len(res) != 1 || res[0].Outcome != plan.Failed || !strings.Contains(res[0].Error, "no") || len(w.inv) != 0 {
		t.Errorf("%v, %+v, %+v", err, res, w.inv)
	}
}
