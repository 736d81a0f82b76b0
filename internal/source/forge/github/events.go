package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// Verify checks X-Hub-Signature-256 over the raw body.
func (f *Forge) Verify(h http.Header, body []byte, secrets []secret.Value) error {
	given, ok := strings.CutPrefix(h.Get("X-Hub-Signature-256"), "sha256=")
	if !ok {
		return forge.ErrSignature
	}
	return forge.Signed(given, secrets, body)
}

// delivery is what trueup reads of a delivery, and nothing more: the facts
// come from the API.
type delivery struct {
	Action     string `json:"action"`
	Ref        string `json:"ref"`
	After      string `json:"after"`
	Deleted    bool   `json:"deleted"`
	Number     int    `json:"number"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	PullRequest struct {
		Number int `json:"number"`
	} `json:"pull_request"`
	Issue struct {
		Number      int             `json:"number"`
		PullRequest json.RawMessage `json:"pull_request"`
	} `json:"issue"`
	Comment struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
		User struct {
			Login string `json:"login"`
		} `json:"user"`
	} `json:"comment"`
	MergeGroup struct {
		HeadRef string `json:"head_ref"`
		HeadSHA string `json:"head_sha"`
	} `json:"merge_group"`
}

// pullActions are what can change a plan, or who may approve it.
var pullActions = map[string]bool{"opened": true, "reopened": true, "synchronize": true, "closed": true, "edited": true, "ready_for_review": true,
	"converted_to_draft": true}

var reviewActions = map[string]bool{"submitted": true, "edited": true, "dismissed": true}

// Parse reads a delivery.
func (f *Forge) Parse(h http.Header, body []byte) (forge.Event, error) {
	e := forge.Event{Delivery: h.Get("X-GitHub-Delivery")}
	kind := h.Get("X-GitHub-Event")
	switch kind {
	case "ping", "push", "pull_request", "pull_request_review", "issue_comment", "merge_group":
	default:
		return e, nil
	}
	body, err := content(h, body)
	if err != nil {
		return e, err
	}
	var d delivery
	if err := json.Unmarshal(body, &d); err != nil {
		return e, fmt.Errorf("the delivery of a %s can't be read: %w", kind, err)
	}
	e.Project, e.Action = d.Repository.FullName, d.Action
	switch {
	case kind == "ping":
		e.Kind = forge.Ping
	case kind == "push":
		e.Kind, e.Ref = forge.Pushed, d.Ref
		if !d.Deleted && strings.Trim(d.After, "0") != "" {
			e.Commit = d.After
		}
	case kind == "pull_request" && pullActions[d.Action]:
		e.Kind, e.Number = forge.PullChanged, max(d.Number, d.PullRequest.Number)
	case kind == "pull_request_review" && reviewActions[d.Action]:
		e.Kind, e.Number = forge.PullChanged, d.PullRequest.Number
	case kind == "issue_comment" && len(d.Issue.PullRequest) > 0 && string(d.Issue.PullRequest) != "null" && (d.Action == "created" || d.Action == "edited"):
		e.Kind, e.Number = forge.Commented, d.Issue.Number
		e.CommentID, e.Author, e.Body = strconv.FormatInt(d.Comment.ID, 10), d.Comment.User.Login, d.Comment.Body
	case kind == "merge_group" && d.Action == "checks_requested":
		e.Kind, e.Ref, e.Commit = forge.MergeQueue, d.MergeGroup.HeadRef, d.MergeGroup.HeadSHA
	}
	return e, complete(kind, e)
}

// complete refuses a delivery that lacks what its kind always has.
func complete(kind string, e forge.Event) error {
	missing := ""
	switch {
	case e.Kind == forge.Ignored || e.Kind == forge.Ping:
	case e.Project == "":
		missing = "repository"
	case (e.Kind == forge.PullChanged || e.Kind == forge.Commented) && e.Number <= 0:
		missing = "number"
	case e.Kind == forge.Pushed && e.Ref == "", e.Kind == forge.MergeQueue && (e.Ref == "" || e.Commit == ""):
		missing = "ref or commit"
	case e.Kind == forge.Commented && e.CommentID == "0":
		missing = "comment id"
	}
	if missing != "" {
		return fmt.Errorf("the delivery of a %s has no %s", kind, missing)
	}
	return nil
}

// content takes the JSON out of a body, which GitHub sends as a form where the
// webhook was set up so.
func content(h http.Header, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("payload") {
		return nil, errors.New("the delivery is a form without a payload: set the webhook's content type to application/json")
	}
	return []byte(form.Get("payload")), nil
}
