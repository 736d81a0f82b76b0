package store

import (
	"context"
	"encoding/json"
	"time"
)

// Pull is what is remembered of a pull request. Doc is the engine's.
type Pull struct {
	Repository string    `json:"repository"`
	Number     int       `json:"number"`
	State      PullState `json:"state"`
	Head       string    `json:"head"`               // commit last looked at
	UpdatedAt  time.Time `json:"updatedAt,omitzero"` // the forge's, as last looked at
	// Landed is the commit of the followed branch or tag that brought it.
	Landed string          `json:"landed,omitempty"`
	Doc    json.RawMessage `json:"doc,omitempty"`
}

// PullState is where a pull request is.
type PullState string

// The states of a pull request.
const (
	PullOpen   PullState = "open"
	PullClosed PullState = "closed"
	PullMerged PullState = "merged"
)

// Pulls keeps pull requests.
type Pulls interface {
	// PutPull writes or overwrites a pull request under a fence.
	PutPull(ctx context.Context, f Fence, p Pull) error
	Pull(ctx context.Context, repository string, number int) (Pull, error)
	// Pulls lists a repository's pull requests in a state, without Doc, by
	// number.
	Pulls(ctx context.Context, repository string, state PullState) ([]Pull, error)
	// LandedWith lists the numbers of those that a commit brought.
	LandedWith(ctx context.Context, repository, commit string) ([]int, error)
}

// Landing is a commit of a followed branch or tag that concerned targets.
type Landing struct {
	Repository string    `json:"repository"`
	Commit     string    `json:"commit"`
	Ref        string    `json:"ref,omitempty"`
	Before     string    `json:"before,omitempty"` // the commit taken in before it
	At         time.Time `json:"at"`
	// Targets that the commit made due, by id.
	Targets []string `json:"targets,omitempty"`
	// Mistakes counts those that the commit's configuration has.
	Mistakes int `json:"mistakes,omitempty"`
	// Origin is how the commit came to be, nil until the forge told.
	Origin *Origin `json:"origin,omitempty"`
	// Final tells that the outcome was told for good.
	Final bool `json:"final,omitempty"`
}

// Landings keeps what commits came to concern.
type Landings interface {
	// PutLanding keeps a commit with its targets; targets that are there
	// already stay, as do Origin and Final.
	PutLanding(ctx context.Context, f Fence, l Landing) error
	// SetOrigin writes how a commit came to be.
	SetOrigin(ctx context.Context, f Fence, repository, commit string, o Origin) error
	// EndLanding marks an outcome as told for good.
	EndLanding(ctx context.Context, f Fence, repository, commit string) error
	Landing(ctx context.Context, repository, commit string) (Landing, error)
	// Landings lists a repository's newest landings, the newest first.
	Landings(ctx context.Context, repository string, limit int) ([]Landing, error)
}

// Said is what was last said to a forge about a subject: a comment with its
// id, a status, a command that was answered.
type Said struct {
	ID   string    `json:"id,omitempty"`   // of the comment or deployment
	Hash string    `json:"hash,omitempty"` // of what was said
	At   time.Time `json:"at,omitzero"`
}

// Sayings keeps what was said, so that nothing is said twice.
type Sayings interface {
	// Say writes or overwrites; a time that is not set is the store's.
	Say(ctx context.Context, f Fence, repository, subject string, s Said) error
	Said(ctx context.Context, repository, subject string) (Said, error)
}
