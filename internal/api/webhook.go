package api

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

const (
	// maxHook bounds a delivery; what is larger is made up for by the poll.
	maxHook = 4 << 20
	// hookTimeout bounds how long the body of a delivery may take to come.
	hookTimeout = 10 * time.Second
	// maxHooks is how many deliveries are read at the same time.
	maxHooks = 16
)

// webhook takes a delivery as a hint where to look, nothing more. The
// signature is checked over the raw body before anything in it is looked at.
// Without a secret there is no endpoint.
func (s *Server) webhook(w http.ResponseWriter, r *http.Request) error {
	missing := fault(http.StatusNotFound, "not_found", "there is nothing here")
	name := r.PathValue("repository")
	repo := s.Config().Repositories[name]
	if repo == nil || len(repo.WebhookSecrets) == 0 {
		return missing
	}
	secrets := s.webhookSecrets(r.Context(), name, repo.WebhookSecrets)
	if len(secrets) == 0 {
		return missing
	}
	body, err := s.hookBody(w, r)
	if err != nil {
		return err
	}
	ev, err := s.delivered(r, repo, body, secrets)
	if err != nil {
		return err
	}
	id := cmp.Or(ev.Delivery, delivery(r.Header))
	if !s.deliveries.first(name, id) {
		return reply(w, http.StatusAccepted, Done{OK: true})
	}
	if ev.Kind == forge.Ignored || ev.Kind == forge.Ping {
		return reply(w, http.StatusOK, Done{OK: true})
	}
	if err := s.Actions.Event(r.Context(), name, ev); err != nil {
		s.deliveries.forget(name, id)
		return err
	}
	return reply(w, http.StatusAccepted, Done{OK: true})
}

// hookBody reads a delivery, which has to come soon; only so many are read at
// the same time.
func (s *Server) hookBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	select {
	case s.hooks <- struct{}{}:
		defer func() { <-s.hooks }()
	default:
		return nil, fault(http.StatusServiceUnavailable, "unavailable", "too many deliveries at once; send it again later")
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(hookTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	body, err := io.ReadAll(r.Body) // bounded by the middleware
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fault(http.StatusRequestTimeout, "timeout", "the body took too long")
	}
	return body, err
}

// delivered checks the signature and gives what the delivery is about: in the
// words of the repository's forge, or, where it is signed in trueup's own way,
// a push.
func (s *Server) delivered(r *http.Request, repo *config.Repository, body []byte, secrets []secret.Value) (forge.Event, error) {
	wrong := fault(http.StatusUnauthorized, "unauthenticated", "the signature is missing or wrong")
	pushed := forge.Event{Kind: forge.Pushed}
	if repo.Forge == nil || s.Forge == nil || r.Header.Get(ownSignature) != "" {
		if !signed(r.Header, body, secrets) {
			return pushed, wrong
		}
		return pushed, nil
	}
	f, err := s.Forge(r.Context(), repo.Name)
	if err != nil {
		s.Log.Error("the forge of a repository can't be used; its deliveries are refused", "repository", repo.Name, "error", err)
		return pushed, fault(http.StatusServiceUnavailable, "unavailable", "the forge can't be used now")
	}
	if err := f.Verify(r.Header, body, secrets); err != nil {
		return pushed, wrong
	}
	ev, err := f.Parse(r.Header, body)
	if err != nil {
		s.Log.Warn("a signed delivery can't be read", "repository", repo.Name, "error", err)
		return ev, fault(http.StatusBadRequest, "invalid", "the body is not what the headers say")
	}
	return ev, nil
}

// ownSignature is the header of deliveries that no forge sends: a hook script
// on a plain Git server.
const ownSignature = "X-Trueup-Signature"

// webhookSecrets resolves the secrets; one that can't be had, or is empty,
// opens nothing.
func (s *Server) webhookSecrets(ctx context.Context, name string, refs []secret.Ref) []secret.Value {
	var out []secret.Value
	for _, ref := range refs {
		v, err := s.Resolve(ctx, ref)
		if err != nil || v.Empty() {
			s.Log.Error("a webhook secret can't be used", "repository", name, "secret", string(ref), "error", err)
			continue
		}
		out = append(out, v)
	}
	return out
}

// signed compares the signature with that of every secret, each in constant
// time, without stopping at the first.
func signed(h http.Header, body []byte, secrets []secret.Value) bool {
	var given []byte
	for _, name := range []string{"X-Hub-Signature-256", ownSignature} {
		text, ok := strings.CutPrefix(h.Get(name), "sha256=")
		if !ok {
			continue
		}
		if b, err := hex.DecodeString(text); err == nil {
			given = b
			break
		}
	}
	ok := false
	for _, v := range secrets {
		mac := hmac.New(sha256.New, []byte(v.Reveal()))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), given) {
			ok = true
		}
	}
	return ok
}

// delivery gives the sender's id of a delivery, "" for none.
func delivery(h http.Header) string {
	for _, name := range []string{"X-Trueup-Delivery", "X-GitHub-Delivery", "X-Gitea-Delivery", "X-Request-UUID"} {
		if id := h.Get(name); id != "" && len(id) <= 128 {
			return id
		}
	}
	return ""
}

// deliveries remembers the ids of the last deliveries. A replay that is older
// causes one fetch, which is harmless.
type deliveries struct {
	mu   sync.Mutex
	seen map[string]bool
	ring []string
	next int
}

const keptDeliveries = 4096

func newDeliveries() *deliveries {
	return &deliveries{seen: map[string]bool{}, ring: make([]string, keptDeliveries)}
}

func (d *deliveries) first(repository, id string) bool {
	if id == "" {
		return true
	}
	key := repository + "\x00" + id
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[key] {
		return false
	}
	delete(d.seen, d.ring[d.next])
	d.ring[d.next], d.seen[key] = key, true
	d.next = (d.next + 1) % len(d.ring)
	return true
}

func (d *deliveries) forget(repository, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, repository+"\x00"+id)
}
