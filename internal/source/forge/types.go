package forge

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// EventKind is what a delivery is about.
type EventKind string

// The kinds of events.
const (
	Ignored     EventKind = ""            // nothing that trueup acts on
	Ping        EventKind = "ping"        // the forge tries the hook
	Pushed      EventKind = "push"        // a branch or tag moved
	PullChanged EventKind = "pull"        // a pull request was opened, updated, closed, merged or reviewed
	Commented   EventKind = "comment"     // a comment on a pull request
	MergeQueue  EventKind = "merge_queue" // a merge group asks for its checks
)

// Event is a delivery in trueup's words. Everything in it is the sender's
// claim: it says where to look, not what is true.
type Event struct {
	Kind EventKind
	// Delivery is the sender's id of the delivery, "" for none.
	Delivery string
	Project  string // as in Info.Project
	Ref      string // of a push or a merge group, in full
	Commit   string // the ref's new commit, or the merge group's head
	Number   int    // of the pull request
	Action   string // the sender's own word: opened, synchronize, merged, …
	// CommentID, Author and Body describe a comment. Edited ones come again
	// under the same id.
	CommentID string
	Author    string
	Body      string
}

// PullRequest is a pull or merge request as the API tells it.
//
//house:exception one record of facts, as the forges give them
type PullRequest struct {
	Number int
	Title  string
	State  string // open, closed, merged
	Draft  bool
	Author string // login
	URL    string
	// Base is the branch it goes to, Head the branch it comes from, without
	// refs/heads/. HeadCommit is the head's commit now.
	Base, Head, HeadCommit string
	BaseCommit             string // where the base branch is, as far as the forge says
	// HeadProject is the repository of the head; another than Info.Project
	// (or "" for one that was deleted) is a fork.
	HeadProject string
	Fork        bool
	MergeCommit string // of a merged one
	MergedBy    string // login
	UpdatedAt   time.Time
	Labels      []string
}

// File is a path that a pull request changes.
type File struct {
	Path    string
	OldPath string // of a rename
	Status  string // added, modified, removed, renamed
}

// Review is a reviewer's last word.
type Review struct {
	User   string
	State  string // approved, rejected, commented
	Commit string // that was reviewed, "" where the forge does not say
	// Stale tells that the forge itself counts the review no longer.
	Stale bool
	At    time.Time
	URL   string
}

// Comment is a comment of a pull request.
type Comment struct {
	ID     string
	Author string
	Body   string
	URL    string
	At     time.Time
	// Edited tells that the text is not the one that was written first. Forges
	// let others than the author edit comments, and keep the author's name on
	// them.
	Edited bool
	// Own tells that trueup's own account wrote it.
	Own bool
}

// Reaction is a short answer to a comment.
type Reaction string

// The reactions: seen and working on it; done; refused.
const (
	Seen    Reaction = "seen"
	Done    Reaction = "done"
	Refused Reaction = "refused"
)

// StatusState is the state of a commit status.
type StatusState string

// The states of a commit status.
const (
	StatusPending StatusState = "pending"
	StatusSuccess StatusState = "success"
	StatusFailure StatusState = "failure"
	StatusError   StatusState = "error"
)

// Status is a commit status.
type Status struct {
	Commit      string
	Context     string // "trueup/plan"
	State       StatusState
	Description string // shortened to what the forge takes
	URL         string
	// Ref is the branch, for forges that ask for it; may be empty.
	Ref string
}

// Permission orders what somebody may do with a repository.
type Permission int

// The permissions.
const (
	NoAccess Permission = iota
	CanRead
	CanTriage
	CanWrite // may merge
	CanMaintain
	CanAdmin
)

// Annotation is a finding at a place in a file.
type Annotation struct {
	Path    string
	Line    int    // from 1; 0 is the whole file
	Level   string // error, warning, notice
	Message string
}

// Deployment is a record of what was put where.
type Deployment struct {
	ID          string // as Deploy gave it; "" makes a new one
	Commit, Ref string
	Environment string
	State       string // pending, running, success, failure, inactive
	Description string
	URL         string // of the run
	Run         string
}

// Hook is a webhook at the forge.
type Hook struct {
	ID     string
	URL    string
	Secret string `json:"-"`
	Active bool
	Events []string // the forge's own names
	// Delivered tells that the forge knows how the last delivery went.
	Delivered bool
	// LastError says how the last delivery went wrong, "" for well or unknown.
	LastError string
}

// Proposal is a pull request to open.
type Proposal struct {
	Base, Head  string // branches
	Title, Body string
	Labels      []string
	Draft       bool
}

// Standing is what credentials are worth.
type Standing struct {
	Account string // login
	Kind    string // "personal access token", "GitHub App"
	Expires time.Time
	// DefaultBranch of the repository, "" where it was not asked for.
	DefaultBranch string
	// Missing are rights that trueup needs and the credentials lack, each with
	// what it is for: "statuses: write, for trueup/plan". Unknown is what the
	// forge does not tell.
	Missing, Unknown []string
}

// Shorten cuts a text to at most n characters and marks the cut.
func Shorten(text string, n int) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:n-1]) + "…"
}

// segment is a name that stands for itself in an address.
var segment = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$|^\.[A-Za-z0-9_~-][A-Za-z0-9._~-]*$`)

// SplitProject splits owner/name, and says what it wants where it is another
// form.
func SplitProject(project string) (owner, name string, err error) {
	owner, name, ok := strings.Cut(project, "/")
	name = strings.TrimSuffix(name, ".git")
	if !ok || !segment.MatchString(owner) || !segment.MatchString(name) {
		return "", "", fmt.Errorf("the repository on the forge is %q: write owner/name", project)
	}
	return owner, name, nil
}
