package engine

import (
	"testing"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// TestWhatFailedIsNotKeptUp: an agent on its own keeps up what is good on its
// host, and nothing that failed there, is to be undone, or was left half way.
func TestWhatFailedIsNotKeptUp(t *testing.T) {
	pin := store.Desired{Source: "pin", Commit: "good"}
	for name, c := range map[string]struct {
		state store.ScopeState
		want  store.Desired
		keeps bool
	}{
		"in sync":                  {store.ScopeState{Phase: store.ScopeSynced, Commit: "c1"}, store.Desired{Commit: "c1"}, true},
		"a newer one is to come":   {store.ScopeState{Phase: store.ScopeBehind, Commit: "c1"}, store.Desired{Commit: "c2"}, true},
		"rolled back":              {store.ScopeState{Phase: store.ScopeRolledBack, Commit: "good", Bad: "k"}, store.Desired{Commit: "c2"}, true},
		"not reached lately":       {store.ScopeState{Phase: store.ScopeUnreachable, Commit: "c1"}, store.Desired{Commit: "c1"}, true},
		"back at what is pinned":   {store.ScopeState{Phase: store.ScopeSynced, Commit: "good"}, pin, true},
		"pinned to an earlier one": {store.ScopeState{Phase: store.ScopeSynced, Commit: "bad"}, pin, false},
		"to be undone":             {store.ScopeState{Phase: store.ScopeFailed, Commit: "c1", RollBack: true}, store.Desired{Commit: "c2"}, false},
		"to be undone, unreached":  {store.ScopeState{Phase: store.ScopeUnreachable, Commit: "c1", RollBack: true}, store.Desired{Commit: "c2"}, false},
		"failed":                   {store.ScopeState{Phase: store.ScopeFailed, Commit: "c1"}, store.Desired{Commit: "c2"}, false},
		"under way":                {store.ScopeState{Phase: store.ScopeRolling, Commit: "c1"}, store.Desired{Commit: "c2"}, false},
	} {
		c.state.Scope = "web1"
		if why := notThere([]store.ScopeState{{Scope: "other"}, c.state}, plan.Scope("web1"), c.want); (why == "") != c.keeps {
			t.Errorf("%s: %q", name, why)
		}
	}
	if notThere([]store.ScopeState{{Scope: "other"}}, "web1", pin) == "" {
		t.Error("a host that is no longer the target's keeps it up")
	}
}
