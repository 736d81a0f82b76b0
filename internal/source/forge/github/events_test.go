package github_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// TestVerify uses the values of GitHub's own guide.
func TestVerify(t *testing.T) {
	const want = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	secrets := []secret.Value{secret.New("another one, the newer"), secret.New("It's a Secret to Everybody")}
	g := open(t, nil)
	for _, c := range []struct {
		header, value, body string
		fits                bool
	}{
		{"X-Hub-Signature-256", want, "Hello, World!", true},
		{"X-Hub-Signature-256", want, "Hello, World?", false},
		{"X-Hub-Signature-256", strings.TrimPrefix(want, "sha256="), "Hello, World!", false},
		{"X-Hub-Signature-256", strings.Replace(want, "7", "8", 1), "Hello, World!", false},
		{"X-Hub-Signature-256", "", "Hello, World!", false},
		{"X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59", "Hello, World!", false},
	} {
		err := g.Verify(http.Header{c.header: {c.value}}, []byte(c.body), secrets)
		if (err == nil) != c.fits || err != nil && !errors.Is(err, forge.ErrSignature) {
			t.Errorf("%s: %s over %q: %v", c.header, c.value, c.body, err)
		}
	}
}

func TestParse(t *testing.T) {
	repo := `"repository":{"full_name":"acme/infra"}`
	g := open(t, nil)
	for name, c := range map[string]struct {
		event, body string
		want        forge.Event
	}{
		"push":        {"push", `{"ref":"refs/heads/main","after":"c1",` + repo + `}`, forge.Event{Kind: forge.Pushed, Ref: "refs/heads/main", Commit: "c1"}},
		"tag":         {"push", `{"ref":"refs/tags/v1","after":"c1",` + repo + `}`, forge.Event{Kind: forge.Pushed, Ref: "refs/tags/v1", Commit: "c1"}},
		"branch gone": {"push", `{"ref":"refs/heads/x","after":"0000000000000000000000000000000000000000","deleted":true,` + repo + `}`, forge.Event{Kind: forge.Pushed, Ref: "refs/heads/x"}},
		"opened":      {"pull_request", `{"action":"opened","number":7,` + repo + `}`, forge.Event{Kind: forge.PullChanged, Action: "opened", Number: 7}},
		"new commits": {"pull_request", `{"action":"synchronize","number":7,` + repo + `}`, forge.Event{Kind: forge.PullChanged, Action: "synchronize", Number: 7}},
		"assigned":    {"pull_request", `{"action":"assigned","number":7,` + repo + `}`, forge.Event{Action: "assigned"}},
		"review":      {"pull_request_review", `{"action":"submitted","pull_request":{"number":7},` + repo + `}`, forge.Event{Kind: forge.PullChanged, Action: "submitted", Number: 7}},
		"comment": {"issue_comment", `{"action":"created","issue":{"number":7,"pull_request":{"url":"x"}},"comment":{"id":9007199254740993,"body":"trueup plan","user":{"login":"ann"}},` + repo + `}`,
			forge.Event{Kind: forge.Commented, Action: "created", Number: 7, CommentID: "9007199254740993", Author: "ann", Body: "trueup plan"}},
		"comment on an issue": {"issue_comment", `{"action":"created","issue":{"number":7},"comment":{"id":1},` + repo + `}`, forge.Event{Action: "created"}},
		"comment deleted":     {"issue_comment", `{"action":"deleted","issue":{"number":7,"pull_request":{}},"comment":{"id":1},` + repo + `}`, forge.Event{Action: "deleted"}},
		"merge queue": {"merge_group", `{"action":"checks_requested","merge_group":{"head_ref":"refs/heads/gh-readonly-queue/main/pr-7","head_sha":"c2"},` + repo + `}`,
			forge.Event{Kind: forge.MergeQueue, Action: "checks_requested", Ref: "refs/heads/gh-readonly-queue/main/pr-7", Commit: "c2"}},
		"merge queue done": {"merge_group", `{"action":"destroyed","merge_group":{"head_sha":"c2"},` + repo + `}`, forge.Event{Action: "destroyed"}},
		"ping":             {"ping", `{"zen":"x",` + repo + `}`, forge.Event{Kind: forge.Ping}},
	} {
		c.want.Project, c.want.Delivery = "acme/infra", "d1"
		h := http.Header{"X-Github-Event": {c.event}, "X-Github-Delivery": {"d1"}, "Content-Type": {"application/json; charset=utf-8"}}
		if got, err := g.Parse(h, []byte(c.body)); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		if got, err := g.Parse(h, []byte("payload="+url.QueryEscape(c.body))); err != nil || got != c.want {
			t.Errorf("%s as a form: %+v, %v", name, got, err)
		}
	}
	for name, c := range map[string][2]string{
		"no JSON":      {"push", "x"},
		"empty":        {"push", ""},
		"nothing in":   {"push", "{}"},
		"no number":    {"pull_request", `{"action":"opened",` + repo + `}`},
		"below zero":   {"pull_request", `{"action":"opened","number":-1,` + repo + `}`},
		"no project":   {"pull_request", `{"action":"opened","number":1}`},
		"wrong types":  {"issue_comment", `{"action":["created"],"issue":1}`},
		"no commit":    {"merge_group", `{"action":"checks_requested",` + repo + `}`},
		"null comment": {"issue_comment", `{"action":"created","issue":{"number":1,"pull_request":{}},"comment":null,` + repo + `}`},
	} {
		if e, err := g.Parse(http.Header{"X-Github-Event": {c[0]}}, []byte(c[1])); err == nil {
			t.Errorf("%s gives %+v", name, e)
		}
	}
	for _, event := range []string{"", "workflow_run", "no such event"} {
		if e, err := g.Parse(http.Header{"X-Github-Event": {event}}, []byte("not even JSON")); err != nil || e.Kind != forge.Ignored {
			t.Errorf("%q: %+v, %v", event, e, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"ref":"refs/heads/main","after":"c1","repository":{"full_name":"a/b"}}`, `{"action":"opened","number":7,"repository":{"full_name":"a/b"}}`,
		`{"action":"created","issue":{"number":7,"pull_request":{}},"comment":{"id":1,"body":"x"},"repository":{"full_name":"a/b"}}`, `payload=%7B%7D`, `[[[[`} {
		for _, e := range []string{"push", "pull_request", "issue_comment", "merge_group", "pull_request_review", "x"} {
			f.Add(e, "application/json", []byte(s))
		}
	}
	g := open(f, nil)
	f.Fuzz(func(t *testing.T, event, kind string, body []byte) {
		e, err := g.Parse(http.Header{"X-Github-Event": {event}, "Content-Type": {kind}}, body)
		if err == nil && e.Kind != forge.Ignored && e.Kind != forge.Ping && (e.Project == "" || e.Number < 0) {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", []byte("Hello, World!"))
	f.Add("sha1=", []byte(nil))
	g := open(f, nil)
	f.Fuzz(func(t *testing.T, sig string, body []byte) {
		if g.Verify(http.Header{"X-Hub-Signature-256": {sig}}, body, []secret.Value{secret.New("nobody guesses this one")}) == nil {
			t.Fatalf("%q passes", sig)
		}
	})
}
