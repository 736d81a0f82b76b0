package store

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Page asks for a part of a list: up to Limit records (default 100, at most
// 1000) after the opaque cursor.
type Page struct {
	After string
	Limit int
}

// TargetFilter narrows a list of targets; empty fields don't.
type TargetFilter struct {
	Repository, Environment, Manifest string
	State                             TargetState
	Phase                             Phase
	Page
}

// Targets keeps targets. Lists give the next page's cursor, "" at the end.
type Targets interface {
	// PutTargets takes over a repository's targets at a commit in one
	// transaction together with the repository's state and the triggers. Known
	// targets keep Desired and Status, except that new Desired records replace
	// those that are not pins or locks.
	PutTargets(ctx context.Context, r RepositoryState, put []Target, orphan []string, triggers []Trigger) error
	Target(ctx context.Context, id string) (Target, error)
	Targets(ctx context.Context, f TargetFilter) ([]Target, string, error)
	SetDesired(ctx context.Context, id string, d Desired) error
	SetStatus(ctx context.Context, f Fence, id string, s Status) error
}

// TargetAdmin moves targets.
type TargetAdmin interface {
	SetState(ctx context.Context, id string, s TargetState) error
	// Rename moves everything that belongs to a target (inventory, claims,
	// approvals, outputs, runs) to a new id, when the new id owns nothing.
	Rename(ctx context.Context, from, to string) error
	CountTargets(ctx context.Context) (map[Phase]int, error)
}

// Repositories keeps what was seen of repositories.
type Repositories interface {
	Repository(ctx context.Context, name string) (RepositoryState, error)
	Repositories(ctx context.Context) ([]RepositoryState, error)
	// PutRepository keeps a state; Manifests of nil leaves the stored ones.
	PutRepository(ctx context.Context, r RepositoryState) error
}

// RunFilter narrows a list of runs, newest first. Plans for pull requests are
// left out unless State asks for them.
type RunFilter struct {
	Target, Environment, Repository string
	State                           RunState
	Since, Until                    time.Time
	Page
}

// Runs keeps history.
type Runs interface {
	// PutRun writes or overwrites the run under its fence. With a run's end goes
	// the event run.finished.
	PutRun(ctx context.Context, f Fence, r Run) error
	Run(ctx context.Context, id string) (Run, error)
	Runs(ctx context.Context, f RunFilter) ([]Run, string, error)
	AddResults(ctx context.Context, f Fence, run string, r []plan.Result) error
	Results(ctx context.Context, run string) ([]plan.Result, error)
}

// Logs keeps the runs' logs.
type Logs interface {
	AddLog(ctx context.Context, run string, lines []LogLine) error
	Log(ctx context.Context, run string, after int64) ([]LogLine, error)
}

// LogLine is one line of a run's log. Seq counts from 1 within the run.
type LogLine struct {
	Seq  int64     `json:"seq"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Plans keeps plans: a header and chunks, artefacts encrypted.
type Plans interface {
	PutPlan(ctx context.Context, f Fence, run, hash string, p *plan.Plan) error
	// Plan gives a run's plan and its hash.
	Plan(ctx context.Context, run string) (*plan.Plan, string, error)
	// PlanByHash gives the newest plan of a target with that hash, and its run.
	PlanByHash(ctx context.Context, target, hash string) (*plan.Plan, string, error)
}

// Inventory keeps what targets own. All writes are fenced.
type Inventory interface {
	Owned(ctx context.Context, target string) (driver.Inventory, error)
	// MarkPending marks addresses as about to be written, before the write.
	MarkPending(ctx context.Context, f Fence, target, run string, realm map[plan.Scope]string, keys []plan.Key) error
	// Record takes in results: applied objects become owned (or are removed, on
	// delete and forget), failed ones lose the mark of a write that surely did
	// not happen, unknown ones keep it.
	Record(ctx context.Context, f Fence, target, run string, realm map[plan.Scope]string, r []plan.Result) error
	// TakeClaims claims all or nothing, for one target; ErrConflict comes with
	// the claims that others hold. An address that ends in "*" claims all below
	// it, "*" the whole realm. Record gives claims back with their objects.
	TakeClaims(ctx context.Context, f Fence, claims []Claim) ([]Claim, error)
	// WhoOwns finds owners of an address in an environment, for `why`.
	WhoOwns(ctx context.Context, environment string, address plan.Address) ([]OwnedBy, error)
}

// OwnedBy is an inventory entry with its owner and the run that wrote it.
type OwnedBy struct {
	driver.Owned
	Target string `json:"target"`
	Run    string `json:"run"`
}

// Approvals keeps decisions.
type Approvals interface {
	// AddApproval keeps a decision, with the event approval or rejection.
	AddApproval(ctx context.Context, a Approval) error
	// Approvals gives the decisions on exactly this plan, oldest first.
	Approvals(ctx context.Context, target, digest, planHash string) ([]Approval, error)
}

// Outputs keeps what targets give to others; sensitive values are encrypted.
type Outputs interface {
	PutOutputs(ctx context.Context, f Fence, target string, o map[string]plan.Output) (changed []string, err error)
	Outputs(ctx context.Context, target string) (map[string]plan.Output, error)
}

// Events keeps the sequenced record.
type Events interface {
	AddEvent(ctx context.Context, e ...Event) error
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
}

// Holds keeps suspensions and freezes.
type Holds interface {
	PutHold(ctx context.Context, h Hold) error
	DropHold(ctx context.Context, kind, key string) error
	Holds(ctx context.Context) ([]Hold, error)
}

// Blobs keeps the inputs of applied, approved and rollback states, so that
// drift correction and rollback need no Git.
type Blobs interface {
	PutBlob(ctx context.Context, id string, body []byte) error
	Blob(ctx context.Context, id string) ([]byte, error)
	// KeepState remembers a commit's input listing (path, mode, blob id) for a
	// target; older states beyond keep are dropped, with blobs nobody needs.
	KeepState(ctx context.Context, f Fence, target string, s KeptState, keep int) error
	State(ctx context.Context, target, commit string) (KeptState, error)
	States(ctx context.Context, target string) ([]KeptState, error)
}

// KeptState is the listing of a target's inputs at one commit, with the
// target's configuration of that time.
type KeptState struct {
	Commit  string          `json:"commit"`
	Kind    string          `json:"kind"` // applied, good, approved
	Listing json.RawMessage `json:"listing"`
	Config  json.RawMessage `json:"config"`
	At      time.Time       `json:"at"`
}

// Fingerprint is what a scope looked like when it was last verified.
type Fingerprint struct {
	Value string    `json:"value"`
	At    time.Time `json:"at"`    // sampled
	Exact time.Time `json:"exact"` // last exact read
}

// Fingerprints keeps fingerprints per scope. The digest binds them to the
// inputs that were verified.
type Fingerprints interface {
	PutFingerprints(ctx context.Context, f Fence, target, digest string, fp map[plan.Scope]Fingerprint) error
	Fingerprints(ctx context.Context, target string) (digest string, fp map[plan.Scope]Fingerprint, err error)
}

// Configs keeps every valid operator configuration under its number.
type Configs interface {
	// PutConfig stores a configuration and gives its version; one with the
	// digest of the newest keeps that version.
	PutConfig(ctx context.Context, digest string, body []byte, by Actor) (int64, error)
	Config(ctx context.Context, version int64) (body []byte, err error)
	CurrentConfig(ctx context.Context) (version int64, digest string, err error)
}

// Admin is for the whole store.
type Admin interface {
	// Now is the store's clock.
	Now(ctx context.Context) (time.Time, error)
	// Backup writes a consistent copy that Restore reads, on either database.
	// What is encrypted stays so: it needs the same encryption key.
	Backup(ctx context.Context, w io.Writer) error
	// Retain drops a target's runs beyond the newest keepRuns, with plans,
	// results and logs, and runs, events, landings and sayings older than keep.
	// The newest run and running ones stay.
	Retain(ctx context.Context, keepRuns int, keep time.Duration) error
	// Key gives a named secret key of 32 bytes, made on first use, for keyed
	// hashes and encryption at rest.
	Key(ctx context.Context, name string) ([]byte, error)
	Close() error
}

// Store is everything.
type Store interface {
	Queue
	QueueAdmin
	Spreader
	Targets
	TargetAdmin
	Repositories
	Runs
	Logs
	Plans
	Inventory
	Approvals
	Outputs
	Events
	Audit
	Holds
	Blobs
	Fingerprints
	Scopes
	Configs
	Agents
	AgentAdmin
	AgentOutbox
	AgentInbox
	AgentContent
	Pulls
	Landings
	Edits
	Sayings
	Admin
}
