package rest_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

const canary = "tok-canary-1f2e3d"

// rig is a client of a fake forge with a clock that moves when somebody
// sleeps.
type rig struct {
	*rest.Client
	srv   *httptest.Server
	now   time.Time
	slept []time.Duration
	calls atomic.Int32
}

func start(t *testing.T, h http.HandlerFunc, change ...func(*rest.Options)) *rig {
	t.Helper()
	r := &rig{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.calls.Add(1); h(w, req) }))
	t.Cleanup(r.srv.Close)
	base, err := rest.Base(r.srv.URL, "/api/v9")
	if err != nil {
		t.Fatal(err)
	}
	o := rest.Options{Base: base, Secrets: []secret.Value{secret.New(canary)}, Now: func() time.Time { return r.now },
		Authorize: func(q *http.Request) error { q.Header.Set("Authorization", "Bearer "+canary); return nil },
		Sleep: func(_ context.Context, d time.Duration) error {
			r.slept, r.now = append(r.slept, d), r.now.Add(d)
			return nil
		}}
	for _, f := range change {
		f(&o)
	}
	if r.Client, err = rest.New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) get(t *testing.T, method string) error {
	t.Helper()
	var into map[string]any
	_, err := r.Do(t.Context(), rest.Call{Method: method, Path: "/x", Query: url.Values{"q": {"hidden"}}, Into: &into})
	if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "hidden")) {
		t.Errorf("the error shows what it should not: %v", err)
	}
	return err
}

// seq answers with each handler in turn, then with the last for good.
func seq(hs ...http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) { hs[min(int(n.Add(1))-1, len(hs)-1)](w, r) }
}

func code(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":"words of the forge %s"}`, canary)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for status, want := range map[int]error{401: forge.ErrDenied, 403: forge.ErrDenied, 404: forge.ErrNotFound, 410: forge.ErrNotFound,
		422: nil, 500: forge.ErrUnreachable, 503: forge.ErrUnreachable} {
		r := start(t, code(status))
		err := r.get(t, "GET")
		if err == nil {
			t.Fatalf("%d is taken for success", status)
		}
		for _, kind := range []error{forge.ErrDenied, forge.ErrNotFound, forge.ErrUnreachable} {
			if errors.Is(err, kind) != (kind == want) {
				t.Errorf("%d: errors.Is(%q, %q) is wrong", status, err, kind)
			}
		}
		for _, part := range []string{"GET /api/v9/x", strconv.Itoa(status), "words of the forge ***"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%d: %q does not say %q", status, err, part)
			}
		}
	}
}

