package gitea_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/gitea"
)

// recordedSecret signed the deliveries in testdata, which a real Gitea sent.
const recordedSecret = "a secret of the operator's own.."

const canary = "tok-canary-0123456789"

func open(t testing.TB, base string) *gitea.Forge {
	t.Helper()
	f, err := gitea.Open(t.Context(), forge.Options{BaseURL: base, Project: "acme/hooks", Credentials: forge.Credentials{Token: secret.New(canary)}})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*gitea.Forge)
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	token := forge.Credentials{Token: secret.New(canary)}
	for part, o := range map[string]forge.Options{
		"base URL is missing":  {Project: "a/b", Credentials: token},
		"token is missing":     {Project: "a/b", BaseURL: "https://git.example"},
		"write owner/name":     {Project: "a/b/c", BaseURL: "https://git.example", Credentials: token},
		"has to start with":    {Project: "a/b", BaseURL: "git.example", Credentials: token},
		"holds no certificate": {Project: "a/b", BaseURL: "https://git.example", CA: "x", Credentials: token},
	} {
		if _, err := gitea.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("want %q, got %v", part, err)
		}
	}
	if i := open(t, "https://git.example/gitea/").Info(); i.WebURL != "https://git.example/gitea/acme/hooks" || i.Kind != "gitea" {
		t.Errorf("%+v", i)
	}
}

