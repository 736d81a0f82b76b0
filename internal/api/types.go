package api

import (
	"encoding/json"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// List is one page of a list; Next is the cursor of the following page, empty
// at the end.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Target is a target and how it is.
type Target struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Repository  string            `json:"repository"`
	Manifest    string            `json:"manifest"`
	Environment string            `json:"environment"`
	Path        string            `json:"path,omitempty"`
	State       store.TargetState `json:"state"`
	Status      store.Status      `json:"status"`
	Desired     store.Desired     `json:"desired"`
}

// TargetDetail is a target with what is known around it.
type TargetDetail struct {
	Target
	Inputs    []string               `json:"inputs,omitempty"`
	DependsOn []string               `json:"dependsOn,omitempty"`
	Source    plan.Source            `json:"source,omitzero"`
	Work      *store.WorkItem        `json:"work,omitempty"`
	Outputs   map[string]plan.Output `json:"outputs,omitempty"`
	Holds     []store.Hold           `json:"holds,omitempty"`
	States    []State                `json:"states,omitempty"`
	// Edits are what trueup wants to write, or has written, into the repository
	// for the target.
	Edits []store.Edit `json:"edits,omitempty"`
}

// State is a commit that a rollback can go to.
type State struct {
	Commit string    `json:"commit"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
}

// Run is a run with its results.
type Run struct {
	store.Run
	Results []plan.Result `json:"results,omitempty"`
}

// Plan is a plan with its hash.
type Plan struct {
	Hash string     `json:"hash"`
	Plan *plan.Plan `json:"plan"`
}

// Log is a part of a run's log; Done tells that no more will come.
type Log struct {
	Lines []store.LogLine `json:"lines"`
	Done  bool            `json:"done"`
}

// Environment is an environment as the operator declared it, without its
// connection.
type Environment struct {
	Name    string              `json:"name"`
	Driver  string              `json:"driver"`
	Policy  string              `json:"policy,omitempty"`
	Retired bool                `json:"retired,omitempty"`
	Grants  []Grant             `json:"grants,omitempty"`
	Targets map[store.Phase]int `json:"targets"`
}

// Grant says which repository may use an environment, and from where.
type Grant struct {
	Repository string   `json:"repository"`
	Branch     string   `json:"branch,omitempty"`
	Paths      []string `json:"paths,omitempty"`
}

// Repository is a watched repository and what was last seen of it.
type Repository struct {
	store.RepositoryState
	URL     string        `json:"url"`
	Follows string        `json:"follows"`
	Poll    time.Duration `json:"poll"`
	Webhook bool          `json:"webhook"`
}

// InForce says what was in force of one target at a time.
type InForce struct {
	Target string         `json:"target"`
	Commit string         `json:"commit"`
	Ref    string         `json:"ref,omitempty"`
	Since  time.Time      `json:"since"`
	Run    string         `json:"run"`
	State  store.RunState `json:"state"`
	Actor  store.Actor    `json:"actor"`
	Cause  string         `json:"cause"`
	Origin *store.Origin  `json:"origin,omitempty"`

	// closed tells that an older run had another commit.
	closed bool
}

// Why says who asked for an object and what applied it.
type Why struct {
	store.OwnedBy
	Environment string      `json:"environment"`
	Repository  string      `json:"repository"`
	Applied     *store.Run  `json:"applied,omitempty"`
	Commit      *Authorship `json:"commit,omitempty"`
}

// Authorship is who wrote a line, and in which commit.
type Authorship struct {
	Commit  string    `json:"commit"`
	Author  string    `json:"author"`
	Email   string    `json:"email,omitempty"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
}

// Action asks for something to be done; the verb is in the path. Which fields
// count depends on the verb.
type Action struct {
	Target     string    `json:"target,omitempty"`
	Repository string    `json:"repository,omitempty"`
	Kind       string    `json:"kind,omitempty"` // suspend, resume: target, environment or repository
	Key        string    `json:"key,omitempty"`
	PlanHash   string    `json:"planHash,omitempty"`
	Commit     string    `json:"commit,omitempty"`
	Mode       plan.Mode `json:"mode,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Limit      []string  `json:"limit,omitempty"` // sync: only these scopes (hosts), by name, group or glob
	Op         string    `json:"op,omitempty"`    // state: mv, rm, force-unlock or recover
	Args       []string  `json:"args,omitempty"`  // state: addresses, or the id of a lock
}

// Done answers an action.
type Done struct {
	OK       bool                `json:"ok"`
	Approval *store.Approval     `json:"approval,omitempty"`
	State    *driver.StateResult `json:"state,omitempty"`
}

// Status is the whole server at a glance.
type Status struct {
	Version       string                 `json:"version"`
	Now           time.Time              `json:"now"`
	ConfigVersion int64                  `json:"configVersion"`
	Targets       map[store.Phase]int    `json:"targets"`
	Queue         map[store.WorkKind]int `json:"queue"`
	Holds         []store.Hold           `json:"holds,omitempty"`
	You           You                    `json:"you"`
}

// You is who the server takes the caller for.
type You struct {
	Actor store.Actor `json:"actor"`
	Role  string      `json:"role"`
	Teams []string    `json:"teams,omitempty"`
}

// ErrorBody is how every error is answered.
type ErrorBody struct {
	Error ErrorInfo `json:"error"`
}

// ErrorInfo says what went wrong. Code is one of invalid, unauthenticated,
// forbidden, not_found, conflict, too_large, busy, unavailable, internal.
type ErrorInfo struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

// Owned is one object of an inventory.
type Owned struct {
	plan.Key
	Kind    string      `json:"kind,omitempty"`
	Realm   string      `json:"realm,omitempty"`
	Pending bool        `json:"pending,omitempty"`
	Source  plan.Source `json:"source,omitzero"`
}
