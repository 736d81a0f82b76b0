// Package driver is the contract between the engine and the code that knows
// one kind of environment. See docs/writing-a-driver.md.
package driver

import (
	"context"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// Driver knows one kind of environment.
type Driver interface {
	Info() Info
	// Prepare reads the snapshot alone, with no connection: what is desired,
	// which values it uses, when time will change it, and every mistake with
	// file and line. Mistakes are diagnostics, not an error; the error is for
	// what keeps it from reading at all.
	Prepare(ctx context.Context, in Input) (*Prepared, error)
	// Open connects to an environment. Sessions are safe for concurrent use.
	Open(ctx context.Context, env Environment, purpose Purpose) (Session, error)
}

// Session is a connection to one environment.
type Session interface {
	// Plan compares desired with observed and writes nothing. A scope that
	// can't be read is reported as unknown in the plan; the error is for when
	// nothing could be planned at all.
	Plan(ctx context.Context, in Input) (*plan.Plan, error)
	// Apply carries a plan out. The plan may come from another process and may
	// be masked: Apply reads the inputs again. Before it writes addresses it
	// calls report.Pending, afterwards report.Done; an error from either stops
	// the apply. It gives ErrStale when the base no longer matches. A change
	// that failed is in its Result; the error is for what ended the apply.
	Apply(ctx context.Context, in Input, p *plan.Plan, report Report) error
	Close() error
}

// Report takes the journal of an apply. It is safe for concurrent use.
type Report interface {
	// Pending durably marks addresses as about to be written.
	Pending(ctx context.Context, keys []plan.Key) error
	// Done durably records outcomes and brings the inventory up to date.
	Done(ctx context.Context, results []plan.Result) error
	// Logf adds a line to the run's log.
	Logf(format string, args ...any)
}

// Purpose tells what a session may do.
type Purpose string

// The purposes. A read session may have weaker credentials.
const (
	Read  Purpose = "read"
	Write Purpose = "write"
)

// Info describes a driver.
type Info struct {
	Name    string // as in "driver: dns"
	Summary string // one line
	// Version is part of the inputs digest: raise it when the same inputs
	// would lead to another plan.
	Version string
	// Spec, Scope and Connect make new values that the configuration's spec,
	// scope and connect are decoded into, strictly, by their `yaml` tags. Their
	// doc comments and `jsonschema` tags make the published schema. The values
	// may implement Validator.
	Spec    func() any
	Scope   func() ScopeSpec
	Connect func() any
	// RunsRepositoryCode tells that planning runs code from the repository.
	RunsRepositoryCode bool
	// DestroysFromTree tells that a plan in mode Destroy needs the snapshot,
	// the spec and the values, beside the inventory.
	DestroysFromTree bool
	// StopGrace is how long a cancelled Apply may take to end cleanly.
	StopGrace time.Duration
	// Fingerprint says in words what the fingerprint is worth, "" for none.
	Fingerprint string
	// ExactEvery is how long fingerprints may stand in for an exact read.
	ExactEvery time.Duration
}

// Validator checks a decoded part of the configuration. Each finding names
// its field relative to the part; file and line are filled in by the caller.
type Validator interface {
	Validate() plan.Diagnostics
}

// ScopeSpec narrows an environment: which addresses a grant or a target may
// touch. It is pure.
type ScopeSpec interface {
	// Contains tells whether an object lies inside. The zero value of every
	// ScopeSpec contains everything.
	Contains(k plan.Key, kind string) bool
}
