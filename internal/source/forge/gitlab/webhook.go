package gitlab

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// tolerance is how far the time of a signed delivery may be from now.
const tolerance = 5 * time.Minute

// signingPrefix begins every signing token of GitLab.
const signingPrefix = "whsec_"

// Verify checks a delivery in GitLab's two ways. A secret that begins with
// whsec_ is a signing token: the header webhook-signature holds "v1," and the
// base64 of HMAC-SHA256 over "{webhook-id}.{webhook-timestamp}.{body}", keyed
// with what the token holds in base64 behind its prefix (GitLab's merge requests
// 230944 and 231325; the form is that of Standard Webhooks). Any other secret
// is a secret token, which GitLab sends as it is in X-Gitlab-Token.
func (f *Forge) Verify(h http.Header, body []byte, secrets []secret.Value) error {
	var tokens []secret.Value
	ok := false
	for _, s := range secrets {
		if enc, signing := strings.CutPrefix(s.Reveal(), signingPrefix); signing {
			ok = f.signed(h, body, enc) || ok
		} else {
			tokens = append(tokens, s)
		}
	}
	if forge.SameToken(h.Get("X-Gitlab-Token"), tokens) != nil && !ok {
		return forge.ErrSignature
	}
	return nil
}

func (f *Forge) signed(h http.Header, body []byte, encoded string) bool {
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return false
	}
	id, at := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || id == "" {
		return false
	}
	if off := f.now().Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return false
	}
	keys := []secret.Value{secret.New(string(key))}
	ok := false
	// Several signatures may stand there, separated by spaces, while a token
	// is being changed.
	for i, part := range strings.Fields(h.Get("Webhook-Signature")) {
		text, v1 := strings.CutPrefix(part, "v1,")
		given, err := base64.StdEncoding.DecodeString(text)
		if !v1 || err != nil || i >= maxSignatures {
			continue
		}
		ok = forge.SignedBytes(given, keys, []byte(id+"."+at+"."), body) == nil || ok
	}
	return ok
}

const maxSignatures = 8

// payload has what trueup reads of GitLab's deliveries ("Webhook events" in
// GitLab's documentation).
type payload struct {
	Kind    string `json:"object_kind"`
	Ref     string `json:"ref"`
	After   string `json:"after"`
	Project struct {
		Path string `json:"path_with_namespace"`
	} `json:"project"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	Attributes   attributes `json:"object_attributes"`
	MergeRequest *struct {
		IID        int `json:"iid"`
		LastCommit struct {
			ID string `json:"id"`
		} `json:"last_commit"`
	} `json:"merge_request"`
}

// attributes are those of a merge request, a note or a pipeline.
type attributes struct {
	ID           json.Number `json:"id"`
	IID          int         `json:"iid"`
	Action       string      `json:"action"`
	Note         string      `json:"note"`
	NoteableType string      `json:"noteable_type"`
	System       bool        `json:"system"`
	Ref          string      `json:"ref"`
	SHA          string      `json:"sha"`
	Status       string      `json:"status"`
	LastCommit   struct {
		ID string `json:"id"`
	} `json:"last_commit"`
}

// kinds are the events that trueup reads, with the object_kind of each.
var kinds = map[string]string{
	"Push Hook":          "push",
	"Tag Push Hook":      "tag_push",
	"Merge Request Hook": "merge_request",
	"Note Hook":          "note",
	"Pipeline Hook":      "pipeline",
}

// Parse reads a delivery.
func (f *Forge) Parse(h http.Header, body []byte) (forge.Event, error) {
	e := forge.Event{Delivery: delivery(h)}
	kind, known := kinds[h.Get("X-Gitlab-Event")]
	if !known {
		return e, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("a delivery of GitLab (%s) can't be read: %w", kind, err)
	}
	if p.Kind != kind {
		return forge.Event{}, fmt.Errorf("a delivery of GitLab says %s in its header and %.40q in its body", kind, p.Kind)
	}
	e.Project, e.Author = p.Project.Path, p.User.Username
	switch kind {
	case "push", "tag_push":
		e.Kind, e.Ref, e.Commit, e.Author = forge.Pushed, p.Ref, present(p.After), ""
	case "merge_request":
		e.Kind, e.Number, e.Action = forge.PullChanged, p.Attributes.IID, p.Attributes.Action
		e.Commit = p.Attributes.LastCommit.ID
	case "note":
		p.note(&e)
	case "pipeline":
		p.pipeline(&e)
	}
	if e.Number < 0 || e.Number == 0 && (e.Kind == forge.PullChanged || e.Kind == forge.Commented) {
		return forge.Event{}, fmt.Errorf("a delivery of GitLab (%s) names no merge request", kind)
	}
	return e, nil
}

// note takes a comment of a merge request that a person wrote.
func (p *payload) note(e *forge.Event) {
	if p.Attributes.NoteableType != "MergeRequest" || p.Attributes.System || p.MergeRequest == nil {
		return
	}
	e.Kind, e.Number, e.Action = forge.Commented, p.MergeRequest.IID, p.Attributes.Action
	e.CommentID, e.Body, e.Commit = p.Attributes.ID.String(), p.Attributes.Note, p.MergeRequest.LastCommit.ID
}

// trainRef is the ref of a merge train's pipeline.
var trainRef = regexp.MustCompile(`^refs/merge-requests/([1-9][0-9]{0,9})/train$`)

// pipeline takes the start of a merge train's pipeline: that is how a merge
// train asks for its checks. Other pipelines are none of our business.
func (p *payload) pipeline(e *forge.Event) {
	m := trainRef.FindStringSubmatch(p.Attributes.Ref)
	if m == nil {
		return
	}
	switch p.Attributes.Status {
	case "created", "waiting_for_resource", "preparing", "pending", "running":
	default:
		return
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return
	}
	e.Kind, e.Number, e.Action = forge.MergeQueue, n, p.Attributes.Status
	e.Ref, e.Commit = p.Attributes.Ref, p.Attributes.SHA
}

// present gives "" for the id of nothing.
func present(commit string) string {
	if strings.Trim(commit, "0") == "" {
		return ""
	}
	return commit
}

// delivery gives the id of a delivery, which stays the same when it is tried
// again, or "".
func delivery(h http.Header) string {
	for _, name := range []string{"Webhook-Id", "Idempotency-Key", "X-Gitlab-Event-Uuid"} {
		if id := h.Get(name); id != "" && len(id) <= 128 {
			return id
		}
	}
	return ""
}
