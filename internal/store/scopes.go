package store

import (
	"context"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// ScopePhase is how one scope (host) of a target is.
type ScopePhase string

// The phases of a scope.
const (
	// ScopeSynced: it was verified equal to the commit it is at.
	ScopeSynced ScopePhase = "synced"
	// ScopeRolling: a change is on its way. After the end of the run, that the
	// run was cut off in the middle of it.
	ScopeRolling ScopePhase = "rolling"
	// ScopeFailed: a change was tried and failed, or it is not healthy.
	ScopeFailed ScopePhase = "failed"
	// ScopeRolledBack: a change failed, and what was there before is back.
	ScopeRolledBack ScopePhase = "rolledback"
	// ScopeUnreachable: it could not be read.
	ScopeUnreachable ScopePhase = "unreachable"
	// ScopeBehind: it differs from what is desired and has not been given it yet.
	ScopeBehind ScopePhase = "behind"
)

// ScopeState is what is known of one scope of a target.
type ScopeState struct {
	Scope plan.Scope `json:"scope"`
	Phase ScopePhase `json:"phase"`
	// Commit is what it was last verified at, in good health.
	Commit string `json:"commit,omitempty"`
	// Bad stands for the desired state that failed here: it is not tried again
	// until that changes or a person asks for it.
	Bad     string `json:"bad,omitempty"`
	Message string `json:"message,omitempty"`
	// Drained tells that it was taken out of service and is not back yet.
	Drained bool `json:"drained,omitempty"`
	// RollBack tells that a failed change is to be undone and is not yet.
	RollBack bool      `json:"rollBack,omitempty"`
	Since    time.Time `json:"since,omitzero"` // Phase last changed
	Attempts int       `json:"attempts,omitempty"`
	NextDue  time.Time `json:"nextDue,omitzero"` // of its own retry
	Run      string    `json:"run,omitempty"`    // that changed it last
}

// Scopes keeps the states of targets' scopes, for targets that have several.
type Scopes interface {
	// PutScopes writes states and drops those of scopes that are gone.
	PutScopes(ctx context.Context, f Fence, target string, put []ScopeState, drop []plan.Scope) error
	// Scopes gives a target's states by scope name.
	Scopes(ctx context.Context, target string) ([]ScopeState, error)
}
