package mailbox_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/agent/mailbox"
	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// rig is a mailbox with one agent.
type rig struct {
	*testing.T
	store store.Store
	h     http.Handler
	key   ed25519.PrivateKey
	now   time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, now: time.Now()}
	st, err := sql.Open(t.Context(), sql.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	r.store = st
	o, err := mailbox.New(t.Context(), mailbox.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	r.h = o.Handler()
	tok, _, err := o.Token(t.Context(), "user:alice", []string{"web1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, r.key, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(wire.Enrol{Host: "web1", Token: tok.Reveal(), PublicKey: r.key.Public().(ed25519.PublicKey),
		Proof: wire.Prove(r.key, "web1", wire.TokenHash(tok.Reveal()))})
	if code := r.send(httptest.NewRequest(http.MethodPost, wire.PathEnrol, bytes.NewReader(body))); code != http.StatusOK {
		t.Fatalf("enrol: %d", code)
	}
	return r
}

func (r *rig) send(q *http.Request) int {
	rec := httptest.NewRecorder()
	r.h.ServeHTTP(rec, q)
	return rec.Code
}

func (r *rig) call(path, body string) *http.Request {
	q := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	wire.SignCall(q, r.key, "web1", "boot", []byte(body), r.now)
	return q
}

func TestCallsThatAreRefused(t *testing.T) {
	r := newRig(t)
	if code := r.send(r.call(wire.PathPoll, `{"wait":0}`)); code != http.StatusOK {
		t.Fatalf("a good poll gives %d", code)
	}
	again := r.call(wire.PathPoll, `{"wait":0}`)
	replay := again.Clone(t.Context())
	again.Body, replay.Body = body(`{"wait":0}`), body(`{"wait":0}`)
	if code := r.send(again); code != http.StatusOK {
		t.Fatalf("a good poll gives %d", code)
	}
	if code := r.send(replay); code != http.StatusUnauthorized {
		t.Errorf("a replay gives %d", code)
	}
	tampered := r.call(wire.PathPoll, `{"wait":0}`)
	tampered.Body = body(`{"wait":9}`)
	if code := r.send(tampered); code != http.StatusUnauthorized {
		t.Errorf("another body gives %d", code)
	}
	r.now = r.now.Add(-10 * time.Minute)
	if code := r.send(r.call(wire.PathPoll, `{}`)); code != http.StatusUnauthorized {
		t.Errorf("an old call gives %d", code)
	}
	r.now = r.now.Add(10 * time.Minute)
	for path, hostile := range map[string]string{wire.PathPoll: "[", wire.PathMessage: `{"request":5}`, wire.PathContent: "\xff",
		wire.PathDrift: `{"id":"","target":"t"}`, wire.PathRenew: `{"publicKey":"AAAA","proof":"AAAA"}`} {
		if code := r.send(r.call(path, hostile)); code != http.StatusBadRequest {
			t.Errorf("%s with %q gives %d", path, hostile, code)
		}
	}
	if code := r.send(r.call(wire.PathPoll, strings.Repeat("x", wire.MaxSmall+1))); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body gives %d", code)
	}
	if code := r.send(r.call(wire.PathDrift, `{"id":"x","target":"t","results":[{"scope":"web2","address":"/etc/x"}]}`)); code != http.StatusBadRequest {
		t.Errorf("drift of another host gives %d", code)
	}
	if code := r.send(httptest.NewRequest(http.MethodGet, "/agent/v1/poll", nil)); code != http.StatusNotFound {
		t.Errorf("GET gives %d", code)
	}
}

// TestStrangersAreSlowedDown: guessing ends soon.
func TestStrangersAreSlowedDown(t *testing.T) {
	r := newRig(t)
	last := 0
	for range 100 {
		q := r.call(wire.PathPoll, `{}`)
		q.Header.Set("Trueup-Signature", base64.StdEncoding.EncodeToString(make([]byte, 64)))
		if last = r.send(q); last == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("a hundred wrong signatures in a row still give %d", last)
}

// TestRenewal replaces the key, and the old one is refused from then on.
func TestRenewal(t *testing.T) {
	r := newRig(t)
	_, fresh, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := json.Marshal(wire.Renew{PublicKey: fresh.Public().(ed25519.PublicKey), Proof: wire.Prove(fresh, "web1", "renew")})
	if code := r.send(r.call(wire.PathRenew, string(q))); code != http.StatusOK {
		t.Fatalf("renew gives %d", code)
	}
	if code := r.send(r.call(wire.PathPoll, `{}`)); code != http.StatusUnauthorized {
		t.Errorf("the old key gives %d", code)
	}
	r.key = fresh
	if code := r.send(r.call(wire.PathPoll, `{}`)); code != http.StatusOK {
		t.Errorf("the new key gives %d", code)
	}
}

func body(s string) *reader { return &reader{strings.NewReader(s)} }

type reader struct{ *strings.Reader }

// Close does nothing.
func (*reader) Close() error { return nil }