// TestRecordedDeliveries reads what a real server sent, signatures included.
func TestRecordedDeliveries(t *testing.T) {
	f := open(t, "https://git.example")
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 7 {
		t.Fatalf("%v, %v", files, err)
	}
	want := map[string]forge.Event{
		"push":                                  {Kind: forge.Pushed, Ref: "refs/heads/change"},
		"pull_request-opened":                   {Kind: forge.PullChanged, Number: 1, Action: "opened"},
		"pull_request_sync-synchronized":        {Kind: forge.PullChanged, Number: 1, Action: "synchronized"},
		"pull_request-closed":                   {Kind: forge.PullChanged, Number: 1, Action: "closed"},
		"pull_request_review_approved-reviewed": {Kind: forge.PullChanged, Number: 1, Action: "reviewed"},
		"pull_request_comment-created":          {Kind: forge.Commented, Number: 1, Action: "created", Author: "eve", Body: "trueup plan"},
		"pull_request_comment-edited":           {Kind: forge.Commented, Number: 1, Action: "edited", Author: "eve", Body: "trueup apply"},
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		h, body := recorded(t, file)
		if err := f.Verify(h, body, []secret.Value{secret.New("another"), secret.New(recordedSecret)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.Verify(h, append(slices.Clone(body), '\n'), []secret.Value{secret.New(recordedSecret)}); !errors.Is(err, forge.ErrSignature) {
			t.Errorf("%s with a longer body: %v", name, err)
		}
		got, err := f.Parse(h, body)
		w := want[name]
		w.Project, w.Delivery, w.Commit, w.CommentID = "acme/hooks", h.Get("X-Gitea-Delivery"), got.Commit, got.CommentID
		if err != nil || got != w || (w.Kind == forge.Pushed) != (got.Commit != "") || (w.Kind == forge.Commented) != (got.CommentID != "") {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, w)
		}
		// Forgejo sends the same under its own name as well.
		other := http.Header{}
		for k, v := range h {
			other[strings.Replace(k, "Gitea", "Forgejo", 1)] = v
		}
		if again, err := f.Parse(other, body); err != nil || again != got || f.Verify(other, body, []secret.Value{secret.New(recordedSecret)}) != nil {
			t.Errorf("%s from Forgejo: %+v, %v", name, again, err)
		}
	}
}

func recorded(t testing.TB, file string) (http.Header, []byte) {
	t.Helper()
	var r struct {
		Headers map[string]string
		Body    string
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	for k, v := range r.Headers {
		h.Set(k, v)
	}
	return h, []byte(r.Body)
}

func TestParse(t *testing.T) {
	f := open(t, "https://git.example")
	repo := `"repository":{"full_name":"acme/infra"}`
	for name, c := range map[string]struct {
		event, body string
		kind        forge.EventKind
		fails       bool
	}{
		"label":              {"pull_request", `{"action":"label_updated","number":1,` + repo + `}`, forge.Ignored, false},
		"branch gone":        {"push", `{"ref":"refs/heads/x","after":"0000000000000000000000000000000000000000",` + repo + `}`, forge.Pushed, false},
		"comment on issue":   {"issue_comment", `{"action":"created","issue":{"number":1,"pull_request":null},"comment":{"id":1},` + repo + `}`, forge.Ignored, false},
		"comment, no flag":   {"issue_comment", `{"action":"created","issue":{"number":1,"pull_request":{"merged":false}},"comment":{"id":1},` + repo + `}`, forge.Commented, false},
		"comment deleted":    {"issue_comment", `{"action":"deleted","is_pull":true,"issue":{"number":1},"comment":{"id":1},` + repo + `}`, forge.Ignored, false},
		"other event":        {"release", `no JSON`, forge.Ignored, false},
		"no event":           {"", `{}`, forge.Ignored, false},
		"no JSON":            {"push", `payload=%7B%7D`, "", true},
		"nothing in it":      {"push", `{}`, "", true},
		"no number":          {"pull_request", `{"action":"opened",` + repo + `}`, "", true},
		"no comment":         {"issue_comment", `{"action":"created","is_pull":true,"issue":{"number":1},` + repo + `}`, "", true},
		"negative":           {"pull_request", `{"action":"opened","number":-4,` + repo + `}`, "", true},
		"wrong types":        {"pull_request", `{"action":1,"number":"x"}`, "", true},
		"review, old number": {"pull_request_rejected", `{"action":"reviewed","pull_request":{"number":3},` + repo + `}`, forge.PullChanged, false},
	} {
		e, err := f.Parse(http.Header{"X-Gitea-Event": {c.event}}, []byte(c.body))
		if (err != nil) != c.fails || err == nil && e.Kind != c.kind {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if name == "branch gone" && e.Commit != "" {
			t.Errorf("a branch that is gone has a commit: %+v", e)
		}
	}
}

func TestVerifyNeedsASignature(t *testing.T) {
	f := open(t, "https://git.example")
	secrets := []secret.Value{secret.New(recordedSecret)}
	for _, h := range []http.Header{{}, {"X-Gitea-Signature": {""}}, {"X-Gitea-Signature": {"zz"}}, {"X-Hub-Signature-256": {"sha256="}}, {"X-Hub-Signature": {"sha1=00"}}} {
		if err := f.Verify(h, []byte("{}"), secrets); !errors.Is(err, forge.ErrSignature) {
			t.Errorf("%v: %v", h, err)
		}
	}
}

// TestPagesWithAndWithoutHeaders: Gitea's lists differ in what they tell of
// their length.
func TestPagesWithAndWithoutHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		total, link, paged bool
		want               int
	}{
		"count and link": {true, true, true, 25}, "count alone": {true, false, true, 25}, "link alone": {false, true, true, 25}, "no pages at all": {false, false, false, 25},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "token "+canary {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if strings.HasSuffix(r.URL.Path, "/user") {
				fmt.Fprint(w, `{"login":"bot"}`)
				return
			}
			from, to := 0, 25
			if page, _ := strconv.Atoi(r.URL.Query().Get("page")); c.paged {
				from, to = min((page-1)*10, 25), min(page*10, 25)
				if c.link && to < 25 {
					w.Header().Set("Link", fmt.Sprintf(`<http://inside/x?page=%d>; rel="next"`, page+1))
				}
			}
			if c.total {
				w.Header().Set("X-Total-Count", "25")
			}
			list := []map[string]any{}
			for i := from; i < to; i++ {
				list = append(list, map[string]any{"id": i, "user": nil})
			}
			_ = json.NewEncoder(w).Encode(list)
		}))
		list, err := open(t, srv.URL).List(t.Context(), 1)
		srv.Close()
		if err != nil || len(list) != c.want || list[24].ID != "24" {
			t.Errorf("%s: %d comments, %v", name, len(list), err)
		}
	}
}

func TestNoTokenInErrors(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"message":"token %s is no good"}`, r.Header.Get("Authorization"))
	}))
	defer srv.Close()
	f := open(t, srv.URL)
	_, err := f.PullRequest(t.Context(), 1)
	if !errors.Is(err, forge.ErrDenied) || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	srv.Close()
	if err := f.SetStatus(t.Context(), forge.Status{Commit: "../../x"}); !errors.Is(err, forge.ErrUnreachable) || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		h, body := recorded(f, file)
		f.Add(h.Get("X-Gitea-Event"), body)
	}
	f.Add("push", []byte(`[[[`))
	g := open(f, "https://git.example")
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		e, err := g.Parse(http.Header{"X-Gitea-Event": {event}}, body)
		if err == nil && e.Kind != forge.Ignored && (e.Project == "" || e.Kind != forge.Pushed && e.Number <= 0) {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("abcd", "sha256=abcd", []byte("x"))
	g := open(f, "https://git.example")
	f.Fuzz(func(t *testing.T, a, b string, body []byte) {
		if g.Verify(http.Header{"X-Gitea-Signature": {a}, "X-Hub-Signature-256": {b}}, body, []secret.Value{secret.New("nobody guesses this one")}) == nil {
			t.Fatalf("%q %q passes", a, b)
		}
	})
}
