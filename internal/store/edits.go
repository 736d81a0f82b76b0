package store

import (
	"context"
	"encoding/json"
	"time"
)

// EditKind says what an Edit is about.
type EditKind string

// The kinds. Each is written by one kind of work alone: what a target's runs
// saw in the environment by them, what registries tell by the looks at them,
// what was proposed by the work on proposals.
const (
	LiveValues    EditKind = "live"      // what the environment changed by itself and may
	WrittenBack   EditKind = "writeback" // what was proposed or committed for it
	AutoPromotion EditKind = "promotion" // the versions that wait, or were proposed, by themselves
	SeenVersions  EditKind = "seen"      // the newest versions of images and charts, as their registries tell
	VersionUpdate EditKind = "update"    // what was proposed for them; for a group in place of a target
)

// Edit is what trueup wants to write, or has written, into a repository for
// one target.
//
//house:exception one record that is stored and shown as it is
type Edit struct {
	Kind       EditKind `json:"kind"`
	Target     string   `json:"target"`
	Repository string   `json:"repository"`
	// Digest stands for the values.
	Digest string          `json:"digest"`
	Values json.RawMessage `json:"values,omitempty"`
	Run    string          `json:"run,omitempty"`   // that saw them
	Since  time.Time       `json:"since,omitzero"`  // since when they are there
	State  EditState       `json:"state,omitempty"` // of what was made of them
	Branch string          `json:"branch,omitempty"`
	Commit string          `json:"commit,omitempty"`
	Number int             `json:"number,omitempty"` // of the pull request
	URL    string          `json:"url,omitempty"`
	Error  string          `json:"error,omitempty"`
	At     time.Time       `json:"at,omitzero"` // written
}

// EditState is what became of an edit.
type EditState string

// The states.
const (
	EditWaiting   EditState = "waiting"   // for the end of a healthy period
	EditProposed  EditState = "proposed"  // a pull request is open
	EditPushed    EditState = "pushed"    // a branch was pushed; there is no forge
	EditCommitted EditState = "committed" // on the branch itself
	EditMerged    EditState = "merged"
	EditRefused   EditState = "refused" // the pull request was closed, and stays so for these values
	EditFailed    EditState = "failed"
)

// Edits keeps what is written into repositories.
type Edits interface {
	PutEdit(ctx context.Context, f Fence, e Edit) error
	DropEdit(ctx context.Context, f Fence, kind EditKind, target string) error
	Edit(ctx context.Context, kind EditKind, target string) (Edit, error)
	// Edits lists a repository's, by kind and target; an empty repository is all.
	Edits(ctx context.Context, repository string) ([]Edit, error)
}
