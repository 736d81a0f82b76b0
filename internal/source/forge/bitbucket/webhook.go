package bitbucket

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// Verify checks X-Hub-Signature, "sha256=" and the hex HMAC-SHA256 of the
// body ("Manage webhooks", secure webhooks).
func (f *Forge) Verify(h http.Header, body []byte, secrets []secret.Value) error {
	given, ok := strings.CutPrefix(h.Get("X-Hub-Signature"), "sha256=")
	if !ok {
		return forge.ErrSignature
	}
	return forge.Signed(given, secrets, body)
}

// payload has what trueup reads of Bitbucket's deliveries ("Event payloads").
type payload struct {
	Repository repository `json:"repository"`
	Actor      account    `json:"actor"`
	Push       *struct {
		Changes []struct {
			New *pushed `json:"new"`
			Old *pushed `json:"old"`
		} `json:"changes"`
	} `json:"push"`
	PullRequest *struct {
		ID     int      `json:"id"`
		Source endpoint `json:"source"`
	} `json:"pullrequest"`
	Comment *struct {
		ID      json.Number `json:"id"`
		Content struct {
			Raw string `json:"raw"`
		} `json:"content"`
		User account `json:"user"`
	} `json:"comment"`
}

// pushed is a branch or tag.
type pushed struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

func (p *pushed) ref() string {
	switch p.Type {
	case "branch", "named_branch":
		return "refs/heads/" + p.Name
	case "tag", "annotated_tag":
		return "refs/tags/" + p.Name
	}
	return ""
}

// actions gives the word for each pull request event that trueup acts on.
var actions = map[string]string{
	"pullrequest:created":                 "created",
	"pullrequest:updated":                 "updated",
	"pullrequest:approved":                "approved",
	"pullrequest:unapproved":              "unapproved",
	"pullrequest:changes_request_created": "changes_request_created",
	"pullrequest:changes_request_removed": "changes_request_removed",
	"pullrequest:fulfilled":               "fulfilled",
	"pullrequest:rejected":                "rejected",
	"pullrequest:comment_created":         "created",
	"pullrequest:comment_updated":         "updated",
}

// Parse reads a delivery.
func (f *Forge) Parse(h http.Header, body []byte) (forge.Event, error) {
	key := h.Get("X-Event-Key")
	e := forge.Event{Delivery: delivery(h), Action: actions[key]}
	if e.Action == "" && key != "repo:push" {
		return e, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket (%s) can't be read: %w", key, err)
	}
	e.Project = p.Repository.FullName
	switch {
	case key == "repo:push":
		if p.Push == nil {
			return forge.Event{}, fmt.Errorf("a delivery of Bitbucket (%s) holds no push", key)
		}
		p.push(&e)
		return e, nil
	case p.PullRequest == nil || p.PullRequest.ID <= 0:
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket (%s) names no pull request", key)
	}
	e.Kind, e.Number, e.Author = forge.PullChanged, p.PullRequest.ID, p.Actor.id()
	if !strings.HasPrefix(key, "pullrequest:comment_") {
		return e, nil
	}
	if p.Comment == nil || p.Comment.ID == "" {
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket (%s) holds no comment", key)
	}
	e.Kind, e.CommentID, e.Body = forge.Commented, p.Comment.ID.String(), p.Comment.Content.Raw
	e.Author = p.Comment.User.id()
	return e, nil
}

// push takes the one ref that moved; with several the event names none.
func (p *payload) push(e *forge.Event) {
	e.Kind = forge.Pushed
	if len(p.Push.Changes) != 1 {
		return
	}
	c := p.Push.Changes[0]
	switch {
	case c.New != nil:
		e.Ref, e.Commit = c.New.ref(), c.New.Target.Hash
	case c.Old != nil:
		e.Ref = c.Old.ref()
	}
}

// delivery gives the id of a delivery, "" for none.
func delivery(h http.Header) string {
	if id := h.Get("X-Request-UUID"); len(id) <= 128 {
		return id
	}
	return ""
}