func TestOnlyWhatIsSafeIsRepeated(t *testing.T) {
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close()
		}
	}
	short := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"a":`)
	}
	for name, bad := range map[string]http.HandlerFunc{"500": code(500), "502": code(502), "hang up": hangUp, "half an answer": short} {
		r := start(t, seq(bad, bad, code(200)))
		if err := r.get(t, "GET"); err != nil || r.calls.Load() != 3 {
			t.Errorf("%s, GET: %v after %d calls", name, err, r.calls.Load())
		}
		r = start(t, seq(bad, code(200)))
		if err := r.get(t, "POST"); !errors.Is(err, forge.ErrUnreachable) || r.calls.Load() != 1 {
			t.Errorf("%s, POST: %v after %d calls; a write must not be repeated", name, err, r.calls.Load())
		}
		r = start(t, seq(bad, code(200)))
		_, err := r.Do(rest.Repeatable(t.Context()), rest.Call{Method: "POST", Path: "/x", Body: 1})
		if err != nil || r.calls.Load() != 2 {
			t.Errorf("%s, repeatable POST: %v after %d calls", name, err, r.calls.Load())
		}
		r = start(t, bad)
		if err := r.get(t, "GET"); !errors.Is(err, forge.ErrUnreachable) || r.calls.Load() != 4 {
			t.Errorf("%s for ever: %v after %d calls", name, err, r.calls.Load())
		}
	}
}

func TestNobodyThere(t *testing.T) {
	r := start(t, code(200))
	r.srv.Close()
	if err := r.get(t, "POST"); !errors.Is(err, forge.ErrUnreachable) || len(r.slept) != 3 {
		t.Errorf("%v after %d pauses; what was never sent is tried again", err, len(r.slept))
	}
}

func TestRateLimits(t *testing.T) {
	at := func(r time.Duration) string {
		return strconv.FormatInt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(r).Unix(), 10)
	}
	secondary := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		_, _ = io.WriteString(w, `{"message":"You have exceeded a secondary rate limit."}`)
	}
	for _, c := range []struct {
		name  string
		h     http.HandlerFunc
		waits time.Duration // 0: a LimitedError
	}{
		{"429, Retry-After in seconds", code(429, "Retry-After", "7"), 7 * time.Second},
		{"429, Retry-After as a date", code(429, "Retry-After", "Sun, 01 Mar 2026 12:00:09 GMT"), 9 * time.Second},
		{"429, Retry-After too long", code(429, "Retry-After", "3600"), 0},
		{"429, Retry-After absurd", code(429, "Retry-After", "99999999999"), 0},
		{"429, nothing said", code(429), 0},
		{"403, GitHub's reset", code(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", at(5*time.Second)), 6 * time.Second},
		{"403, reset in an hour", code(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", at(time.Hour)), 0},
		{"429, GitLab's reset", code(429, "RateLimit-Remaining", "0", "RateLimit-Reset", at(2*time.Second)), 3 * time.Second},
		{"403, secondary limit", secondary, 0},
		{"403, secondary limit with Retry-After", code(403, "Retry-After", "3"), 3 * time.Second},
		{"503, Retry-After", code(503, "Retry-After", "4"), 4 * time.Second},
	} {
		r := start(t, seq(c.h, code(200)))
		err := r.get(t, "POST") // a refused call did nothing: writes are repeated as well
		var limited forge.LimitedError
		switch {
		case c.waits == 0 && (!errors.As(err, &limited) || errors.Is(err, forge.ErrDenied) || r.calls.Load() != 1):
			t.Errorf("%s: %v after %d calls, want a LimitedError after one", c.name, err, r.calls.Load())
		case c.waits == 0 && limited.Until.After(r.now.Add(2*time.Hour)):
			t.Errorf("%s: waits until %s", c.name, limited.Until)
		case c.waits != 0 && (err != nil || len(r.slept) != 1 || r.slept[0] != c.waits):
			t.Errorf("%s: %v, waited %v, want %s", c.name, err, r.slept, c.waits)
		}
		if c.waits == 0 {
			if err := r.get(t, "GET"); !errors.As(err, &limited) || r.calls.Load() != 1 {
				t.Errorf("%s: the next call is sent although the limit is known (%v)", c.name, err)
			}
		}
	}
	r := start(t, code(429, "Retry-After", "2"))
	if err := r.get(t, "GET"); !errors.As(err, new(forge.LimitedError)) || r.calls.Load() != 4 {
		t.Errorf("limited for ever: %v after %d calls", err, r.calls.Load())
	}
}

func TestLastCallOfThePeriod(t *testing.T) {
	reset := strconv.FormatInt(time.Date(2026, 3, 1, 12, 0, 20, 0, time.UTC).Unix(), 10)
	r := start(t, seq(code(200, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", reset), code(200)))
	for range 2 {
		if err := r.get(t, "GET"); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.slept) != 1 || r.slept[0] != 21*time.Second {
		t.Errorf("the call after the last one waited %v, want until the reset", r.slept)
	}
	r = start(t, code(200, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", reset, "X-RateLimit-Resource", "search"))
	_, _ = r.get(t, "GET"), r.get(t, "GET")
	if len(r.slept) != 0 {
		t.Error("the limit of another resource stops all calls")
	}
}

func TestRedirects(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		leaked.Store(true)
	}))
	defer other.Close()
	to := func(where string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, where, status) }
	}
	r := start(t, to(other.URL+"/steal", 302))
	if err := r.get(t, "GET"); err == nil || leaked.Load() || !strings.Contains(err.Error(), strings.TrimPrefix(other.URL, "http://")) {
		t.Errorf("redirected to another host: %v, followed: %v", err, leaked.Load())
	}
	r = start(t, seq(to("/api/v9/moved", 301), code(200)))
	if err := r.get(t, "GET"); err != nil || r.calls.Load() != 2 {
		t.Errorf("redirected on the same host: %v", err)
	}
	r = start(t, seq(to("/api/v9/moved", 301), code(200)))
	if err := r.get(t, "POST"); err == nil || r.calls.Load() != 1 {
		t.Errorf("a write that is redirected becomes a read: %v", err)
	}
	r = start(t, to("/api/v9/round", 302))
	if err := r.get(t, "GET"); err == nil || r.calls.Load() > 6 {
		t.Errorf("in circles: %v after %d calls", err, r.calls.Load())
	}
}

func TestAnswersAreBounded(t *testing.T) {
	big := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `"`+strings.Repeat("a", 2000)+`"`)
	}
	r := start(t, big, func(o *rest.Options) { o.MaxBody = 1000 })
	if err := r.get(t, "GET"); err == nil || !strings.Contains(err.Error(), "larger than the limit") || r.calls.Load() != 1 {
		t.Errorf("%v after %d calls", err, r.calls.Load())
	}
	stop := make(chan struct{})
	defer close(stop)
	slow := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}
	r = start(t, slow, func(o *rest.Options) { o.Timeout = 20 * time.Millisecond })
	if err := r.get(t, "GET"); !errors.Is(err, forge.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a slow body: %v", err)
	}
	r = start(t, slow)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := r.Do(ctx, rest.Call{Path: "/x"}); !errors.Is(err, context.Canceled) || errors.Is(err, forge.ErrUnreachable) {
		t.Errorf("cancelled: %v", err)
	}
	r = start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"a":`) })
	if err := r.get(t, "GET"); err == nil || errors.Is(err, forge.ErrUnreachable) {
		t.Errorf("malformed JSON: %v", err)
	}
	r = start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<html>log in</html>`)
	})
	if err := r.get(t, "GET"); err == nil || !strings.Contains(err.Error(), "base URL") {
		t.Errorf("a login page: %v", err)
	}
}

func TestPages(t *testing.T) {
	page := func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		if n < 3 {
			w.Header().Set("Link", fmt.Sprintf(`<http://inside.example/api/v9/x?page=1&per_page=2>; rel="first", <http://inside.example/else?page=%d&per_page=2>; rel="next"`, n+1))
		}
		_ = json.NewEncoder(w).Encode([]int{2 * n, 2*n + 1})
	}
	r := start(t, page)
	got, err := rest.Pages[int](t.Context(), r.Client, "/x", url.Values{"per_page": {"2"}})
	if err != nil || fmt.Sprint(got) != "[0 1 2 3 4 5 6 7]" {
		t.Errorf("%v, %v", got, err)
	}
	r = start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</x?page=2>; rel="next"`)
		_, _ = io.WriteString(w, "[1]")
	})
	if got, err := rest.Pages[int](t.Context(), r.Client, "/x", nil); err == nil || got != nil {
		t.Errorf("an endless list gives %d elements and %v", len(got), err)
	}
	r = start(t, seq(page, code(500)))
	if got, err := rest.Pages[int](t.Context(), r.Client, "/x", nil); err == nil || got != nil {
		t.Errorf("a list that breaks off gives %v, %v", got, err)
	}
}

func TestOwnCA(t *testing.T) {
	srv := httptest.NewTLSServer(code(200))
	defer srv.Close()
	srv.Config.ErrorLog = nil
	base, _ := rest.Base(srv.URL, "")
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	c, err := rest.New(rest.Options{Base: base, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), rest.Call{Path: "/"}); err != nil {
		t.Errorf("with its own CA: %v", err)
	}
	if _, err := rest.New(rest.Options{Base: base, CA: "no certificate"}); err == nil {
		t.Error("a CA without certificates is taken")
	}
	var pauses int
	c, _ = rest.New(rest.Options{Base: base, Sleep: func(context.Context, time.Duration) error { pauses++; return nil }})
	if _, err := c.Do(t.Context(), rest.Call{Path: "/"}); !errors.Is(err, forge.ErrUnreachable) || !strings.Contains(err.Error(), "certificate") || pauses > 0 {
		t.Errorf("an unknown certificate: %v after %d pauses", err, pauses)
	}
}

func TestPath(t *testing.T) {
	if got := rest.Path("repos", "a/b", "..", "x y?#"); got != "/repos/a%2Fb/%2E%2E/x%20y%3F%23" {
		t.Error(got)
	}
	var seen string
	r := start(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.RequestURI })
	_, _ = r.Do(t.Context(), rest.Call{Path: rest.Path("a/b", "c")})
	if seen != "/api/v9/a%2Fb/c" {
		t.Error(seen)
	}
}

func TestBase(t *testing.T) {
	for text, want := range map[string]string{
		"https://git.example.com":         "https://git.example.com/api/v4",
		"https://git.example.com/":        "https://git.example.com/api/v4",
		"https://x.example/git/api/v4/":   "https://x.example/git/api/v4",
		"git.example.com":                 "",
		"ssh://git@x/y":                   "",
		"https://user:tok-secret@x.y/api": "",
		"https://x.y/?token=tok-secret":   "",
		"":                                "",
	} {
		u, err := rest.Base(text, "/api/v4")
		if (err == nil) != (want != "") || err == nil && u.String() != want {
			t.Errorf("%q: %v, %v", text, u, err)
		}
		if err != nil && strings.Contains(err.Error(), "tok-secret") {
			t.Errorf("%v", err)
		}
	}
}
