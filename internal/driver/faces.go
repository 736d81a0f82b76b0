package driver

import (
	"context"
	"io"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Fingerprinter is a Session that can tell cheaply whether a scope may have
// changed. Equal fingerprints mean "most likely the same", as far as
// Info.Fingerprint says; "" means that the scope has none. The input has no
// inventory, and often nothing prepared.
type Fingerprinter interface {
	Fingerprint(ctx context.Context, in Input) (map[plan.Scope]string, error)
}

// Planned is a Fingerprinter that knows the fingerprint of the state that its
// last Plan for a target was made from. It spares the engine the samples before
// and after a plan, and there is no moment between reading and sampling.
type Planned interface {
	Fingerprinter
	// Planned gives what Fingerprint would have given at the time of that read;
	// nil where it can't be told.
	Planned(target string) map[plan.Scope]string
}

// Watcher is a Session that learns by itself when something that its targets
// have is changed by others. The engine then looks at that target at once; what
// a watch misses, the clock finds.
type Watcher interface {
	// Watch calls notify with ids of targets until ctx ends. It may be called
	// from several goroutines and returns at once.
	Watch(ctx context.Context, notify func(target string)) error
}

// HealthChecker is a Session with health checks of its own, beside the
// engine's (tcp, http, dns, command).
type HealthChecker interface {
	// Health gives nil when the applied state is healthy, ErrNotReady (wrapped,
	// with the reason) while it may still become so, and a permanent error when
	// it can't any more. After another error it is asked again as well. What it
	// says while it waits goes to the run's log whenever it changes.
	Health(ctx context.Context, in Input, check map[string]any) error
}

// CheckReader is a Driver that finds mistakes in its own health checks before
// anything is applied.
type CheckReader interface {
	// ReadCheck gives the mistakes; their fields are relative to the check.
	ReadCheck(check map[string]any) plan.Diagnostics
}

// Importer is a Session that writes live state as desired files.
type Importer interface {
	// Import gives the files by path, and the spec to use with them.
	Import(ctx context.Context, in Input, what []string) (Imported, error)
}

// Imported is live state in the form of a repository's files.
type Imported struct {
	Files    map[string][]byte
	Spec     any
	Warnings plan.Diagnostics
}

// LogStreamer is a Session whose runs write a long log.
type LogStreamer interface {
	StreamLog(ctx context.Context, run string, w io.Writer) error
}

// Destroyer is a Session that can remove what a target owns without its
// files, from the inventory and the last applied state alone. A session
// without it destroys through Plan in mode Destroy.
type Destroyer interface {
	Destroy(ctx context.Context, owned Inventory, report Report) error
}

// Binder is a ScopeSpec that means something only in an environment, because
// it names groups of its hosts, say. The engine binds it before it asks what
// lies inside; unbound it must contain nothing that it can't tell.
type Binder interface {
	// Bind gives the scope for an environment: its connect, as it was decoded,
	// and the directory that relative paths in it start from.
	Bind(connect any, dir string) (ScopeSpec, error)
}

// Scoper is a Session whose environment has several scopes of its own making
// (hosts, say): it tells their names, groups and variables. A rollout takes
// its order, its `--limit` and the variables of its health checks from here.
type Scoper interface {
	// Scopes gives the scopes that the target lies in, in the order of the
	// operator's inventory. It connects to none of them.
	Scopes(ctx context.Context, in Input) ([]ScopeInfo, error)
}

// ScopeInfo describes one scope.
type ScopeInfo struct {
	Scope  plan.Scope
	Groups []string
	// Vars may stand in health checks as {{ .name }}: plain values or maps of
	// them, never secrets. host and scope, the scope's name, are there anyway.
	Vars map[string]any
}

// Commander is a Session that can run a command of the operator's inside a
// scope (`on: host` in server.yaml). The command comes from the operator's
// configuration alone.
type Commander interface {
	// Command runs it to its end. Output goes to log, line by line; an exit
	// status other than 0 is an error, a scope that can't be reached is
	// ErrUnreachable.
	Command(ctx context.Context, scope plan.Scope, c Command, log func(line string)) error
}

// Command is a program with its arguments, never a shell string, and the
// variables that it gets.
type Command struct {
	Args []string
	Env  map[string]secret.Value
	Dir  string
}

// Follower is a Driver whose targets read further paths of the repository
// than they declare, and name them in what they read: modules, bases. The
// engine asks it when it takes a commit in, and counts what it names to the
// target's inputs from then on.
type Follower interface {
	// Follow gives files and directories from the root of the repository. The
	// input has a whole Tree, Path and Spec, and nothing else. What is wrong in
	// the files is for Prepare to say; the error is for a tree that can't be
	// read.
	Follow(ctx context.Context, in Input) ([]string, error)
}

// Stater is a Session whose targets have a state of their own (OpenTofu's),
// which people now and then have to work on.
type Stater interface {
	// State carries out one operation for a target and gives what there is to
	// show. It never touches the infrastructure.
	State(ctx context.Context, in Input, op StateOp) (StateResult, error)
}

// StateOp is an operation on a target's state.
type StateOp struct {
	// Verb is list, mv, rm, force-unlock or recover.
	Verb string `json:"verb"`
	// Args are addresses, or the id of a lock.
	Args []string `json:"args,omitempty"`
}

// StateResult is what came of it.
type StateResult struct {
	Addresses []string `json:"addresses,omitempty"`
	Message   string   `json:"message,omitempty"`
}
