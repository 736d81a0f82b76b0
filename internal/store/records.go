// Package store keeps what trueup remembers: targets, work, runs, plans,
// inventories, claims, approvals, outputs, events and blobs. The interfaces
// here are what the engine uses; there is one SQL implementation for SQLite
// and PostgreSQL, in store/sql. All times are UTC and come from the database's
// clock or the injected one, never from the caller's.
package store

import (
	"encoding/json"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// Actor is who caused something: "user:alice", "system:poll",
// "webhook:infra", "cli:root@host".
type Actor string

// Target is a target as the store knows it. Config is the resolved
// configuration (config.Resolved as JSON); the engine decodes it when it
// runs the target, not before.
type Target struct {
	ID          string
	Repository  string
	Manifest    string
	Name        string
	Environment string
	Config      json.RawMessage
	// State is active, orphaned or retired.
	State TargetState
	// Desired is the one commit that is in force for this target and where it
	// comes from.
	Desired Desired
	// Status is what the last finished run left behind.
	Status Status
}

// TargetState says whether a target is reconciled.
type TargetState string

// The states: in trueup.yaml; no longer in trueup.yaml, its inventory kept and
// nothing written; given up or destroyed.
const (
	Active   TargetState = "active"
	Orphaned TargetState = "orphaned"
	Retired  TargetState = "retired"
)

// Desired is the desired record of a target.
type Desired struct {
	Commit string `json:"commit"`
	Ref    string `json:"ref,omitempty"` // branch or tag
	// Source is branch, tag, commit, pin (a rollback), lock (a pull request)
	// or local.
	Source string `json:"source"`
	// Bad is, with a pin, the view id (source.View.ID) that was rolled back
	// from: the pin clears when the target's own inputs differ from it.
	Bad string `json:"bad,omitempty"`
	// Lock names, with a lock, the pull request that holds it: infra#12.
	Lock  string    `json:"lock,omitempty"`
	Actor Actor     `json:"actor,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// Phase is a target's state in one word, for lists.
type Phase string

// The phases.
const (
	Pending   Phase = "pending"   // never ran
	Synced    Phase = "synced"    // verified equal
	OutOfSync Phase = "outofsync" // differs, and is not being corrected
	Held      Phase = "held"      // a gate holds it
	Failing   Phase = "failed"    // the last run failed
	Partial   Phase = "partial"   // some scopes or changes failed
	Running   Phase = "running"
)

// Status is what the last run left behind.
//
//house:exception one record that is stored and shown as it is
type Status struct {
	Phase   Phase  `json:"phase"`
	Message string `json:"message,omitempty"`
	// Gate names the gate that holds it, with Phase held.
	Gate       string `json:"gate,omitempty"`
	Run        string `json:"run,omitempty"`
	Applied    string `json:"applied,omitempty"` // commit last applied and verified
	AppliedRef string `json:"appliedRef,omitempty"`
	Good       string `json:"good,omitempty"` // commit last healthy
	Digest     string `json:"digest,omitempty"`
	// RestsOn says which approval or rule let the applied state in.
	RestsOn string `json:"restsOn,omitempty"`
	// PlanHash is the pending plan's, while held or out of sync.
	PlanHash   string    `json:"planHash,omitempty"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero"`
	ChangedAt  time.Time `json:"changedAt,omitzero"` // Phase last changed
	NextDue    time.Time `json:"nextDue,omitzero"`
	Owned      int       `json:"owned"`
	Drift      int       `json:"drift,omitempty"`     // changes seen, not corrected
	Corrected  int       `json:"corrected,omitempty"` // changes by which the last run corrected drift
	Attempts   int       `json:"attempts,omitempty"`
	// Stopped stands for the desired state whose rollout was stopped by
	// failures, StoppedText says how: what it has not reached is not given it
	// until that changes or a person asks for it.
	Stopped     string `json:"stopped,omitempty"`
	StoppedText string `json:"stoppedText,omitempty"`
	// FullDue is when all scopes are looked at next; until then only those that
	// have a retry of their own are.
	FullDue time.Time `json:"fullDue,omitzero"`
	// FullDigest is the inputs digest that all scopes were last looked at for.
	FullDigest string `json:"fullDigest,omitempty"`
}

// Run is one reconciliation.
//
//house:exception one record that is stored and shown as it is
type Run struct {
	ID          string       `json:"id"` // sortable by start
	Target      string       `json:"target"`
	Environment string       `json:"environment"`
	Repository  string       `json:"repository"`
	Commit      string       `json:"commit"`
	Ref         string       `json:"ref,omitempty"`
	Generation  int64        `json:"generation"`
	Class       Class        `json:"class"`
	Cause       string       `json:"cause"` // push, poll, drift, person, output, time, retry, rollback
	Actor       Actor        `json:"actor"`
	Mode        plan.Mode    `json:"mode"`
	ConfigVer   int64        `json:"configVersion"`
	Digest      string       `json:"digest,omitempty"`
	PlanHash    string       `json:"planHash,omitempty"`
	State       RunState     `json:"state"`
	Phase       string       `json:"phase,omitempty"` // fetch, plan, gates, apply, verify, health
	Gate        string       `json:"gate,omitempty"`
	Error       string       `json:"error,omitempty"`
	Summary     plan.Summary `json:"summary,omitempty"`
	Approval    string       `json:"approval,omitempty"` // what it rests on
	// First is what caused the run that was held, where this one only goes on
	// with its plan after a decision.
	First  *Caused         `json:"first,omitempty"`
	Origin *Origin         `json:"origin,omitempty"` // the pull request behind the commit, and who took part
	Detail json.RawMessage `json:"detail,omitempty"` // health, verification, warnings
	// Limit are the words by which the run was limited to some scopes.
	Limit []string `json:"limit,omitempty"`
	// Rollout is how far the run got over its scopes.
	Rollout  *Progress `json:"rollout,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
}

// RunState is where a run is, or how it ended.
type RunState string

// The run states.
const (
	RunActive    RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunPartial   RunState = "partial"
	RunFailed    RunState = "failed"
	RunHeld      RunState = "held"
	RunCancelled RunState = "cancelled"
	RunAbandoned RunState = "abandoned" // its process died
	RunNoChange  RunState = "nochange"
	RunPlanned   RunState = "planned" // for a pull request; nothing was written
)

// Approval binds a decision to a target, an inputs digest and a plan hash.
//
//house:exception one record that is stored and shown as it is
type Approval struct {
	ID       string    `json:"id"`
	Target   string    `json:"target"`
	Digest   string    `json:"digest"`
	PlanHash string    `json:"planHash"`
	Approved bool      `json:"approved"` // false is a rejection
	Actor    Actor     `json:"actor"`
	Teams    []string  `json:"teams,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
	// Via is review, comment or api; URL leads to the review or the comment,
	// Login is the approver's on the forge, Commit what a review looked at.
	Via    string `json:"via,omitempty"`
	URL    string `json:"url,omitempty"`
	Login  string `json:"login,omitempty"`
	Commit string `json:"commit,omitempty"`
	// Run is the one that was held; Pull is the number of the pull request that
	// a review or a comment was given on.
	Run  string `json:"run,omitempty"`
	Pull int    `json:"pull,omitempty"`
}

// Claim gives an address, or all addresses below a prefix, in a realm to one
// target. Environments and targets that claim the same thing collide.
type Claim struct {
	Realm   string       `json:"realm"`
	Address plan.Address `json:"address"`
	Target  string       `json:"target"`
}

// Event is one entry of the sequenced record of all that happened.
type Event struct {
	Seq    int64           `json:"seq"`
	At     time.Time       `json:"at"`
	Actor  Actor           `json:"actor"`
	Kind   string          `json:"kind"` // run.started, run.finished, target.held, approval, freeze, config.loaded, …
	Target string          `json:"target,omitempty"`
	Run    string          `json:"run,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
	// Hash covers this event and the one before it; Sig signs it. The store
	// gives both.
	Hash string `json:"hash,omitempty"`
	Sig  string `json:"sig,omitempty"`
}

// Hold is a suspension of one target, environment or repository, or a freeze
// of everything (Kind freeze, Key "").
type Hold struct {
	Kind   string    `json:"kind"` // target, environment, repository, freeze, restore
	Key    string    `json:"key"`
	Reason string    `json:"reason"`
	Actor  Actor     `json:"actor"`
	At     time.Time `json:"at"`
}

// RepositoryState is what was last seen of a repository.
type RepositoryState struct {
	Name      string    `json:"name"`
	Head      string    `json:"head"` // commit last taken in
	Ref       string    `json:"ref"`
	FetchedAt time.Time `json:"fetchedAt,omitzero"` // last success
	Error     string    `json:"error,omitempty"`
	ErrorAt   time.Time `json:"errorAt,omitzero"`
	ConfigVer int64     `json:"configVersion"`
	// Manifests has the blob id of each trueup.yaml at Head.
	Manifests map[string]string `json:"manifests,omitempty"`
	// Invalid lists the mistakes of the last commit, as diagnostics.
	Invalid plan.Diagnostics `json:"invalid,omitempty"`
}

// Progress is how far a rollout got.
type Progress struct {
	Batch   int `json:"batch"` // the one under way, or the last
	Batches int `json:"batches"`
	Done    int `json:"done"` // scopes that are done and healthy
	Failed  int `json:"failed,omitempty"`
	Scopes  int `json:"scopes"` // that the rollout is about
}

// String gives "batch 3/10, 27 of 100 hosts".
func (p *Progress) String() string {
	if p == nil {
		return ""
	}
	out := fmt.Sprintf("batch %d/%d, %d of %d hosts", p.Batch, p.Batches, p.Done, p.Scopes)
	if p.Failed > 0 {
		out += fmt.Sprintf(", %d failed", p.Failed)
	}
	return out
}
