// Package auth says who calls and what they may do. Every change that the
// command line or the API asks for passes Allow.
package auth

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"trueup.dev/trueup/internal/store"
)

// Role is what somebody may do; each role may do all that the one below it
// may.
type Role string

// The roles, from least to most.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Approver Role = "approver"
	Admin    Role = "admin"
)

var rank = map[Role]int{Viewer: 1, Operator: 2, Approver: 3, Admin: 4}

// Valid tells whether the role is known.
func (r Role) Valid() bool { return rank[r] > 0 }

// Identity is somebody who was recognised.
type Identity struct {
	Actor store.Actor `json:"actor"`
	Role  Role        `json:"role"`
	Teams []string    `json:"teams,omitempty"`
	// Environments are globs that narrow what is seen and changed; empty is
	// everything.
	Environments []string `json:"environments,omitempty"`
}

// Sees tells whether the identity may see things of an environment.
func (id Identity) Sees(environment string) bool {
	if len(id.Environments) == 0 {
		return true
	}
	for _, glob := range id.Environments {
		if ok, err := path.Match(glob, environment); err == nil && ok {
			return true
		}
	}
	return false
}

// Narrowed tells whether the identity is limited to some environments.
func (id Identity) Narrowed() bool { return len(id.Environments) > 0 }

// Verb is what somebody wants to do.
type Verb string

// The verbs.
const (
	Read           Verb = "read"
	Sync           Verb = "sync"
	Poll           Verb = "poll"
	Cancel         Verb = "cancel"
	Suspend        Verb = "suspend"
	Resume         Verb = "resume"
	Freeze         Verb = "freeze"
	Rollback       Verb = "rollback"
	Unpin          Verb = "unpin"
	Promote        Verb = "promote"
	Approve        Verb = "approve"
	Reject         Verb = "reject"
	Unfreeze       Verb = "unfreeze"
	Destroy        Verb = "destroy"
	ListState      Verb = "state-list"
	ChangeState    Verb = "state"
	ConfirmRestore Verb = "confirm-restore"
	Backup         Verb = "backup"
	BreakGlass     Verb = "break-glass"
	EnrolAgent     Verb = "enrol-agent"
	RevokeAgent    Verb = "revoke-agent"
)

// needs is the least role for each verb. Stopping things is easier than
// letting them go on: an operator may freeze, lifting takes an approver.
var needs = map[Verb]Role{
	Read: Viewer,
	Sync: Operator, Poll: Operator, Cancel: Operator, Suspend: Operator, Resume: Operator,
	Freeze: Operator, Rollback: Operator, Unpin: Operator, Promote: Operator, ListState: Operator,
	Approve: Approver, Reject: Approver, Unfreeze: Approver,
	Destroy: Admin, ChangeState: Admin, ConfirmRestore: Admin, Backup: Admin, BreakGlass: Admin, EnrolAgent: Admin, RevokeAgent: Admin,
}

// Object is what is acted upon. An action on the whole server has no
// Environment.
type Object struct {
	Environment string
	Target      string
	Repository  string
}

// String names the object for people.
func (o Object) String() string {
	switch {
	case o.Target != "":
		return "target " + o.Target
	case o.Environment != "":
		return "environment " + o.Environment
	case o.Repository != "":
		return "repository " + o.Repository
	}
	return "the server"
}

// ErrDenied says that the caller is known but may not do this.
var ErrDenied = errors.New("not allowed")

// ErrUnknown says that the caller could not be recognised.
var ErrUnknown = errors.New("not recognised")

// Allow is the one place that decides: nil when the identity may do verb to
// object, otherwise ErrDenied with the reason.
func Allow(id Identity, verb Verb, o Object) error {
	least, ok := needs[verb]
	if !ok {
		return fmt.Errorf("%w: unknown action %q", ErrDenied, verb)
	}
	if !id.Role.Valid() {
		return fmt.Errorf("%w: %s has no role", ErrDenied, id.Actor)
	}
	if rank[id.Role] < rank[least] {
		return fmt.Errorf("%w: %s is %s; %s needs the role %s", ErrDenied, id.Actor, id.Role, verb, least)
	}
	if !id.Narrowed() || verb == Read && o.Environment == "" {
		return nil
	}
	// A poll only fetches; whatever follows from it passes the gates.
	if verb == Poll && o.Repository != "" {
		return nil
	}
	if o.Environment == "" {
		return fmt.Errorf("%w: %s is limited to the environments %s and can't %s %s", ErrDenied, id.Actor,
			strings.Join(id.Environments, ", "), verb, o)
	}
	if !id.Sees(o.Environment) {
		return fmt.Errorf("%w: %s is limited to the environments %s", ErrDenied, id.Actor, strings.Join(id.Environments, ", "))
	}
	return nil
}
