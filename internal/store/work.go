package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Errors of the store.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrFenced: the lease was lost; nothing was written.
	ErrFenced = errors.New("the lease was lost to another holder")
	// ErrConflict: the record is somebody else's.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the database can't be reached now; try again later.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrLocked: another process holds the data directory.
	ErrLocked = errors.New("the data directory is in use")
)

// WorkKind is a kind of work.
type WorkKind string

// The kinds of work: one target's reconciliation, one pull request's preview,
// one repository's poll, what is written into one repository, a look at the
// versions that one repository follows, one message out.
const (
	Reconcile WorkKind = "reconcile"
	Preview   WorkKind = "preview"
	Poll      WorkKind = "poll"
	Propose   WorkKind = "propose"
	Images    WorkKind = "images"
	Outbox    WorkKind = "outbox"
)

// Class orders work: a person goes before a push, a push before a retry, a
// retry before a drift check.
type Class int

// The classes, the most urgent first.
const (
	ByPerson Class = iota
	ByPush
	ByRetry
	ByClock
)

// Trigger asks for work. It raises the generation, so that ten triggers
// during a run lead to one more run.
type Trigger struct {
	Kind  WorkKind
	Key   string
	Slot  string // the environment (or repository) whose concurrency counts
	Class Class
	Cause string
	Actor Actor
	// Commit that caused it, if any.
	Commit string
	// Payload replaces the work's payload when not nil.
	Payload json.RawMessage
	// After delays the work from now; an earlier due time stays.
	After time.Duration
}

// Lease is a piece of work held by this process. Its Fence goes with every
// write of the run.
type Lease struct {
	Fence
	Slot       string
	Class      Class
	Generation int64
	Attempts   int
	Payload    json.RawMessage
	// Triggers that this lease answers, oldest first, at most 100.
	Triggers []TriggerRecord
	Until    time.Time // database time
}

// TriggerRecord is a stored trigger.
type TriggerRecord struct {
	Generation int64     `json:"generation"`
	At         time.Time `json:"at"`
	Class      Class     `json:"class"`
	Cause      string    `json:"cause"`
	Actor      Actor     `json:"actor"`
	Commit     string    `json:"commit,omitempty"`
}

// Fence is the fencing token of a lease: (Kind, Key) held by Owner under
// Token. Writes under a stale fence give ErrFenced and change nothing.
type Fence struct {
	Kind  WorkKind
	Key   string
	Owner string
	Token int64
}

// ClaimOptions limits what Claim may hand out.
type ClaimOptions struct {
	Owner string
	Kinds []WorkKind
	// Max is how many leases to hand out at most.
	Max int
	// Lease is how long a lease lasts without renewal.
	Lease time.Duration
	// ConfigVersion: replicas on an older version get nothing.
	ConfigVersion int64
	// SlotLimit bounds running work per slot; slots not listed have DefaultSlot.
	SlotLimit   map[string]int
	DefaultSlot int
	// Grace is how long after a lease's end its holder may still be stopping;
	// only then is the work taken over. It is the longest StopGrace of the
	// holder's drivers.
	Grace time.Duration
	// Reserved is how many of Max are kept for people and pushes.
	Reserved int
}

// Queue hands out work.
type Queue interface {
	// Trigger adds work or raises its generation.
	Trigger(ctx context.Context, t ...Trigger) error
	// Claim leases due work: by class with ageing, fair over slots, never two
	// leases on one key, slots within their limit. It also takes over expired
	// leases, after their stop grace.
	Claim(ctx context.Context, o ClaimOptions) ([]Lease, error)
	// Renew extends leases; it returns those that were lost.
	Renew(ctx context.Context, d time.Duration, f ...Fence) (lost []Fence, err error)
	// Finish gives a lease back. Work whose generation rose meanwhile is due
	// again at once.
	Finish(ctx context.Context, f Fence, done Finish) error
	// Next gives when the next work is due, for the idle wait; zero is never.
	// What was due at this process's last Claim is not counted: it waits for a
	// slot, and the Finish that frees one ends Wait.
	Next(ctx context.Context, kinds []WorkKind) (time.Time, error)
}

// Finish says what becomes of leased work.
type Finish struct {
	// Observed is the generation that was answered.
	Observed int64
	// RetryAfter makes it due again as a retry; Attempts then rises by one.
	RetryAfter time.Duration
	// NextDue makes it due again by the clock; zero is not before a trigger.
	NextDue time.Time
	// Remove deletes the work when no newer trigger came.
	Remove bool
	// Release gives it back untouched, due now (graceful stop).
	Release bool
}

// Spreader smooths what a stop has piled up.
type Spreader interface {
	// SpreadDrift moves drift checks that have been due for more than a minute
	// to times within the next over, and gives their number. Other work stays.
	SpreadDrift(ctx context.Context, over time.Duration) (int64, error)
}

// WorkItem is a row of the queue, for status views.
type WorkItem struct {
	Kind       WorkKind  `json:"kind"`
	Key        string    `json:"key"`
	Slot       string    `json:"slot"`
	Class      Class     `json:"class"`
	Generation int64     `json:"generation"`
	Observed   int64     `json:"observed"`
	DueAt      time.Time `json:"dueAt,omitzero"`
	Attempts   int       `json:"attempts"`
	Owner      string    `json:"owner,omitempty"`
	LeaseUntil time.Time `json:"leaseUntil,omitzero"`
	Cancel     bool      `json:"cancel,omitempty"`
}

// QueueAdmin looks at the queue and stops work.
type QueueAdmin interface {
	Work(ctx context.Context, kind WorkKind, key string) (WorkItem, error)
	Depth(ctx context.Context) (map[WorkKind]int, error)
	// Cancel asks the holder to stop; Cancelled tells the holder.
	Cancel(ctx context.Context, kind WorkKind, key string, by Actor) error
	Cancelled(ctx context.Context, f Fence) (Actor, bool, error)
	// Wait returns when work may have come (NOTIFY, or a call in this process),
	// or after d.
	Wait(ctx context.Context, d time.Duration) error
}
