package store

import (
	"fmt"
	"time"
)

// Origin says how a run's commit came to be in force: the pull request it
// came through and who took part. A run of a commit that was pushed directly
// has an origin with CommitURL alone; one whose repository has no forge has
// none. The facts are the forge's API's, never a webhook's.
type Origin struct {
	Forge  string `json:"forge,omitempty"`  // kind: github, gitlab, bitbucket, bitbucketdc, gitea
	Noun   string `json:"noun,omitempty"`   // what the forge calls it: pull request, merge request
	Number int    `json:"number,omitempty"` // 0 is a direct push
	Title  string `json:"title,omitempty"`
	URL    string `json:"url,omitempty"`
	// Labels of the pull request, for rules.
	Labels []string `json:"labels,omitempty"`
	// Proposed is the author of the pull request.
	Proposed Party `json:"proposed,omitzero"`
	// Requested are those who had trueup open it in their stead.
	Requested []Actor `json:"requested,omitempty"`
	// Approved are the approvals that stood at the merge, on the forge and here.
	Approved  []Assent  `json:"approved,omitempty"`
	Merged    Party     `json:"merged,omitzero"`
	MergedAt  time.Time `json:"mergedAt,omitzero"`
	CommitURL string    `json:"commitURL,omitempty"` // the run's commit, on the forge
}

// Caused says what caused something, and who.
type Caused struct {
	Cause string `json:"cause"`
	Actor Actor  `json:"actor"`
}

// Party is somebody who took part: the login on the forge, and the user that
// the operator's configuration says it is, "" for nobody that trueup knows.
type Party struct {
	Login string `json:"login,omitempty"`
	Actor Actor  `json:"actor,omitempty"`
}

// String gives "alice-gh (user:alice)", the login alone, or "".
func (p Party) String() string {
	switch {
	case p.Actor == "":
		return p.Login
	case p.Login == "":
		return string(p.Actor)
	}
	return fmt.Sprintf("%s (%s)", p.Login, p.Actor)
}

// The ways an approval is given.
const (
	ByReview  = "review"  // a review on the forge
	ByComment = "comment" // a command in a comment
	ByAPI     = "api"     // the command line or the API
)

// Assent is one approval.
type Assent struct {
	Party
	Via    string    `json:"via,omitempty"` // review, comment, api
	Commit string    `json:"commit,omitempty"`
	URL    string    `json:"url,omitempty"` // of the review or the comment
	At     time.Time `json:"at,omitzero"`
}

// Request names the pull request for people: "pull request #12", "" for none.
func (o *Origin) Request() string {
	if o == nil || o.Number == 0 {
		return ""
	}
	noun, sign := o.Noun, "#"
	if noun == "" {
		noun = "pull request"
	}
	if o.Forge == "gitlab" {
		sign = "!"
	}
	return fmt.Sprintf("%s %s%d", noun, sign, o.Number)
}

// Approvers names those who approved, in order of time, once each.
func (o *Origin) Approvers() []string {
	if o == nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, a := range o.Approved {
		if name := a.String(); name != "" && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
