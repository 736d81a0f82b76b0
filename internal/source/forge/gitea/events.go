package gitea

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// header reads one of Gitea's headers, which Forgejo sends under its own name
// as well.
func header(h http.Header, name string) string {
	if v := h.Get("X-Forgejo-" + name); v != "" {
		return v
	}
	return h.Get("X-Gitea-" + name)
}

// Verify checks the signature over the raw body.
func (f *Forge) Verify(h http.Header, body []byte, secrets []secret.Value) error {
	given := header(h, "Signature")
	if given == "" {
		var ok bool
		if given, ok = strings.CutPrefix(h.Get("X-Hub-Signature-256"), "sha256="); !ok {
			return forge.ErrSignature
		}
	}
	return forge.Signed(given, secrets, body)
}

// delivery is what trueup reads of a delivery, and nothing more: the facts
// come from the API.
type delivery struct {
	Action     string `json:"action"`
	Ref        string `json:"ref"`
	After      string `json:"after"`
	Number     int    `json:"number"`
	IsPull     bool   `json:"is_pull"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	PullRequest *struct {
		Number int `json:"number"`
	} `json:"pull_request"`
	Issue struct {
		Number      int             `json:"number"`
		PullRequest json.RawMessage `json:"pull_request"`
	} `json:"issue"`
	Comment struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
		User user   `json:"user"`
	} `json:"comment"`
}

// pullActions are what can change a plan, or who may approve it.
var pullActions = map[string]bool{"opened": true, "reopened": true, "synchronized": true, "closed": true, "edited": true, "reviewed": true}

// Parse reads a delivery.
func (f *Forge) Parse(h http.Header, body []byte) (forge.Event, error) {
	e := forge.Event{Delivery: header(h, "Delivery")}
	kind := header(h, "Event")
	review := kind == "pull_request_approved" || kind == "pull_request_rejected" || kind == "pull_request_comment"
	if kind != "push" && kind != "pull_request" && kind != "issue_comment" && !review {
		return e, nil
	}
	var d delivery
	if err := json.Unmarshal(body, &d); err != nil {
		return e, fmt.Errorf("the delivery of a %s can't be read (is the webhook's content type application/json?): %w", kind, err)
	}
	e.Project, e.Action = d.Repository.FullName, d.Action
	onPull := d.IsPull || d.PullRequest != nil || len(d.Issue.PullRequest) > 0 && string(d.Issue.PullRequest) != "null"
	switch {
	case kind == "push":
		e.Kind, e.Ref = forge.Pushed, d.Ref
		if strings.Trim(d.After, "0") != "" {
			e.Commit = d.After
		}
	case kind == "pull_request" && pullActions[d.Action], review:
		e.Kind, e.Number = forge.PullChanged, d.Number
		if e.Number == 0 && d.PullRequest != nil {
			e.Number = d.PullRequest.Number
		}
	case kind == "issue_comment" && onPull && (d.Action == "created" || d.Action == "edited"):
		e.Kind, e.Number = forge.Commented, d.Issue.Number
		e.CommentID, e.Author, e.Body = strconv.FormatInt(d.Comment.ID, 10), d.Comment.User.Login, d.Comment.Body
	}
	return e, complete(kind, e)
}

// complete refuses a delivery that lacks what its kind always has.
func complete(kind string, e forge.Event) error {
	missing := ""
	switch {
	case e.Kind == forge.Ignored:
	case e.Project == "":
		missing = "repository"
	case e.Kind == forge.Pushed && e.Ref == "":
		missing = "ref"
	case e.Kind != forge.Pushed && e.Number <= 0:
		missing = "number"
	case e.Kind == forge.Commented && e.CommentID == "0":
		missing = "comment id"
	}
	if missing != "" {
		return fmt.Errorf("the delivery of a %s has no %s", kind, missing)
	}
	return nil
}
