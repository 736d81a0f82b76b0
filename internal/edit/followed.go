package edit

import "time"

// Followed is an image or chart that a target follows, as its registry told
// and as Git says.
//
//house:exception what is shown of one image, as it is shown
type Followed struct {
	Target      string `json:"target"`
	Environment string `json:"environment"`
	Image       string `json:"image"`
	Rule        string `json:"rule"`
	Group       string `json:"group,omitempty"`
	InUse       string `json:"inUse,omitempty"`  // as it stands in Git
	Newest      string `json:"newest,omitempty"` // that fits the rule
	Digest      string `json:"digest,omitempty"` // of the newest
	// Created is when it was made, as it says itself; Seen when trueup saw it.
	Created time.Time `json:"created,omitzero"`
	Seen    time.Time `json:"seen,omitzero"`
	Looked  time.Time `json:"looked,omitzero"` // last time that the registry answered
	// State is current, update (Changes say what), newer (what is in use is newer
	// than all that fit), none (nothing fits) or unknown (nobody has looked yet).
	State   string   `json:"state"`
	Changes []Change `json:"changes,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	// Error is why the registry, or the place in the files, could not be read.
	Error string `json:"error,omitempty"`
	// Proposal is what became of the update.
	Proposal *Auto `json:"proposal,omitempty"`
}

// The states of what is followed.
const (
	FollowedCurrent = "current"
	FollowedUpdate  = "update"
	FollowedNewer   = "newer"
	FollowedNone    = "none"
	FollowedUnknown = "unknown"
)

// Check asks for a look at what is followed.
type Check struct {
	Only []string `json:"only,omitempty"` // names of targets, or globs; none is all
	// DryRun only tells. Otherwise pull requests follow as at every look.
	DryRun bool `json:"dryRun,omitempty"`
}
