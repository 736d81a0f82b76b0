package github_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/github"
)

const canary = "ghp_canary0123456789"

// fake is a GitHub with state: what the API's description has no words for,
// such as paging, limits and tokens that expire. It answers below /api/v3, as
// GitHub Enterprise Server does.
type fake struct {
	t      *testing.T
	srv    *httptest.Server
	lists  map[string][]any // by "GET path": a list that is given page by page
	one    map[string]any   // by "METHOD path"
	trap   func(http.ResponseWriter, *http.Request) bool
	seen   []string          // "METHOD path body"
	bodies map[string]string // the last body by "METHOD path"

	// An App.
	key          *rsa.PublicKey
	installation int64
	tokens       map[string]time.Time // until when each counts
	bought       int
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, lists: map[string][]any{}, one: map[string]any{}, bodies: map[string]string{}, tokens: map[string]time.Time{}}
	f.srv = httptest.NewServer(f)
	t.Cleanup(f.srv.Close)
	f.one["GET /user"] = m{"login": "trueup-bot"}
	return f
}

type m = map[string]any

func (f *fake) open(c ...forge.Credentials) *github.Forge {
	f.t.Helper()
	if len(c) == 0 {
		c = []forge.Credentials{{Token: secret.New(canary)}}
	}
	g, err := github.Open(f.t.Context(), forge.Options{BaseURL: f.srv.URL, Project: "acme/infra", Credentials: c[0]})
	if err != nil {
		f.t.Fatal(err)
	}
	return g.(*github.Forge)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body strings.Builder
	if r.Body != nil {
		b := make([]byte, 1<<20)
		n, _ := r.Body.Read(b)
		body.Write(b[:n])
	}
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/v3")
	key := r.Method + " " + path
	f.seen = append(f.seen, key)
	f.bodies[key] = body.String()
	switch {
	case !ok:
		refuse(w, 404, "not below /api/v3")
	case f.trap != nil && f.trap(w, r):
	case f.key != nil && f.asApp(w, r, path):
	case !f.known(r):
		refuse(w, 401, "Bad credentials "+r.Header.Get("Authorization"))
	default:
		f.answer(w, r, key)
	}
}

// answer gives what the test laid down for a call.
func (f *fake) answer(w http.ResponseWriter, r *http.Request, key string) {
	if list, ok := f.lists[key]; ok {
		per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		per, page = min(max(per, 1), 100), max(page, 1)
		from, to := min((page-1)*per, len(list)), min(page*per, len(list))
		if to < len(list) {
			q := r.URL.Query()
			q.Set("page", strconv.Itoa(page+1))
			w.Header().Set("Link", fmt.Sprintf(`<https://ghes.internal/api/v3/x?%s>; rel="next", <https://ghes.internal/api/v3/x?page=9>; rel="last"`, q.Encode()))
		}
		_ = json.NewEncoder(w).Encode(list[from:to])
		return
	}
	v, ok := f.one[key]
	switch v := v.(type) {
	case int:
		refuse(w, v, "refused")
	default:
		if !ok {
			refuse(w, 404, "Not Found")
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(m{"message": text, "documentation_url": "https://docs.example"})
}

// known tells whether the token counts.
func (f *fake) known(r *http.Request) bool {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token == canary && f.key == nil || f.tokens[token].After(time.Now())
}

// asApp answers the calls that are made as the App itself.
func (f *fake) asApp(w http.ResponseWriter, r *http.Request, path string) bool {
	buy := fmt.Sprintf("/app/installations/%d/access_tokens", f.installation)
	if path != "/app" && path != "/repos/acme/infra/installation" && !strings.HasPrefix(path, "/app/installations/") {
		return false
	}
	var claims jwt.RegisteredClaims
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return f.key, nil })
	switch {
	case err != nil || claims.Issuer != "4711" || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > 10*time.Minute:
		refuse(w, 401, "A JSON web token could not be decoded")
	case path == "/app":
		_ = json.NewEncoder(w).Encode(m{"slug": "trueup-acme"})
	case path == "/repos/acme/infra/installation" && f.installation != 0:
		_ = json.NewEncoder(w).Encode(m{"id": f.installation, "permissions": m{"contents": "read", "pull_requests": "write", "statuses": "read"}})
	case path == buy && f.installation != 0:
		f.bought++
		token, until := fmt.Sprintf("ghs_canary%d", f.bought), time.Now().Add(time.Hour)
		f.tokens[token] = until
		w.WriteHeader(201)
		_ = json.NewEncoder(w).Encode(m{"token": token, "expires_at": until})
	default:
		refuse(w, 404, "Not Found")
	}
	return true
}

// appKey makes a key for an App and tells the fake its public half.
func (f *fake) appKey() forge.Credentials {
	key := testKey(f.t)
	block, _ := pem.Decode([]byte(key.Reveal()))
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		f.t.Fatal(err)
	}
	f.key, f.installation = &private.PublicKey, 99
	return forge.Credentials{App: &forge.App{ID: 4711, Key: key}}
}
