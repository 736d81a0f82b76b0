package bitbucketdc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// Verify checks X-Hub-Signature, "sha256=" and the hex HMAC-SHA256 of the
// body ("Manage webhooks", webhook secrets).
func (f *Forge) Verify(h http.Header, body []byte, secrets []secret.Value) error {
	given, ok := strings.CutPrefix(h.Get("X-Hub-Signature"), "sha256=")
	if !ok {
		return forge.ErrSignature
	}
	return forge.Signed(given, secrets, body)
}

// payload has what trueup reads of the deliveries ("Event payload").
type payload struct {
	EventKey   string     `json:"eventKey"`
	Actor      user       `json:"actor"`
	Repository repository `json:"repository"`
	Changes    []struct {
		RefID  string `json:"refId"`
		ToHash string `json:"toHash"`
		Type   string `json:"type"`
	} `json:"changes"`
	PullRequest *struct {
		ID      int `json:"id"`
		FromRef ref `json:"fromRef"`
		ToRef   ref `json:"toRef"`
	} `json:"pullRequest"`
	Comment *struct {
		ID     json.Number `json:"id"`
		Text   string      `json:"text"`
		Author user        `json:"author"`
	} `json:"comment"`
}

// Parse reads a delivery.
func (f *Forge) Parse(h http.Header, body []byte) (forge.Event, error) {
	key := h.Get("X-Event-Key")
	e := forge.Event{Delivery: delivery(h)}
	switch {
	case key == "diagnostics:ping":
		// The body of a test is {"test": true}.
		e.Kind = forge.Ping
		return e, nil
	case key == "pr:comment:deleted", key == "pr:deleted", key != "repo:refs_changed" && !strings.HasPrefix(key, "pr:"):
		return e, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket Data Center (%.60s) can't be read: %w", key, err)
	}
	if p.EventKey != key {
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket Data Center says %.60q in its header and %.60q in its body", key, p.EventKey)
	}
	if key == "repo:refs_changed" {
		p.push(&e)
		return e, nil
	}
	if p.PullRequest == nil || p.PullRequest.ID <= 0 {
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket Data Center (%.60s) names no pull request", key)
	}
	e.Kind, e.Number, e.Author = forge.PullChanged, p.PullRequest.ID, p.Actor.Name
	e.Project, e.Commit = p.PullRequest.ToRef.Repository.path(), p.PullRequest.FromRef.LatestCommit
	e.Action = strings.TrimPrefix(key, "pr:")
	if !strings.HasPrefix(key, "pr:comment:") {
		return e, nil
	}
	if p.Comment == nil || p.Comment.ID == "" {
		return forge.Event{}, fmt.Errorf("a delivery of Bitbucket Data Center (%.60s) holds no comment", key)
	}
	e.Kind, e.CommentID, e.Body = forge.Commented, p.Comment.ID.String(), p.Comment.Text
	e.Author, e.Action = p.Comment.Author.Name, strings.TrimPrefix(key, "pr:comment:")
	return e, nil
}

// push takes the one ref that moved; with several the event names none.
func (p *payload) push(e *forge.Event) {
	e.Kind, e.Project = forge.Pushed, p.Repository.path()
	if len(p.Changes) != 1 {
		return
	}
	e.Ref = p.Changes[0].RefID
	if p.Changes[0].Type != "DELETE" {
		e.Commit = p.Changes[0].ToHash
	}
}

// delivery gives the id of a delivery, "" for none.
func delivery(h http.Header) string {
	if id := h.Get("X-Request-Id"); len(id) <= 128 {
		return id
	}
	return ""
}
