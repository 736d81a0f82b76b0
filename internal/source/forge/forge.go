// Package forge is what trueup needs of the place that hosts a repository and
// its pull requests: GitHub, GitLab, Bitbucket, Gitea and Forgejo. A webhook
// is a hint only: every fact is read again from the API. The kinds of forge
// are in the packages below this one; the engine knows the interfaces alone.
package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"trueup.dev/trueup/internal/secret"
)

// Forge is one repository on a forge. It is safe for concurrent use. Calls
// honour the forge's rate limits; errors wrap ErrNotFound, ErrDenied,
// ErrUnreachable or a LimitedError where one of them fits.
type Forge interface {
	Info() Info
	Webhooks
	PullRequests
	Comments
	Reporter
}

// Info describes a connected forge.
type Info struct {
	Kind    string // github, gitlab, bitbucket, bitbucketdc, gitea
	Name    string // as people write it, "GitHub"
	Project string // owner/name, or the whole group path on GitLab
	WebURL  string // of the repository, for links
	// Noun is what the forge calls a pull request: "pull request", "merge request".
	Noun string
	// HeadRef and MergeRef are printf patterns of the refs under which the
	// forge keeps a pull request's head and its merge result, with the number
	// for %d; "" where it keeps none.
	HeadRef, MergeRef string
	// CommentLimit is the most characters that a comment may have.
	CommentLimit int
	// HookEvents are those that PutHook asks for when none are given.
	HookEvents []string
	// Collapse tells that <details> works in comments.
	Collapse bool
}

// Webhooks takes deliveries. Neither method speaks with the forge.
type Webhooks interface {
	// Verify checks a delivery's signature over its raw body against each
	// secret, in constant time. It gives ErrSignature when none fits.
	Verify(h http.Header, body []byte, secrets []secret.Value) error
	// Parse reads a delivery that was verified. What trueup has no use for
	// gives an Event of kind Ignored, never an error; the error is for a body
	// that is not what its own headers say.
	Parse(h http.Header, body []byte) (Event, error)
}

// PullRequests reads pull requests.
type PullRequests interface {
	PullRequest(ctx context.Context, number int) (PullRequest, error)
	// Open lists the open pull requests, so that a poll catches up with missed
	// deliveries. Fields that the forge's list leaves out stay zero.
	Open(ctx context.Context) ([]PullRequest, error)
	// Files lists the paths that a pull request changes, old names included.
	Files(ctx context.Context, number int) ([]File, error)
	// Reviews gives the last standing of each reviewer.
	Reviews(ctx context.Context, number int) ([]Review, error)
	// MergedBy gives the merged pull request that brought a commit to its base
	// branch, ErrNotFound where there is none (a direct push).
	MergedBy(ctx context.Context, commit string) (PullRequest, error)
}

// Comments reads and writes a pull request's comments.
type Comments interface {
	// List gives all comments, oldest first.
	List(ctx context.Context, number int) ([]Comment, error)
	// Add writes a new comment.
	Add(ctx context.Context, number int, body string) (Comment, error)
	// Edit replaces a comment's text.
	Edit(ctx context.Context, number int, id, body string) error
	// React answers a comment with a sign; a forge without reactions gives
	// ErrUnsupported, and the caller answers in words.
	React(ctx context.Context, number int, id string, r Reaction) error
}

// Reporter tells the forge what trueup did, and asks who may do what.
type Reporter interface {
	// SetStatus sets the status of a commit under its context; the newest
	// counts.
	SetStatus(ctx context.Context, s Status) error
	// Permission gives what a user may do with the repository.
	Permission(ctx context.Context, user string) (Permission, error)
	// InTeam tells whether a user belongs to a team: "org/team", a GitLab group
	// path, a Bitbucket workspace group. One that can't be read is an error.
	InTeam(ctx context.Context, team, user string) (bool, error)
	// Propose opens a pull request for a branch that was pushed, or gives the
	// open one of that branch with its text brought up to date.
	Propose(ctx context.Context, p Proposal) (PullRequest, error)
}

// Annotator is a Forge that can show findings at lines of files.
type Annotator interface {
	// Annotate replaces the findings of a commit under a name. Where the
	// credentials can't do that it gives ErrUnsupported, and the findings are
	// for the comment alone.
	Annotate(ctx context.Context, commit, name string, a []Annotation) error
}

// Deployer is a Forge that keeps records of deployments.
type Deployer interface {
	// Deploy records a deployment, or the new state of the one that an earlier
	// call for the same environment, commit and run gave; it returns the id to
	// hand in again.
	Deploy(ctx context.Context, d Deployment) (id string, err error)
}

// HookAdmin is a Forge whose webhooks can be set up through the API.
type HookAdmin interface {
	Hooks(ctx context.Context) ([]Hook, error)
	// PutHook creates the hook with that URL or brings it up to date. Without
	// events it asks for those that trueup acts on.
	PutHook(ctx context.Context, h Hook) (Hook, error)
	DeleteHook(ctx context.Context, id string) error
}

// Protector is a Forge that tells which statuses a branch asks for.
type Protector interface {
	// RequiredStatuses lists the contexts that must be green before a merge
	// into the branch, "*" where the forge asks for all of them; the error wraps
	// ErrDenied where the token may not ask.
	RequiredStatuses(ctx context.Context, branch string) ([]string, error)
}

// Examiner is a Forge that tells what its credentials are worth.
type Examiner interface {
	// Examine asks who the credentials are and what they may do. The error is
	// for credentials that don't work at all.
	Examine(ctx context.Context) (Standing, error)
}

// Gitter is a Forge whose credentials open the repository for Git as well.
type Gitter interface {
	// GitToken gives a token for git over https, ErrUnsupported where these
	// credentials give none. It may change from call to call.
	GitToken(ctx context.Context) (secret.Value, error)
}

// Errors of forges.
var (
	// ErrSignature: the delivery is not signed by a known secret.
	ErrSignature = errors.New("the signature is missing or wrong")
	// ErrNotFound: the forge has no such thing, or hides it.
	ErrNotFound = errors.New("not found on the forge")
	// ErrDenied: the credentials are wrong or may not do this.
	ErrDenied = errors.New("the forge refused the credentials")
	// ErrUnreachable: the forge did not answer; try again later.
	ErrUnreachable = errors.New("the forge is unreachable")
	// ErrIncomplete: the forge gives a part of the list only.
	ErrIncomplete = errors.New("the forge gives a part of it only")
	// ErrUnsupported: this forge has no such feature.
	ErrUnsupported = errors.New("not supported by this forge")
)

// LimitedError is a rate limit that would make a call wait too long.
type LimitedError struct{ Until time.Time }

// Error says until when.
func (e LimitedError) Error() string {
	return fmt.Sprintf("the forge's rate limit is used up until %s", e.Until.Format(time.RFC3339))
}
