package github_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/source/forge"
)

func TestAppGetsAndRenewsItsToken(t *testing.T) {
	f := newFake(t)
	g := f.open(f.appKey())
	f.one["GET /repos/acme/infra/pulls/1"] = pull(1, nil)
	get := func() error { _, err := g.PullRequest(t.Context(), 1); return err }
	for range 3 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := g.GitToken(t.Context()); err != nil || v.Reveal() != "ghs_canary1" {
		t.Errorf("token for git: %q, %v", v.Reveal(), err)
	}
	if v, err := newFake(t).open().GitToken(t.Context()); !errors.Is(err, forge.ErrUnsupported) || !v.Empty() {
		t.Errorf("a personal token is handed to git: %v", err)
	}
	if f.bought != 1 {
		t.Errorf("%d tokens for three calls", f.bought)
	}
	for token := range f.tokens { // GitHub takes it no longer, although its hour is not over
		f.tokens[token] = time.Now().Add(-time.Second)
	}
	if err := get(); err != nil || f.bought != 2 {
		t.Errorf("after a token expired: %v, %d bought", err, f.bought)
	}
	f.installation = 100 // installed anew
	clear(f.tokens)
	if err := get(); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("reinstalled, first call: %v", err)
	}
	if err := get(); err != nil {
		t.Errorf("reinstalled, next call: %v", err)
	}
	f.lists["GET /repos/acme/infra/issues/1/comments"] = []any{m{"id": 1, "user": m{"login": "trueup-acme[bot]"}}}
	if list, err := g.List(t.Context(), 1); err != nil || !list[0].Own {
		t.Errorf("%+v, %v", list, err)
	}
	f.one["GET /repos/acme/infra"] = m{"default_branch": "trunk"}
	s, err := g.Examine(t.Context())
	if err != nil || s.Account != "trueup-acme[bot]" || s.DefaultBranch != "trunk" || !slices.ContainsFunc(s.Missing, func(x string) bool { return strings.HasPrefix(x, "statuses: write") }) {
		t.Errorf("%+v, %v", s, err)
	}
	f.installation = 0
	clear(f.tokens)
	_ = get()
	if err := get(); !errors.Is(err, forge.ErrNotFound) || !strings.Contains(err.Error(), "not installed for acme/infra") {
		t.Errorf("not installed: %v", err)
	}
	other := f.open(forge.Credentials{App: &forge.App{ID: 4711, Key: testKey(t)}})
	if _, err := other.PullRequest(t.Context(), 1); !errors.Is(err, forge.ErrDenied) || errors.Is(err, forge.ErrUnreachable) {
		t.Errorf("with another key: %v", err)
	}
}

func TestAnnotationsAreForApps(t *testing.T) {
	f := newFake(t)
	if err := f.open().Annotate(t.Context(), "c", "trueup/validate", []forge.Annotation{{Path: "x", Message: "m"}}); !errors.Is(err, forge.ErrUnsupported) {
		t.Errorf("with a token: %v", err)
	}
	g := f.open(f.appKey())
	f.one["POST /repos/acme/infra/check-runs"] = 403
	if err := g.Annotate(t.Context(), "c", "v", []forge.Annotation{{Path: "x", Message: "m"}}); !errors.Is(err, forge.ErrUnsupported) || !strings.Contains(err.Error(), "checks: write") {
		t.Errorf("without the right: %v", err)
	}
	f.one["POST /repos/acme/infra/check-runs"] = m{"id": 3}
	f.one["GET /repos/acme/infra/commits/c/check-runs"] = m{"check_runs": []m{}}
	f.seen = nil
	if err := g.Annotate(t.Context(), "c", "v", nil); err != nil || slices.Contains(f.seen, "POST /repos/acme/infra/check-runs") {
		t.Errorf("a run for nothing: %v, %v", err, f.seen)
	}
	if err := g.Annotate(t.Context(), "c", "v", []forge.Annotation{{Path: "x", Level: "error", Message: "m"}}); err != nil || !strings.Contains(f.bodies["POST /repos/acme/infra/check-runs"], `"start_line":1`) {
		t.Errorf("%v: %s", err, f.bodies["POST /repos/acme/infra/check-runs"])
	}
}

// TestFailuresAreToldApart meets GitHub on a bad day, through the SDK.
func TestFailuresAreToldApart(t *testing.T) {
	soon, late := time.Now().Add(time.Hour).Unix(), "7200"
	for name, c := range map[string]struct {
		status  int
		headers map[string]string
		body    string
		want    error
	}{
		"primary limit":      {403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(soon)}, `{"message":"API rate limit exceeded"}`, forge.LimitedError{}},
		"secondary limit":    {403, nil, `{"message":"You have exceeded a secondary rate limit. Please wait"}`, forge.LimitedError{}},
		"429":                {429, map[string]string{"Retry-After": late}, `{}`, forge.LimitedError{}},
		"bad credentials":    {401, nil, `{"message":"Bad credentials ` + canary + `"}`, forge.ErrDenied},
		"forbidden":          {403, map[string]string{"X-RateLimit-Remaining": "4000"}, `{"message":"Resource not accessible by personal access token"}`, forge.ErrDenied},
		"SSO":                {403, map[string]string{"X-GitHub-SSO": "required"}, `{"message":"Resource protected by organization SAML enforcement"}`, forge.ErrDenied},
		"two factors":        {401, map[string]string{"X-GitHub-OTP": "required; app"}, `{"message":"Must specify two-factor authentication OTP code."}`, forge.ErrDenied},
		"unicorn":            {502, nil, `<html>unicorn</html>`, forge.ErrUnreachable},
		"down":               {503, nil, ``, forge.ErrUnreachable},
		"malformed":          {200, nil, `{"number": 1, "head":`, nil},
		"wrong type":         {200, nil, `{"number": "one"}`, nil},
		"a list":             {200, nil, `[]`, nil},
		"a login page":       {200, map[string]string{"Content-Type": "text/html"}, `<html>`, nil},
		"accepted for later": {202, nil, `{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.trap = func(w http.ResponseWriter, _ *http.Request) bool {
				for k, v := range c.headers {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
				return true
			}
			g := f.open()
			_, read := g.PullRequest(t.Context(), 1)
			write := g.SetStatus(t.Context(), forge.Status{Commit: "c", Context: "x", State: forge.StatusSuccess})
			if c.status == 200 && name != "a list" || c.status == 202 {
				write = read // a status' answer is not needed
			}
			for _, err := range []error{read, write} {
				if err == nil && !(name == "a list") {
					t.Errorf("%s: no error", name)
					continue
				}
				if err == nil {
					continue
				}
				for _, kind := range []error{forge.ErrDenied, forge.ErrNotFound, forge.ErrUnreachable} {
					if errors.Is(err, kind) != (c.want == kind) {
						t.Errorf("%s: %v is %v", name, err, kind)
					}
				}
				if errors.As(err, new(forge.LimitedError)) != errors.As(c.want, new(forge.LimitedError)) {
					t.Errorf("%s: %v", name, err)
				}
				if strings.Contains(err.Error(), canary) {
					t.Errorf("%s: the token shows in %v", name, err)
				}
			}
		})
	}
}
