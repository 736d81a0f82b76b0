package setplan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

// draw makes any state that the world, Git and a history of cut-off runs may
// have led to.
func draw(t *rapid.T) *world {
	w := newWorld("x", "y", "z")
	value := rapid.SampledFrom([]string{"v1", "v2", "v3"})
	kind := rapid.SampledFrom([]string{"a", "a", "a", "b"})
	yes := rapid.Bool()
	rare := rapid.SampledFrom([]bool{false, false, false, true})
	for _, s := range w.scopes {
		w.exclusive[s] = rare.Draw(t, "exclusive")
		w.broken[s] = rare.Draw(t, "broken")
		for _, a := range []plan.Address{"a", "b", "c", "d", "e"} {
			k := at(s, a)
			there := yes.Draw(t, "there")
			if there {
				w.env[k] = cell{kind.Draw(t, "kind"), value.Draw(t, "value")}
			}
			if yes.Draw(t, "wanted") {
				w.desired[k] = cell{kind.Draw(t, "kind"), value.Draw(t, "value")}
			}
			switch rapid.IntRange(0, 4).Draw(t, "owned") {
			case 0:
				w.own(k, "h:a/"+value.Draw(t, "hash"), false)
			case 1:
				w.own(k, w.env[k].hash(), false)
			case 2:
				w.own(k, "", true)
			}
		}
	}
	if yes.Draw(t, "renames") {
		w.previously = map[plan.Address]plan.Address{"a": "b", "c": "b", "d": "e"}
	}
	w.mode = rapid.SampledFrom([]plan.Mode{plan.Apply, plan.Apply, plan.Apply, plan.AddOnly, plan.Destroy}).Draw(t, "mode")
	return w
}

// held gives the changes that may stay planned after an apply.
func held(p *plan.Plan) bool {
	for _, c := range p.Changes {
		if c.Conflict == "" {
			return false
		}
	}
	return true
}

func TestPlanAfterApplyIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		p := w.plan(t)
		results, err := w.apply(t, p, nil)
		if err != nil {
			t.Fatalf("apply: %v\n%s", err, dump(p))
		}
		if len(results) != len(p.Changes) {
			t.Fatalf("%d results for %d changes", len(results), len(p.Changes))
		}
		if again := w.plan(t); !held(again) {
			t.Fatalf("first:\n%s\nsecond:\n%s", dump(p), dump(again))
		}
		if w.mode != plan.Destroy {
			return
		}
		for k := range w.inv {
			if !w.broken[k.Scope] {
				t.Fatalf("%s is still owned after destroy", k)
			}
		}
	})
}

func TestOnlyWhatThePlanMayTouchIsTouched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		env, inv := maps.Clone(w.env), maps.Clone(w.inv)
		p := w.plan(t)
		if !maps.Equal(env, w.env) || len(w.writes) != 0 {
			t.Fatalf("planning wrote")
		}
		if _, err := w.apply(t, p, nil); err != nil {
			t.Fatalf("apply: %v", err)
		}
		for k, c := range env {
			now, there := w.env[k]
			_, ours := inv[k]
			switch {
			case there && now == c:
			case w.broken[k.Scope]:
				t.Fatalf("%s was touched in an unknown scope", k)
			case !ours && !w.exclusive[k.Scope]:
				t.Fatalf("%s is not ours and was touched", k)
			case !there && w.mode == plan.AddOnly:
				t.Fatalf("%s was removed by a run that only adds", k)
			}
		}
		for _, s := range p.UnknownScopes() {
			for _, c := range p.Changes {
				if c.Scope == s.Scope {
					t.Fatalf("%s is planned in an unknown scope", c.Key)
				}
			}
		}
	})
}

func TestEveryChangeHasABaseAndAddOnlyNeverDeletes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		p := w.plan(t)
		bases := map[plan.Scope]map[plan.Address]string{}
		for _, s := range p.Scopes {
			bases[s.Scope] = s.Base
		}
		for _, c := range p.Changes {
			base, ok := bases[c.Scope][c.Address]
			if !ok {
				t.Fatalf("%s has no base", c.Key)
			}
			have, there := w.env[c.Key]
			if there && base != have.hash() || !there && base != "" {
				t.Fatalf("%s has base %q, the environment has %v", c.Key, base, have)
			}
			if c.From != "" && bases[c.Scope][c.From] != w.env[at(c.Scope, c.From)].hash() {
				t.Fatalf("the old name of %s has no base", c.Key)
			}
			if w.mode == plan.AddOnly && c.Conflict == "" && (c.Action == plan.Delete || c.Action == plan.Replace || c.Action == plan.Rename) {
				t.Fatalf("%s %s in a run that only adds", c.Action, c.Key)
			}
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		one, err := json.Marshal(w.plan(t))
		if err != nil {
			t.Fatal(err)
		}
		w.reverse = true
		for range 4 {
			two, err := json.Marshal(w.plan(t))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(one, two) {
				t.Fatalf("plans differ:\n%s\n%s", one, two)
			}
		}
	})
}

func TestStaleBaseIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		p := w.plan(t)
		if len(p.Changes) == 0 {
			return
		}
		c := p.Changes[rapid.IntRange(0, len(p.Changes)-1).Draw(t, "which")]
		if _, there := w.env[c.Key]; there && rapid.Bool().Draw(t, "remove") {
			delete(w.env, c.Key)
		} else {
			w.env[c.Key] = cell{"a", "somebody else's"}
		}
		env := maps.Clone(w.env)
		_, err := w.apply(t, p, nil)
		if !errors.Is(err, driver.ErrStale) {
			t.Fatalf("apply gives %v", err)
		}
		for k := range env {
			if k.Scope == c.Scope && w.env[k] != env[k] {
				t.Fatalf("%s was written in a stale scope", k)
			}
		}
		for _, k := range w.writes {
			if k.Scope == c.Scope {
				t.Fatalf("%s was written in a stale scope", k)
			}
		}
	})
}

var errKill = errors.New("killed")

// TestKilledAnywhere kills an apply at any entry of the journal, and then
// continues in a new process: the environment converges and nothing that was
// written loses its owner.
func TestKilledAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		before := maps.Clone(w.env)
		p := w.plan(t)
		left := rapid.IntRange(0, 2*len(p.Changes)).Draw(t, "kill after")
		step := func() error {
			if left--; left < 0 {
				return errKill
			}
			return nil
		}
		_, err := w.apply(t, p, func(j *drivertest.Journal) {
			j.OnPending = func([]plan.Key) error { return step() }
			j.OnDone = func([]plan.Result) error { return step() }
		})
		if err != nil && !errors.Is(err, errKill) {
			t.Fatalf("apply: %v", err)
		}
		for k, c := range w.env {
			if _, owned := w.inv[k]; !owned && before[k] != c {
				t.Fatalf("%s was written and has no owner", k)
			}
		}
		second := w.plan(t)
		if _, err := w.apply(t, second, nil); err != nil {
			t.Fatalf("apply after the kill: %v\n%s", err, dump(second))
		}
		if again := w.plan(t); !held(again) {
			t.Fatalf("it does not converge:\n%s", dump(again))
		}
		w.converged(t)
	})
}

// converged expects every desired object that nothing holds to be there and
// owned, and nothing else to be owned.
func (w *world) converged(t *rapid.T) {
	if w.mode == plan.Destroy {
		return
	}
	conflict := map[plan.Key]bool{}
	for _, c := range w.plan(t).Changes {
		conflict[c.Key] = true
	}
	for k, c := range w.desired {
		if w.broken[k.Scope] || conflict[k] {
			continue
		}
		if w.env[k] != c {
			t.Fatalf("%s should be %v, it is %v", k, c, w.env[k])
		}
		if o := w.inv[k]; o.Hash != c.hash() || o.Pending {
			t.Fatalf("%s is owned as %+v", k, o)
		}
	}
	for k := range w.inv {
		if _, wanted := w.desired[k]; !wanted && !w.broken[k.Scope] && w.mode == plan.Apply {
			t.Fatalf("%s is still owned", k)
		}
	}
}

// TestFailuresKeepOwnership lets single writes fail, clearly or with an
// unknown outcome.
func TestFailuresKeepOwnership(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		before := maps.Clone(w.env)
		for _, s := range w.scopes {
			k := at(s, rapid.SampledFrom([]plan.Address{"a", "b", "c", "d", "e"}).Draw(t, "fails"))
			w.fail[k] = rapid.SampledFrom([]error{errors.New("refused"), errLost}).Draw(t, "how")
		}
		p := w.plan(t)
		results, err := w.apply(t, p, nil)
		if err != nil {
			t.Fatalf("one failed write ended the apply: %v", err)
		}
		if len(results) != len(p.Changes) {
			t.Fatalf("%d results for %d changes", len(results), len(p.Changes))
		}
		for k, c := range w.env {
			if _, owned := w.inv[k]; !owned && before[k] != c {
				t.Fatalf("%s was written and has no owner", k)
			}
		}
		w.fail = map[plan.Key]error{}
		if _, err := w.apply(t, w.plan(t), nil); err != nil {
			t.Fatalf("second apply: %v", err)
		}
		if again := w.plan(t); !held(again) {
			t.Fatalf("it does not converge:\n%s", dump(again))
		}
		w.converged(t)
	})
}
