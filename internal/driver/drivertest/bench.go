package drivertest

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// bench is one test's world, with the inventory of the one target in it.
type bench struct {
	*testing.T
	h         Harness
	world     World
	inventory driver.Inventory
	canaries  []string
	seen      safeBuffer // everything that was logged, planned or said in an error
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func newBench(t *testing.T, h Harness) *bench {
	t.Helper()
	return &bench{T: t, h: h, world: h.New(t), inventory: driver.Inventory{}, canaries: h.Canaries}
}

// input fills in a desired state.
func (b *bench) input(want Objects) driver.Input {
	b.Helper()
	return b.complete(b.h.Input(b, want))
}

func (b *bench) complete(in driver.Input) driver.Input {
	in.Target, in.Inventory, in.Mode = "drivertest", maps.Clone(b.inventory), plan.Apply
	in.Now = time.Now()
	in.Log = slog.New(slog.NewTextHandler(&b.seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return in
}

func (b *bench) open(purpose driver.Purpose) driver.Session {
	b.Helper()
	s, err := b.tryOpen(purpose)
	if err != nil {
		b.Fatalf("open to %s: %v", purpose, err)
	}
	return s
}

func (b *bench) tryOpen(purpose driver.Purpose) (driver.Session, error) {
	env := b.world.Environment()
	if env.Log == nil {
		env.Log = slog.New(slog.NewTextHandler(&b.seen, nil))
	}
	s, err := b.h.Driver.Open(b.Context(), env, purpose)
	b.heard(err)
	if err == nil {
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Errorf("close: %v", err)
			}
		})
	}
	return s, err
}

// plan plans in a session of its own, opened to read.
func (b *bench) plan(in driver.Input) *plan.Plan {
	b.Helper()
	p, err := b.tryPlan(in)
	if err != nil {
		b.Fatalf("plan: %v", err)
	}
	return p
}

func (b *bench) tryPlan(in driver.Input) (*plan.Plan, error) {
	b.Helper()
	s, err := b.tryOpen(driver.Read)
	if err != nil {
		return nil, err
	}
	p, err := s.Plan(b.Context(), in)
	b.heard(err)
	if p != nil {
		b.look(p)
	}
	return p, err
}

// look keeps the plan as the engine would store it, masked.
func (b *bench) look(p *plan.Plan) {
	b.Helper()
	c := b.copyOf(p)
	if err := c.Mask(nil); err != nil {
		b.Fatalf("the plan can't be masked: %v", err)
	}
	if _, err := c.Hash(); err != nil {
		b.Fatalf("the plan can't be hashed: %v", err)
	}
	_ = json.NewEncoder(&b.seen).Encode(c)
}

func (b *bench) copyOf(p *plan.Plan) *plan.Plan {
	b.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		b.Fatalf("the plan does not become JSON: %v", err)
	}
	var c plan.Plan
	if err := json.Unmarshal(raw, &c); err != nil {
		b.Fatalf("the plan does not come back from JSON: %v", err)
	}
	return &c
}

// apply applies in a session of its own and keeps the inventory.
func (b *bench) apply(in driver.Input, p *plan.Plan, j *Journal) error {
	b.Helper()
	s := b.open(driver.Write)
	err := s.Apply(b.Context(), in, p, j)
	b.heard(err)
	b.keep(j)
	return err
}

func (b *bench) keep(j *Journal) {
	b.inventory = j.Inventory()
	_ = json.NewEncoder(&b.seen).Encode(j.Results())
	_ = json.NewEncoder(&b.seen).Encode(owned(b.inventory))
	_, _ = b.seen.Write([]byte(j.Log()))
}

func owned(inv driver.Inventory) []driver.Owned {
	out := make([]driver.Owned, 0, len(inv))
	for _, o := range inv {
		out = append(out, o)
	}
	return out
}

// sync plans and applies, and expects everything to be applied.
func (b *bench) sync(want Objects) *plan.Plan {
	b.Helper()
	in := b.input(want)
	p := b.plan(in)
	b.mustApply(in, p)
	return p
}

func (b *bench) mustApply(in driver.Input, p *plan.Plan) {
	b.Helper()
	j := NewJournal(b.inventory, p)
	if err := b.apply(in, p, j); err != nil {
		b.Fatalf("apply: %v", err)
	}
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied {
			b.Fatalf("%s: %s is %s: %s", r.Key, r.Action, r.Outcome, r.Error)
		}
	}
	if got := len(j.Results()); got != len(p.Changes) {
		b.Fatalf("%d results for %d changes", got, len(p.Changes))
	}
}

// settled expects a plan without any change.
func (b *bench) settled(want Objects) {
	b.Helper()
	if p := b.plan(b.input(want)); !p.Empty() {
		b.Fatalf("the plan after apply is not empty:\n%s", show(p))
	}
}

// is expects the world to hold exactly these objects.
func (b *bench) is(want Objects) {
	b.Helper()
	if got := b.world.List(b); !maps.Equal(got, want) {
		b.Fatalf("the environment holds %v, it should hold %v", got, want)
	}
}

func (b *bench) heard(err error) {
	if err != nil {
		_, _ = b.seen.Write([]byte(err.Error() + "\n"))
	}
}

// noCanaries expects no secret in anything that was planned, said or logged.
func (b *bench) noCanaries() {
	b.Helper()
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	for _, c := range b.canaries {
		if c != "" && strings.Contains(b.seen.b.String(), c) {
			b.Errorf("a secret shows up in a plan, an error, a result or the log")
		}
	}
}

// find gives the change of a name, or nil.
func (b *bench) find(p *plan.Plan, name string) *plan.Change {
	key := b.h.Key(name)
	for i := range p.Changes {
		if p.Changes[i].Key == key {
			return &p.Changes[i]
		}
	}
	return nil
}

// expect wants the change of a name to have an action.
func (b *bench) expect(p *plan.Plan, name string, a plan.Action) *plan.Change {
	b.Helper()
	c := b.find(p, name)
	if c == nil || c.Action != a {
		b.Fatalf("%s should be planned to %s:\n%s", name, a, show(p))
	}
	return c
}

func (b *bench) owns(name string) bool {
	_, ok := b.inventory[b.h.Key(name)]
	return ok
}

func show(p *plan.Plan) string {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
