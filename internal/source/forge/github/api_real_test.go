//go:build real

package github_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/githubapi"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/github"
)

// recorder sends what is meant for api.github.com to the mock, and keeps what
// came of it.
type recorder struct {
	to *url.URL

	mu    sync.Mutex
	calls []string
	bad   []string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != "api.github.com" || !strings.HasPrefix(req.Header.Get("Authorization"), "Bearer ") {
		return nil, fmt.Errorf("a call to %s with authorization %q", req.URL.Host, req.Header.Get("Authorization"))
	}
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = r.to.Scheme, r.to.Host, r.to.Host
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	call := req.Method + " " + req.URL.RequestURI()
	r.calls = append(r.calls, call)
	if v := githubapi.Violations(resp.Header); resp.StatusCode >= 400 || len(v) > 0 {
		r.bad = append(r.bad, fmt.Sprintf("%s: %d %s %q", call, resp.StatusCode, body, v))
	}
	resp.Header.Del("Link") // of an example: it would lead round and round
	return resp, nil
}

// TestEveryCallIsInTheDescription makes every call that trueup makes, with a
// token and as an App, against a server that checks paths, parameters and
// bodies by GitHub's own description of its API.
func TestEveryCallIsInTheDescription(t *testing.T) {
	srv := mock(t)
	to, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, credentials := range map[string]forge.Credentials{
		"token": {Token: secret.New("tok-canary")},
		"App":   {App: &forge.App{ID: 1, Key: testKey(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{to: to}
			f, err := github.Open(t.Context(), forge.Options{Project: "octocat/Hello-World", Credentials: credentials, Transport: r})
			if err != nil {
				t.Fatal(err)
			}
			everyCall(t, f.(*github.Forge), name == "App")
			for _, b := range r.bad {
				t.Errorf("refused: %s", b)
			}
			t.Logf("%d calls", len(r.calls))
			if want := 30; len(r.calls) < want {
				t.Errorf("only %d calls, want %d or more: %v", len(r.calls), want, r.calls)
			}
		})
	}
}

// TestTheDescriptionBites makes wrong calls, to know that they are noticed.
func TestTheDescriptionBites(t *testing.T) {
	srv := mock(t)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/repos/o/r/statuses/abc", `{"state":"great"}`},
		{"POST", "/repos/o/r/statuses/abc", `{}`},
		{"POST", "/repos/o/r/issues/1/comments", `{"body":7}`},
		{"GET", "/repos/o/r/pulls?state=merged", ""},
		{"GET", "/repos/o/r/no/such", ""},
		{"PUT", "/repos/o/r/pulls", `{}`},
	} {
		req, err := http.NewRequest(c.method, srv.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode < 400 && len(githubapi.Violations(resp.Header)) == 0 {
			t.Errorf("%s %s %s is taken: %d", c.method, c.path, c.body, resp.StatusCode)
		}
	}
}

// mock gives the one server of the package's tests.
func mock(t *testing.T) *githubapi.Server {
	t.Helper()
	if server.Server == nil {
		t.Fatal(server.err)
	}
	return server.Server
}

var server struct {
	*githubapi.Server
	err error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "trueup-github-")
	if err == nil {
		server.Server, err = githubapi.Start(dir)
	}
	server.err = err
	code := m.Run()
	if server.Server != nil {
		server.Stop()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// everyCall uses each face of the forge. The examples that come back are not
// about one repository, so that some answers are refused for what they say;
// whether the call itself was in order is seen by the recorder.
func everyCall(t *testing.T, f *github.Forge, app bool) {
	t.Helper()
	ctx := t.Context()
	const commit = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	pr, err := f.PullRequest(ctx, 1347)
	ok("pull request", err)
	if pr.Base != "master" && pr.Base != "main" || pr.Head == "" || pr.HeadCommit == "" || pr.Author == "" {
		t.Errorf("pull request: %+v", pr)
	}
	_, err = f.Open(ctx)
	ok("open pull requests", err)
	if _, err = f.Files(ctx, 1347); !errors.Is(err, forge.ErrIncomplete) { // the example has 5 files and lists one
		t.Errorf("files: %v", err)
	}
	reviews, err := f.Reviews(ctx, 1347)
	ok("reviews", err)
	if len(reviews) == 0 {
		t.Error("no reviews")
	}
	if _, err = f.MergedBy(ctx, commit); err != nil && !errors.Is(err, forge.ErrNotFound) {
		t.Error(err)
	}
	comments, err := f.List(ctx, 1347)
	ok("comments", err)
	if len(comments) == 0 || comments[0].ID == "0" || comments[0].Author == "" {
		t.Errorf("comments: %+v", comments)
	}
	c, err := f.Add(ctx, 1347, "A plan")
	ok("new comment", err)
	ok("edit", f.Edit(ctx, 1347, c.ID, "Another plan"))
	for _, r := range []forge.Reaction{forge.Seen, forge.Done, forge.Refused} {
		ok("reaction "+string(r), f.React(ctx, 1347, c.ID, r))
	}
	for _, s := range []forge.StatusState{forge.StatusPending, forge.StatusSuccess, forge.StatusFailure, forge.StatusError} {
		ok("status", f.SetStatus(ctx, forge.Status{Commit: commit, Context: "trueup/plan", State: s, Description: strings.Repeat("long ", 60), URL: "https://x.example/1"}))
	}
	_, err = f.Permission(ctx, "octocat")
	ok("permission", err)
	_, err = f.InTeam(ctx, "acme/sre", "octocat")
	ok("team", err)
	_, err = f.Propose(ctx, forge.Proposal{Base: "main", Head: "promote", Title: "Promote", Body: "text", Labels: []string{"trueup"}})
	if err != nil && !strings.Contains(err.Error(), "GitHub's answer is not about it") {
		t.Errorf("propose: %v", err)
	}
	var notes []forge.Annotation
	for i := range 120 {
		notes = append(notes, forge.Annotation{Path: "dns/zone", Line: i, Level: []string{"error", "warning", "notice"}[i%3], Message: "wrong"})
	}
	err = f.Annotate(ctx, commit, "trueup/validate", notes)
	if err == nil {
		err = f.Annotate(ctx, commit, "trueup/validate", nil)
	}
	if app != (err == nil) || err != nil && !errors.Is(err, forge.ErrUnsupported) {
		t.Errorf("annotations: %v", err)
	}
	id := ""
	for _, s := range []string{"pending", "running", "success", "failure", "inactive"} {
		id, err = f.Deploy(ctx, forge.Deployment{ID: id, Commit: commit, Environment: "prod", State: s, Description: "dns", URL: "https://x.example/1", Run: "r1"})
		ok("deployment "+s, err)
	}
	_, err = f.Hooks(ctx)
	ok("hooks", err)
	_, err = f.PutHook(ctx, forge.Hook{URL: "https://trueup.example/hook", Secret: "0123456789abcdef"})
	ok("new hook", err)
	_, err = f.PutHook(ctx, forge.Hook{URL: "https://example.com/webhook", Secret: "0123456789abcdef"}) // the example's
	ok("hook again", err)
	ok("delete hook", f.DeleteHook(ctx, "12345678"))
	_, err = f.RequiredStatuses(ctx, "main")
	ok("required statuses", err)
	_, err = f.Examine(ctx)
	ok("examine", err)
}

// TestEveryPublishedDelivery reads all of GitHub's example deliveries: those
// that count become events, the others are ignored.
func TestEveryPublishedDelivery(t *testing.T) {
	all, err := githubapi.Deliveries()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 329 {
		t.Errorf("there are %d examples, 329 were published", len(all))
	}
	f := open(t, nil)
	var events strings.Builder
	counts := map[string]int{}
	for _, d := range all {
		h := http.Header{"X-Github-Event": {d.Event}, "X-Github-Delivery": {"d"}, "Content-Type": {"application/json"}}
		e, err := f.Parse(h, d.Body)
		if err != nil {
			t.Errorf("%s %d: %v", d.Event, d.N, err)
		}
		what := string(e.Kind)
		if e.Kind == forge.Ignored {
			what = "ignored"
		} else {
			fmt.Fprintf(&events, "%s %d: %s project=%s ref=%s commit=%s number=%d action=%s\n", d.Event, d.N, e.Kind, e.Project, e.Ref, e.Commit, e.Number, e.Action)
		}
		counts[d.Event+" "+what]++
		counts[what]++
	}
	const golden = "testdata/published.golden"
	if os.Getenv("TRUEUP_RECORD") != "" {
		if err := os.WriteFile(golden, []byte(events.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || string(want) != events.String() {
		t.Errorf("the events differ from %s (%v):\n%s", golden, err, events.String())
	}
	for what, n := range map[string]int{"push push": 7, "pull_request pull": 15, "pull_request ignored": 14, "pull_request_review pull": 4, "merge_group merge_queue": 2, "ping ping": 4} {
		if counts[what] != n {
			t.Errorf("%d × %s, want %d", counts[what], what, n)
		}
	}
}
