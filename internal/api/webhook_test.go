package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
)

func sign(key, body string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

func TestWebhook(t *testing.T) {
	w := newWorld(t)
	body := `{"ref":"refs/heads/main"}`
	for _, tt := range []struct {
		name, path, body string
		header           []string
		status           int
	}{
		{"signed", "infra", body, []string{"X-Hub-Signature-256", sign(canary+"-1", body)}, 202},
		{"second secret", "infra", body, []string{"X-Trueup-Signature", sign(canary+"-2", body)}, 202},
		{"no signature", "infra", body, nil, 401},
		{"wrong key", "infra", body, []string{"X-Hub-Signature-256", sign("x", body)}, 401},
		{"other body", "infra", body + " ", []string{"X-Hub-Signature-256", sign(canary+"-1", body)}, 401},
		{"empty key", "infra", body, []string{"X-Hub-Signature-256", sign("", body)}, 401},
		{"not hex", "infra", body, []string{"X-Hub-Signature-256", "sha256=zz"}, 401},
		{"empty signature", "infra", body, []string{"X-Hub-Signature-256", "sha256="}, 401},
		{"sha1", "infra", body, []string{"X-Hub-Signature", "sha1=00"}, 401},
		{"no secret configured", "quiet", body, []string{"X-Hub-Signature-256", sign("", body)}, 404},
		{"secrets that can't be had", "broken", body, []string{"X-Hub-Signature-256", sign("", body)}, 404},
		{"unknown repository", "none", body, nil, 404},
		{"not JSON, signed", "infra", "\x00\xff", []string{"X-Hub-Signature-256", sign(canary+"-1", "\x00\xff")}, 202},
		{"too large", "infra", strings.Repeat("x", maxHook+1), []string{"X-Hub-Signature-256", "sha256=00"}, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(w.actions.list())
			status, text := w.ask("POST", "/webhook/"+tt.path, "", tt.body, tt.header...)
			polls := len(w.actions.list()) - before
			if status != tt.status || polls != map[bool]int{true: 1, false: 0}[status == 202] {
				t.Errorf("%d %s, %d polls", status, text, polls)
			}
		})
	}
	if last := w.actions.list(); last[0] != "poll webhook:infra infra" {
		t.Errorf("%v", last)
	}
}

func TestWebhookReplayIsIgnored(t *testing.T) {
	w := newWorld(t)
	send := func(id string) int {
		status, _ := w.ask("POST", "/webhook/infra", "", "{}", "X-Hub-Signature-256", sign(canary+"-1", "{}"), "X-GitHub-Delivery", id)
		return status
	}
	for _, id := range []string{"1", "1", "2", "1"} {
		if s := send(id); s != 202 {
			t.Errorf("%s: %d", id, s)
		}
	}
	if n := len(w.actions.list()); n != 2 {
		t.Errorf("%d polls, want 2", n)
	}
	// One that failed may come again.
	w.actions.err = http.ErrServerClosed
	if s := send("3"); s != 500 {
		t.Errorf("%d", s)
	}
	w.actions.err = nil
	if s := send("3"); s != 202 || len(w.actions.list()) != 4 {
		t.Errorf("%d, %v", s, w.actions.list())
	}
}

func FuzzSigned(f *testing.F) {
	f.Add("sha256=00", []byte("{}"))
	f.Add(sign("key", "{}"), []byte("{}"))
	f.Add("", []byte(""))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["X-Hub-Signature-256"] = []string{header}
		got := signed(r.Header, body, []secret.Value{secret.New("other"), secret.New("key")})
		want := strings.EqualFold(header, sign("key", string(body))) || strings.EqualFold(header, sign("other", string(body)))
		if got != want && strings.HasPrefix(header, "sha256=") || got && !want {
			t.Errorf("%q over %q: %v, want %v", header, body, got, want)
		}
	})
}
