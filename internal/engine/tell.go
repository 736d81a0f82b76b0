package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// What is told to a forge goes through the outbox, one item for each subject.
// An item says what to tell about, not what to say: that is worked out from
// the store when it is delivered. So an older state never overwrites a newer
// one, ten changes make one message, and after a crash the next delivery
// brings the forge to where the store is.

// tellKind is what an item of the outbox is about.
type tellKind string

const (
	tellPull    tellKind = "pull"    // a pull request: comment, status, findings
	tellLanding tellKind = "landing" // a commit: status, deployments
	tellAnswer  tellKind = "answer"  // a command: reaction, answer
	tellStatus  tellKind = "status"  // a commit that is no pull request's head
)

// forgeMessage is an item of the outbox that goes to a forge.
type forgeMessage struct {
	Kind       tellKind `json:"kind"`
	Repository string   `json:"repository"`
	Number     int      `json:"number,omitempty"`
	Commit     string   `json:"commit,omitempty"`
	// Comment, Reaction and Text answer a command.
	Comment  string         `json:"comment,omitempty"`
	Reaction forge.Reaction `json:"reaction,omitempty"`
	Text     string         `json:"text,omitempty"`
	Status   *forge.Status  `json:"status,omitempty"`
}

const forgeKeys = "forge/"

func (m forgeMessage) key() string {
	switch m.Kind {
	case tellPull:
		return fmt.Sprintf("%s%s/pull/%d", forgeKeys, m.Repository, m.Number)
	case tellAnswer:
		return fmt.Sprintf("%s%s/answer/%d/%s", forgeKeys, m.Repository, m.Number, m.Comment)
	}
	return fmt.Sprintf("%s%s/%s/%s", forgeKeys, m.Repository, m.Kind, m.Commit)
}

// tell puts a subject into the outbox. One repository's items go out one
// after the other.
func (e *Engine) tell(ctx context.Context, m forgeMessage) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Outbox, Key: m.key(), Slot: "forge:" + m.Repository,
		Class: store.ByPush, Cause: string(m.Kind), Actor: "system:pulls", Payload: body})
}

// tellAttempts bounds how often an item is tried: with the longest wait of ten
// minutes between attempts that is about two days.
const tellAttempts = 300

// deliverForge brings a forge to where the store is.
func (e *Engine) deliverForge(ctx context.Context, l store.Lease) store.Finish {
	done := store.Finish{Observed: l.Generation, Remove: true}
	var m forgeMessage
	if err := json.Unmarshal(l.Payload, &m); err != nil {
		e.log.Error("a message for a forge can't be read and is dropped", "key", l.Key, "error", err)
		return done
	}
	conf := e.cfg.Load().Repositories[m.Repository]
	if conf == nil || conf.Forge == nil {
		return done
	}
	f, err := e.Forge(ctx, m.Repository)
	if err == nil {
		t := &telling{e: e, cfg: e.cfg.Load(), f: f, lease: l, forgeMessage: m}
		err = t.deliver(ctx)
		done.NextDue = t.again
		done.Remove = t.again.IsZero()
	}
	if err == nil || errors.Is(err, store.ErrFenced) {
		return done
	}
	retry := e.forgeRetry(l, m.Repository, err)
	if l.Attempts < tellAttempts && (retry.RetryAfter > 0 || passing(err)) {
		retry.RetryAfter, retry.Remove = max(retry.RetryAfter, e.backoff(l.Attempts)), false
		e.log.Debug("a forge could not be told; trying again", "key", l.Key, "attempts", l.Attempts, "error", err)
		return retry
	}
	e.log.Error("a message for a forge was given up", "key", l.Key, "error", err)
	if eerr := e.event(ctx, "system:outbox", "forge.lost", "", "", map[string]any{"repository": m.Repository, "kind": m.Kind,
		"number": m.Number, "commit": m.Commit, "error": err.Error()}); eerr != nil {
		e.log.Error("an event could not be recorded", "error", eerr)
	}
	return store.Finish{Observed: l.Generation, Remove: true}
}

// passing tells whether a failure may pass by itself.
func passing(err error) bool {
	var limited forge.LimitedError
	return errors.As(err, &limited) || errors.Is(err, forge.ErrUnreachable)
}

// telling is one delivery to a forge.
type telling struct {
	e     *Engine
	cfg   *active
	f     forge.Forge
	lease store.Lease
	forgeMessage
	again time.Time // deliver again then
}

func (t *telling) deliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	switch t.Kind {
	case tellPull:
		return t.pull(ctx)
	case tellLanding:
		return t.landing(ctx)
	case tellAnswer:
		return t.answer(ctx)
	case tellStatus:
		return t.status(ctx, *t.Status)
	}
	return fmt.Errorf("there is no message of the kind %q", t.Kind)
}

// said gives what was last said about a subject; nothing is the zero value.
func (t *telling) said(ctx context.Context, subject string) (store.Said, error) {
	s, err := t.e.store.Said(ctx, t.Repository, subject)
	if errors.Is(err, store.ErrNotFound) {
		return store.Said{}, nil
	}
	return s, err
}

func (t *telling) say(ctx context.Context, subject, id, hash string) error {
	return t.e.store.Say(ctx, t.lease.Fence, t.Repository, subject, store.Said{ID: id, Hash: hash})
}

// status sets a commit's status, unless it stands like that already.
func (t *telling) status(ctx context.Context, s forge.Status) error {
	subject := "status/" + s.Commit + "/" + s.Context
	have, err := t.said(ctx, subject)
	if err != nil {
		return err
	}
	hash := hashOf(s.State, s.Description, s.URL)
	if have.Hash == hash {
		return nil
	}
	if err := t.e.fail("forge status"); err != nil {
		return err
	}
	if err := t.f.SetStatus(ctx, s); err != nil {
		return fmt.Errorf("status %s: %w", s.Context, err)
	}
	if err := t.e.fail("forge status set"); err != nil {
		return err
	}
	return t.say(ctx, subject, "", hash)
}

// answer reacts to a command and, where there is something to say or the forge
// knows no reactions, answers in a comment.
func (t *telling) answer(ctx context.Context) error {
	subject := "answer/" + t.Comment
	have, err := t.said(ctx, subject)
	if err != nil || have.Hash == hashOf(t.Reaction, t.Text) {
		return err
	}
	text := t.Text
	err = t.f.React(ctx, t.Number, t.Comment, t.Reaction)
	switch {
	case errors.Is(err, forge.ErrUnsupported) && text == "" && t.Reaction == forge.Seen:
		return nil
	case errors.Is(err, forge.ErrUnsupported) && text == "":
		text = "Done."
	case errors.Is(err, forge.ErrUnsupported), errors.Is(err, forge.ErrNotFound):
	case err != nil:
		return fmt.Errorf("reaction: %w", err)
	}
	if text != "" && have.ID == "" {
		c, err := t.f.Add(ctx, t.Number, marker("answer", t.Comment)+"\n"+text)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		have.ID = c.ID
	}
	return t.say(ctx, subject, have.ID, hashOf(t.Reaction, t.Text))
}

// marker is an invisible line by which trueup finds its own comments again.
func marker(kind, id string) string { return "<!-- trueup:" + kind + ":" + id + " -->" }

// markerStart begins every comment of trueup's.
const markerStart = "<!-- trueup:"

// own tells a comment that trueup wrote under a marker.
func own(c forge.Comment, kind, id string) bool {
	return c.Own && strings.HasPrefix(c.Body, marker(kind, id))
}

func hashOf(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%v\x00", p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
