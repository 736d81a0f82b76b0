package plan

import (
	"encoding/json"
	"time"
)

// Mode limits what a plan may hold.
type Mode string

// The modes: everything; creates and updates but no deletes; the removal of
// all that the target owns.
const (
	Apply   Mode = "apply"
	AddOnly Mode = "addOnly"
	Destroy Mode = "destroy"
)

// Plan is the set of changes that brings an environment to the desired
// state. It is data: another process may apply it later.
type Plan struct {
	Target  string `json:"target"`
	Driver  string `json:"driver"`
	Version string `json:"version"` // of the driver
	Digest  string `json:"digest"`  // of the inputs
	Mode    Mode   `json:"mode"`
	// Scopes has one entry for every scope the target touches, also for those
	// that could not be read.
	Scopes   []ScopePlan       `json:"scopes"`
	Changes  []Change          `json:"changes"`
	Warnings []Diagnostic      `json:"warnings,omitempty"`
	Outputs  map[string]Output `json:"outputs,omitempty"`
	// NextDue is when time alone changes the desired state; zero is never.
	NextDue time.Time `json:"nextDue,omitzero"`
	// Artefact is the driver's own, opaque, possibly secret plan (a Tofu plan
	// file). It is encrypted at rest and left out of the hash.
	Artefact []byte `json:"artefact,omitempty"`
}

// ScopePlan is what was seen of one scope.
type ScopePlan struct {
	Scope Scope `json:"scope,omitempty"`
	// Realm is what the driver found the scope to be (server and zone, cluster
	// UID, state lineage). Claims are taken in it, so that two names for one
	// server collide, and an environment that was repointed is noticed.
	Realm string `json:"realm"`
	// Unknown is why the scope could not be read. Nothing in it is planned,
	// pruned or counted.
	Unknown string `json:"unknown,omitempty"`
	// Empty tells that nothing at all was found where the target owns objects.
	// Then nothing may be deleted, and creates and forgets wait for a second
	// read that confirms it.
	Empty bool `json:"empty,omitempty"`
	// Base has, for each address that a change touches, a hash of what was
	// observed ("" for absent). Apply refuses the scope with ErrStale when the
	// environment no longer matches.
	Base map[Address]string `json:"base,omitempty"`
	// Owned counts what the target owned before the change, by impact class.
	Owned     map[string]int `json:"owned,omitempty"`
	Unchanged int            `json:"unchanged"`
	// Unmanaged counts objects in the scope that belong to somebody else.
	Unmanaged int `json:"unmanaged"`
}

// Output is a typed value that a target gives to others.
type Output struct {
	Value     json.RawMessage `json:"value,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
	// Unknown marks a value known only after apply.
	Unknown bool `json:"unknown,omitempty"`
}

// Summary counts the changes of a plan by action.
type Summary map[Action]int

// Summary counts the plan's changes by action.
func (p *Plan) Summary() Summary {
	s := Summary{}
	for i := range p.Changes {
		s[p.Changes[i].Action]++
	}
	return s
}

// Empty tells that applying the plan would do nothing, not even adopt.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Writes tells whether applying the plan would change the environment.
func (p *Plan) Writes() bool {
	for i := range p.Changes {
		if p.Changes[i].Action.Writes() {
			return true
		}
	}
	return false
}

// Impact adds up the impacts of all changes by class.
func (p *Plan) Impact() map[string]Impact {
	sum := map[string]Impact{}
	for i := range p.Changes {
		for _, im := range p.Changes[i].Impact {
			sum[im.Class] = sum[im.Class].Add(im)
		}
	}
	for class, im := range sum {
		im.Class = class
		sum[class] = im
	}
	return sum
}

// Owned adds up what the target owned before the plan, by class.
func (p *Plan) Owned() map[string]int {
	sum := map[string]int{}
	for i := range p.Scopes {
		for class, n := range p.Scopes[i].Owned {
			sum[class] += n
		}
	}
	return sum
}

// UnknownScopes lists the scopes that could not be read.
func (p *Plan) UnknownScopes() []ScopePlan {
	var out []ScopePlan
	for _, s := range p.Scopes {
		if s.Unknown != "" {
			out = append(out, s)
		}
	}
	return out
}
