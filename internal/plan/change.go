package plan

import "encoding/json"

// Action is what a change does to its object.
type Action string

// The actions. Adopt takes an existing, equal object into the inventory and
// writes nothing to the environment; Forget gives one up and writes nothing.
const (
	None    Action = "none"
	Create  Action = "create"
	Update  Action = "update"
	Replace Action = "replace"
	Delete  Action = "delete"
	Adopt   Action = "adopt"
	Rename  Action = "rename"
	Disable Action = "disable"
	Forget  Action = "forget"
)

// Writes tells whether the action changes the environment.
func (a Action) Writes() bool {
	return a != None && a != Adopt && a != Forget
}

// Reason is why a change is planned.
type Reason string

// The reasons: the desired state changed; the environment moved away from
// what was last applied; an owned object is no longer asked for.
const (
	BySpec  Reason = "spec"
	ByDrift Reason = "drift"
	ByPrune Reason = "prune"
)

// Impact counts what a change does to one class of resource (record, user,
// group member, object, file). Guards add these up; a replace counts as a
// delete too. A driver declares impacts itself, because one change may touch
// many resources: an RRset of five records, a group of fifty members.
type Impact struct {
	Class   string `json:"class"`
	Create  int    `json:"create,omitempty"`
	Update  int    `json:"update,omitempty"`
	Replace int    `json:"replace,omitempty"`
	Delete  int    `json:"delete,omitempty"`
	Disable int    `json:"disable,omitempty"`
}

// Add gives the sum of two impacts of the same class.
func (i Impact) Add(o Impact) Impact {
	i.Create += o.Create
	i.Update += o.Update
	i.Replace += o.Replace
	i.Delete += o.Delete
	i.Disable += o.Disable
	return i
}

// Change is one difference between the desired and the observed state.
//
//house:exception one record that is stored and shown as it is
type Change struct {
	Key
	// Kind is the driver's word for the type of object: "rrset", "file".
	Kind   string `json:"kind,omitempty"`
	Action Action `json:"action"`
	Reason Reason `json:"reason,omitempty"`
	// From is the old address of a rename.
	From Address `json:"from,omitempty"`
	// Before and After are JSON documents; Before is absent on a create,
	// After on a delete.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Sensitive lists JSON pointers (RFC 6901) into Before and After whose
	// values are masked wherever the change is stored or shown.
	Sensitive []string `json:"sensitive,omitempty"`
	// Unknown lists JSON pointers into After that are known only after apply.
	Unknown []string `json:"unknown,omitempty"`
	// Source is the place in Git that asks for the object, or, on a prune,
	// the place that asked for it last.
	Source Source   `json:"source,omitzero"`
	Impact []Impact `json:"impact,omitempty"`
	// Group names changes that are written together, atomically; the cut
	// between groups is where a partial failure can stop.
	Group string `json:"group,omitempty"`
	// Simulated marks a change whose effect can't be known exactly.
	Simulated bool   `json:"simulated,omitempty"`
	Note      string `json:"note,omitempty"`
	// Conflict says why the change is held whatever the guards allow: the
	// object exists, differs and nobody owns it, for example.
	Conflict string `json:"conflict,omitempty"`
}
