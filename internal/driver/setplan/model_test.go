package setplan_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// cell is one object of the model.
type cell struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

func (c cell) hash() string { return "h:" + c.Kind + "/" + c.Value }

type (
	item  = setplan.Item[cell]
	scope = setplan.Scope[cell]
	step  = setplan.Step[cell]
)

// model is an environment in memory.
type model struct {
	env       map[plan.Key]cell
	scopes    []plan.Scope
	desired   map[plan.Key]cell
	broken    map[plan.Scope]bool
	exclusive map[plan.Scope]bool
	fail      map[plan.Key]error // for writes
	reverse   bool               // list everything the other way round
	writes    []plan.Key
	reads     int
}

func at(s plan.Scope, a plan.Address) plan.Key { return plan.Key{Scope: s, Address: a} }

func toItem(k plan.Key, c cell) item {
	return item{Key: k, Kind: c.Kind, Hash: c.hash(), Class: "cell", Value: c, Source: plan.Source{File: "cells.yaml"}}
}

func (m *model) items(of map[plan.Key]cell, only func(plan.Key) bool) []item {
	keys := slices.SortedFunc(maps.Keys(of), plan.Key.Compare)
	if m.reverse {
		slices.Reverse(keys)
	}
	var out []item
	for _, k := range keys {
		if only(k) {
			out = append(out, toItem(k, of[k]))
		}
	}
	return out
}

func (m *model) Desired(context.Context, driver.Input) ([]item, error) {
	return m.items(m.desired, func(plan.Key) bool { return true }), nil
}

func (m *model) Observed(_ context.Context, _ driver.Input, keys []plan.Key) ([]scope, error) {
	m.reads++
	var out []scope
	for _, name := range m.scopes {
		s := scope{Name: name, Realm: "realm-" + string(name), Exclusive: m.exclusive[name]}
		if m.broken[name] {
			s.Err = errors.New("connection refused")
		} else {
			s.Items = m.items(m.env, func(k plan.Key) bool {
				return k.Scope == name && (keys == nil || slices.Contains(keys, k))
			})
		}
		out = append(out, s)
	}
	if m.reverse {
		slices.Reverse(out)
	}
	return out, nil
}

func (m *model) Put(_ context.Context, it, _ item) error {
	if err := m.fail[it.Key]; err != nil {
		return err
	}
	m.writes = append(m.writes, it.Key)
	m.env[it.Key] = it.Value
	return nil
}

func (m *model) Remove(_ context.Context, old item) error {
	if err := m.fail[old.Key]; err != nil {
		return err
	}
	m.writes = append(m.writes, old.Key)
	delete(m.env, old.Key)
	return nil
}

func newModel(scopes ...plan.Scope) *model {
	return &model{env: map[plan.Key]cell{}, desired: map[plan.Key]cell{}, scopes: scopes,
		broken: map[plan.Scope]bool{}, exclusive: map[plan.Scope]bool{}, fail: map[plan.Key]error{}}
}

// world is a model with the inventory of a target.
type world struct {
	*model
	inv        driver.Inventory
	previously map[plan.Address]plan.Address
	mode       plan.Mode
}

func (w *world) input() driver.Input {
	return driver.Input{Target: "t", Inventory: maps.Clone(w.inv), Previously: w.previously, Mode: w.mode, Now: time.Unix(0, 0)}
}

func (w *world) own(k plan.Key, hash string, pending bool) {
	w.inv[k] = driver.Owned{Key: k, Kind: "a", Class: "cell", Hash: hash, Pending: pending}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (w *world) plan(t fataler) *plan.Plan {
	t.Helper()
	p, err := setplan.Plan(context.Background(), w.input(), w.model)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return p
}

// apply applies a plan as it comes back from the store: through JSON, masked.
func (w *world) apply(t fataler, p *plan.Plan, hook func(*drivertest.Journal)) ([]plan.Result, error) {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	var stored plan.Plan
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	j := drivertest.NewJournal(w.inv, &stored)
	if hook != nil {
		hook(j)
	}
	err = setplan.Apply(context.Background(), w.input(), &stored, w.model, j)
	w.inv = j.Inventory()
	return j.Results(), err
}

func dump(p *plan.Plan) string {
	raw, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func newWorld(scopes ...plan.Scope) *world {
	return &world{model: newModel(scopes...), inv: driver.Inventory{}, mode: plan.Apply}
}

func only(t *testing.T, p *plan.Plan, k plan.Key, a plan.Action) plan.Change {
	t.Helper()
	if len(p.Changes) != 1 || p.Changes[0].Key != k || p.Changes[0].Action != a {
		t.Fatalf("expected only %s %s, got:\n%s", a, k, dump(p))
	}
	return p.Changes[0]
}

func cellOf(v string) cell { return cell{Kind: "a", Value: v} }
