package vault

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"context"

	"trueup.dev/trueup/internal/secret"
)

func TestParseReference(t *testing.T) {
	for text, want := range map[string]Reference{
		"kv/dns#tsig":      {Path: "kv/dns", Field: "tsig"},
		"/kv/a/b/#k":       {Path: "kv/a/b", Field: "k"},
		"kv/dns#tsig@3":    {Path: "kv/dns", Field: "tsig", Version: 3},
		"db/creds/r#a.b-c": {Path: "db/creds/r", Field: "a.b-c"},
	} {
		if got, err := ParseReference(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "kv/dns", "#x", "kv/dns#", "kv/../sys#x", "kv//a#x", "kv/dns#tsig@0", "kv/dns#tsig@new"} {
		if got, err := ParseReference(text); err == nil {
			t.Errorf("%s is taken as %+v", text, got)
		}
	}
}

// answers plays a Vault that answers every path by its status and body.
func answers(t *testing.T, status int, body any) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(s.Close)
	c, err := New(Options{Address: s.URL, Auth: Auth{Method: "approle", Role: "r",
		Secret: func(context.Context) (secret.Value, error) { return secret.New("canary-id"), nil }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestTroubleIsSaidWithoutSecrets(t *testing.T) {
	for status, word := range map[int]string{400: "refused (status 400)", 403: "refused (status 403)", 404: "not found", 500: "status 500"} {
		c := answers(t, status, map[string]any{"errors": []string{"invalid"}})
		_, err := c.Resolve(t.Context(), "kv/a#b")
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "canary") {
			t.Errorf("status %d: %v", status, err)
		}
	}
	c := answers(t, 200, map[string]any{"auth": nil})
	if _, err := c.Resolve(t.Context(), "kv/a#b"); err == nil || !strings.Contains(err.Error(), "gave no token") {
		t.Errorf("a login without a token: %v", err)
	}
}

func TestNothingComesFromTheEnvironment(t *testing.T) {
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", "canary-env")
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("X-Vault-Token"))
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer s.Close()
	c, err := New(Options{Address: s.URL, Auth: Auth{Method: "token",
		Secret: func(context.Context) (secret.Value, error) { return secret.New("given"), nil }}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Resolve(t.Context(), "kv/a#b")
	if err == nil || errors.Is(err, secret.ErrNotFound) || len(seen) == 0 || seen[0] != "given" {
		t.Errorf("%v with the tokens %v", err, seen)
	}
}
