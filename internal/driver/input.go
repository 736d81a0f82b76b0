package driver

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Input is everything a driver may look at beside the environment. The engine
// never changes it after handing it over.
type Input struct {
	// Target is the target's id; it stays the same when the target is renamed.
	Target string
	// Tree is the snapshot of the repository at one commit, confined to the
	// target's inputs: paths are relative to the repository root, symbolic
	// links inside the root are followed, and fs.ReadLinkFS is implemented.
	// Reading outside the inputs is an error that says which line to add.
	Tree fs.FS
	// Path is the target's own path in Tree, a file or a directory.
	Path string
	// Spec and Scope are what Info.Spec and Info.Scope made, decoded.
	Spec  any
	Scope ScopeSpec
	// Only limits a plan, a read or a health check to these scopes; nil is all.
	// The plan then lists no other scope. A driver that looks at more is
	// correct, and slower.
	Only []plan.Scope
	// Values are other targets' outputs by the name the target gave them.
	Values map[string]plan.Output
	// Inventory is what the target owns.
	Inventory Inventory
	// Previously maps old addresses to new ones where the target's
	// `previously:` says that an object was renamed.
	Previously map[plan.Address]plan.Address
	Mode       plan.Mode
	// Now is the time to plan for. Drivers never ask the clock.
	Now time.Time
	// Prepared is what Prepare gave for this input; nil means that the driver
	// must prepare by itself.
	Prepared *Prepared
	Log      *slog.Logger
}

// Identifier is a Tree that tells what lies at a path by an id, without reading
// it, so that what was made of the same content before can be used again.
type Identifier interface {
	// Identify gives the id of a file's content, or of the names in a directory.
	// Equal ids mean equal content, in any snapshot. It counts as reading.
	Identify(name string) (string, error)
}

// Prepared is what the snapshot alone says.
type Prepared struct {
	Desired     []Desired
	Values      []string  // names of values used
	NextDue     time.Time // when time alone changes the desired state
	Diagnostics plan.Diagnostics
	// State is the driver's own parsed form, to spare a second parse in the
	// same process. It is never serialised.
	State any `json:"-"`
}

// Desired is one object that the snapshot asks for.
type Desired struct {
	plan.Key
	Kind   string
	Source plan.Source
}

// Owned is one object in a target's inventory.
type Owned struct {
	plan.Key
	Kind string `json:"kind,omitempty"`
	// Class and Weight say how guards count the object: an RRset of five
	// records has class "record" and weight 5. A Weight of 0 means 1.
	Class  string `json:"class,omitempty"`
	Weight int    `json:"weight,omitempty"`
	// Realm is where it was written (plan.ScopePlan.Realm).
	Realm string `json:"realm,omitempty"`
	// Pending marks an object whose last write has no known outcome.
	Pending bool `json:"pending,omitempty"`
	// Hash is the driver's hash of the object as last applied.
	Hash string `json:"hash,omitempty"`
	// LastApplied is the masked document that was last applied.
	LastApplied json.RawMessage `json:"lastApplied,omitempty"`
	Source      plan.Source     `json:"source,omitzero"`
}

// Inventory is the set of objects that a target owns.
type Inventory map[plan.Key]Owned

// Environment is where a session connects to.
type Environment struct {
	Name string
	// Connect is what Info.Connect made, decoded.
	Connect any
	// Dir is where relative paths in Connect start: the directory of the
	// operator's configuration.
	Dir string
	// Secret resolves a reference that stands in Connect.
	Secret func(ctx context.Context, ref secret.Ref) (secret.Value, error)
	// HashKey keys the hashes that stand for secret content in bases and
	// inventories. It stays the same as long as the store does; empty means
	// that there is none.
	HashKey []byte
	// Agents reaches the hosts that call in; nil where nobody answers them.
	Agents Agents
	Log    *slog.Logger
}

// Covers tells whether the input is about a scope (see Only).
func (in Input) Covers(s plan.Scope) bool { return in.Only == nil || slices.Contains(in.Only, s) }
