package plan

import "encoding/json"

// Outcome is what became of one planned change.
type Outcome string

// The outcomes. Unknown means that the write may or may not have happened (a
// lost connection); the next run resolves it by reading.
const (
	Applied Outcome = "applied"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
	Unknown Outcome = "unknown"
)

// Result is the outcome of one change.
type Result struct {
	Key
	Kind    string  `json:"kind,omitempty"`
	Action  Action  `json:"action"`
	From    Address `json:"from,omitempty"`
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
	// Hash is the driver's hash of the object as it was written; it goes into
	// the inventory, so that a later difference can be told from drift.
	Hash string `json:"hash,omitempty"`
	// Weight is how many resources of Class the object counts as (records in
	// an RRset); 0 means 1.
	Class  string `json:"class,omitempty"`
	Weight int    `json:"weight,omitempty"`
	// LastApplied is the document to remember for a later destroy, with
	// sensitive fields masked.
	LastApplied json.RawMessage `json:"lastApplied,omitempty"`
	Source      Source          `json:"source,omitzero"`
}
