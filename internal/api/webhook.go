package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

// webhook takes a delivery as a hint to fetch, nothing more. The signature is
// checked over the raw body before anything is looked at; the body is not
// parsed at all.
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
	body, err := io.ReadAll(r.Body) // bounded by the middleware
	if err != nil {
		return err
	}
	if !signed(r.Header, body, secrets) {
		return fault(http.StatusUnauthorized, "unauthenticated", "the signature is missing or wrong")
	}
	id := delivery(r.Header)
	if !s.deliveries.first(name, id) {
		return reply(w, http.StatusAccepted, Done{OK: true})
	}
	if err := s.Actions.Poll(r.Context(), store.Actor("webhook:"+name), name); err != nil {
		s.deliveries.forget(name, id)
		return err
	}
	return reply(w, http.StatusAccepted, Done{OK: true})
}

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
	for _, name := range []string{"X-Hub-Signature-256", "X-Trueup-Signature"} {
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
