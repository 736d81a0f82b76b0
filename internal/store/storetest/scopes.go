package storetest

import (
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("scopes/kept", scopesKept)
	register("scopes/their commits stay", scopesKeepStates)
}

func scopesKept(e *env) {
	l := e.hold("a/1")
	since := time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	put := func(ss ...store.ScopeState) { e.t.Helper(); e.ok(e.PutScopes(e.ctx, l.Fence, "a/1", ss, nil)) }
	put(store.ScopeState{Scope: "web2", Phase: store.ScopeSynced, Commit: "c1", Since: since},
		store.ScopeState{Scope: "web1", Phase: store.ScopeRolling, Commit: "c1", Bad: "x", Drained: true, RollBack: true, NextDue: since, Attempts: 3, Run: "r1", Message: "m"})
	put(store.ScopeState{Scope: "web2", Phase: store.ScopeUnreachable, Commit: "c2"})
	list, err := e.Scopes(e.ctx, "a/1")
	e.ok(err)
	e.equal("states", fmt.Sprintf("%+v", list), fmt.Sprintf("%+v", []store.ScopeState{
		{Scope: "web1", Phase: store.ScopeRolling, Commit: "c1", Bad: "x", Drained: true, RollBack: true, NextDue: since, Attempts: 3, Run: "r1", Message: "m"},
		{Scope: "web2", Phase: store.ScopeUnreachable, Commit: "c2"}}))
	e.ok(e.PutScopes(e.ctx, l.Fence, "a/1", nil, []plan.Scope{"web2"}))
	list, err = e.Scopes(e.ctx, "a/1")
	e.ok(err)
	e.equal("after one is gone", len(list), 1)
	list, err = e.Scopes(e.ctx, "a/2")
	e.ok(err)
	e.equal("of another target", len(list), 0)
	stale := l.Fence
	stale.Token--
	if err := e.PutScopes(e.ctx, stale, "a/1", []store.ScopeState{{Scope: "web3"}}, nil); !errors.Is(err, store.ErrFenced) {
		e.t.Errorf("a stale fence gives %v", err)
	}
}

// scopesKeepStates: a host that was down for many commits can still be rolled
// back to what it has.
func scopesKeepStates(e *env) {
	l := e.hold("a/1")
	e.keep(l, "c1", "applied", 2, blobID(1))
	e.ok(e.PutScopes(e.ctx, l.Fence, "a/1", []store.ScopeState{{Scope: "web1", Commit: "c1"}}, nil))
	for i := 2; i <= 6; i++ {
		e.clock.Move(2 * time.Hour)
		e.keep(l, fmt.Sprint("c", i), "applied", 2, blobID(i))
	}
	_, err := e.State(e.ctx, "a/1", "c1")
	e.ok(err)
	if _, err := e.State(e.ctx, "a/1", "c2"); !errors.Is(err, store.ErrNotFound) {
		e.t.Errorf("a state that nobody is at is kept: %v", err)
	}
}
