// Package storetest is the suite that every store passes. The same cases run
// on SQLite and on PostgreSQL.
package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
)

// Clock is a clock that stands still until it is moved.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock starts at a fixed time.
func NewClock() *Clock {
	return &Clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// Now gives the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Move moves it.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Backend makes stores to test.
type Backend struct {
	// Open gives a new, empty store on the clock; nil is the database's own.
	// The test's end closes it.
	Open func(t *testing.T, clock func() time.Time) store.Store
	// Second opens a replica beside the store that Open gave last; nil where
	// one process has the store alone.
	Second func(t *testing.T, clock func() time.Time) store.Store
	// Restore reads a backup into a new, empty store.
	Restore func(t *testing.T, backup []byte, clock func() time.Time) (store.Store, error)
}

type env struct {
	store.Store
	t       *testing.T
	ctx     context.Context
	clock   *Clock
	backend Backend
}

var cases = map[string]func(e *env){}

func register(name string, fn func(e *env)) { cases[name] = fn }

// Run runs the whole suite.
func Run(t *testing.T, b Backend) {
	for name, fn := range cases {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			fn(&env{Store: b.Open(t, clock.Now), t: t, ctx: t.Context(), clock: clock, backend: b})
		})
	}
}

func (e *env) ok(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) equal(what string, got, want any) {
	e.t.Helper()
	if got != want {
		e.t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// target is a trigger for a target's reconciliation; slot is the key's part
// before the slash.
func trigger(key string, class store.Class) store.Trigger {
	slot, _, _ := strings.Cut(key, "/")
	return store.Trigger{Kind: store.Reconcile, Key: key, Slot: slot, Class: class, Cause: "push", Actor: "user:alice", Commit: "c1"}
}

func (e *env) trigger(class store.Class, keys ...string) {
	e.t.Helper()
	list := make([]store.Trigger, len(keys))
	for i, k := range keys {
		list[i] = trigger(k, class)
	}
	e.ok(e.Trigger(e.ctx, list...))
}

func options(owner string, most int) store.ClaimOptions {
	return store.ClaimOptions{Owner: owner, Kinds: []store.WorkKind{store.Reconcile}, Max: most, Lease: time.Minute, DefaultSlot: 100}
}

func (e *env) claim(o store.ClaimOptions) []store.Lease {
	e.t.Helper()
	leases, err := e.Claim(e.ctx, o)
	e.ok(err)
	return leases
}

// hold triggers and leases one target.
func (e *env) hold(key string) store.Lease {
	e.t.Helper()
	e.trigger(store.ByPush, key)
	leases := e.claim(options("holder", 100))
	for _, l := range leases {
		if l.Key == key {
			return l
		}
	}
	e.t.Fatalf("%s was not leased", key)
	return store.Lease{}
}

func keysOf(leases []store.Lease) string {
	keys := make([]string, len(leases))
	for i := range leases {
		keys[i] = leases[i].Key
	}
	return strings.Join(keys, " ")
}

// line joins values with spaces.
func line(v ...any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
