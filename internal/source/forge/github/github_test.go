package github_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/github"
)

func open(t testing.TB, tr http.RoundTripper) *github.Forge {
	t.Helper()
	f, err := github.Open(t.Context(), forge.Options{Project: "acme/infra", Credentials: forge.Credentials{Token: secret.New("t")}, Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*github.Forge)
}

func testKey(t testing.TB) secret.Value {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

func TestAddresses(t *testing.T) {
	for base, want := range map[string][2]string{
		"":                                 {"https://api.github.com/user", "https://github.com/acme/infra"},
		"https://github.com":               {"https://api.github.com/user", "https://github.com/acme/infra"},
		"https://api.github.com/":          {"https://api.github.com/user", "https://github.com/acme/infra"},
		"https://acme.ghe.com":             {"https://api.acme.ghe.com/user", "https://acme.ghe.com/acme/infra"},
		"https://git.acme.example":         {"https://git.acme.example/api/v3/user", "https://git.acme.example/acme/infra"},
		"https://git.acme.example/api/v3/": {"https://git.acme.example/api/v3/user", "https://git.acme.example/acme/infra"},
	} {
		var asked string
		f, err := github.Open(t.Context(), forge.Options{BaseURL: base, Project: "acme/infra", Credentials: forge.Credentials{Token: secret.New("t")},
			Transport: trip(func(r *http.Request) (*http.Response, error) {
				asked = r.URL.String()
				w := httptest.NewRecorder()
				_, _ = w.WriteString(`{"login":"x"}`)
				return w.Result(), nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.List(t.Context(), 1)
		if asked, _, _ = strings.Cut(asked, "?"); !strings.HasPrefix(want[0], strings.TrimSuffix(asked, "/repos/acme/infra/issues/1/comments")) || f.Info().WebURL != want[1] {
			t.Errorf("%q: asks %s, web %s; want %v", base, asked, f.Info().WebURL, want)
		}
	}
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOpenSaysWhatIsMissing(t *testing.T) {
	key := secret.New("-----BEGIN RSA PRIVATE KEY-----\nbmVpbg==\n-----END RSA PRIVATE KEY-----\n")
	for part, o := range map[string]forge.Options{
		"owner/name":        {Project: "infra", Credentials: forge.Credentials{Token: secret.New("t")}},
		"write owner/name":  {Project: "acme/../x", Credentials: forge.Credentials{Token: secret.New("t")}},
		"neither":           {Project: "acme/infra"},
		"not both":          {Project: "acme/infra", Credentials: forge.Credentials{Token: secret.New("t"), App: &forge.App{ID: 1, Key: key}}},
		"private key can't": {Project: "acme/infra", Credentials: forge.Credentials{App: &forge.App{ID: 1, Key: key}}},
		"id is missing":     {Project: "acme/infra", Credentials: forge.Credentials{App: &forge.App{Key: key}}},
		"https://":          {Project: "acme/infra", BaseURL: "git.example.com", Credentials: forge.Credentials{Token: secret.New("t")}},
		"no certificate":    {Project: "acme/infra", CA: "x", Credentials: forge.Credentials{Token: secret.New("t")}},
	} {
		_, err := github.Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "bmVpbg") {
			t.Errorf("want %q, got %v", part, err)
		}
	}
}

func pull(n int, more m) m {
	repo := m{"full_name": "acme/infra"}
	p := m{"number": n, "state": "open", "title": "T", "user": m{"login": "ann"}, "html_url": "https://x/1", "changed_files": 2,
		"base": m{"ref": "main", "sha": "b0", "repo": repo}, "head": m{"ref": "change", "sha": "h0", "repo": repo}}
	for k, v := range more {
		p[k] = v
	}
	return p
}

func TestPullRequestFacts(t *testing.T) {
	f := newFake(t)
	g := f.open()
	f.one["GET /repos/acme/infra/pulls/1"] = pull(1, m{"merge_commit_sha": "try", "draft": true, "labels": []m{{"name": "dns"}}})
	f.one["GET /repos/acme/infra/pulls/2"] = pull(2, m{"state": "closed", "merged": true, "merge_commit_sha": "m0", "merged_by": m{"login": "bob"}})
	f.one["GET /repos/acme/infra/pulls/3"] = pull(3, m{"head": m{"ref": "x", "sha": "h1", "repo": m{"full_name": "eve/infra"}}})
	f.one["GET /repos/acme/infra/pulls/4"] = pull(4, m{"head": m{"ref": "x", "sha": "h1", "repo": nil}})
	f.one["GET /repos/acme/infra/pulls/5"] = m{}
	get := func(n int) forge.PullRequest {
		p, err := g.PullRequest(t.Context(), n)
		if err != nil {
			t.Errorf("%d: %v", n, err)
		}
		return p
	}
	if p := get(1); p.State != "open" || p.MergeCommit != "" || p.Fork || !p.Draft || p.Base != "main" || p.HeadCommit != "h0" || len(p.Labels) != 1 {
		t.Errorf("open: %+v", p)
	}
	if p := get(2); p.State != "merged" || p.MergeCommit != "m0" || p.MergedBy != "bob" {
		t.Errorf("merged: %+v", p)
	}
	if p := get(3); !p.Fork || p.HeadProject != "eve/infra" {
		t.Errorf("fork: %+v", p)
	}
	if p := get(4); !p.Fork || p.HeadProject != "" {
		t.Errorf("deleted fork: %+v", p)
	}
	if _, err := g.PullRequest(t.Context(), 5); err == nil {
		t.Error("an empty answer is a pull request")
	}
	if _, err := g.PullRequest(t.Context(), 6); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	f := newFake(t)
	g := f.open()
	for i := range 250 {
		f.lists["GET /repos/acme/infra/issues/1/comments"] = append(f.lists["GET /repos/acme/infra/issues/1/comments"],
			m{"id": i + 1, "body": fmt.Sprint(i), "user": m{"login": []string{"ann", "Trueup-Bot"}[i%2]}})
		f.lists["GET /repos/acme/infra/pulls"] = append(f.lists["GET /repos/acme/infra/pulls"], pull(i+1, nil))
		f.lists["GET /repos/acme/infra/pulls/1/files"] = append(f.lists["GET /repos/acme/infra/pulls/1/files"], m{"filename": fmt.Sprint(i), "status": "changed"})
	}
	f.one["GET /repos/acme/infra/pulls/1"] = pull(1, m{"changed_files": 250})
	comments, err := g.List(t.Context(), 1)
	if err != nil || len(comments) != 250 || comments[249].ID != "250" || comments[0].Own || !comments[1].Own {
		t.Errorf("%d comments, %v", len(comments), err)
	}
	if open, err := g.Open(t.Context()); err != nil || len(open) != 250 {
		t.Errorf("%d open, %v", len(open), err)
	}
	if files, err := g.Files(t.Context(), 1); err != nil || len(files) != 250 || files[0].Status != "modified" {
		t.Errorf("%d files, %v", len(files), err)
	}
	f.one["GET /repos/acme/infra/pulls/1"] = pull(1, m{"changed_files": 251})
	if files, err := g.Files(t.Context(), 1); !errors.Is(err, forge.ErrIncomplete) || files != nil {
		t.Errorf("a list that is cut short gives %d files, %v", len(files), err)
	}
	n := 0
	f.trap = func(w http.ResponseWriter, r *http.Request) bool {
		if n++; strings.HasSuffix(r.URL.Path, "comments") && r.URL.Query().Get("page") == "3" {
			refuse(w, 422, "broken")
			return true
		}
		return false
	}
	if comments, err := g.List(t.Context(), 1); err == nil || comments != nil {
		t.Errorf("a list that breaks off gives %d comments", len(comments))
	}
}

func TestReviewsGiveTheLastStanding(t *testing.T) {
	f := newFake(t)
	review := func(user, state, commit string) m {
		return m{"user": m{"login": user}, "state": state, "commit_id": commit}
	}
	f.lists["GET /repos/acme/infra/pulls/1/reviews"] = []any{
		review("ann", "APPROVED", "c1"), review("ann", "COMMENTED", "c2"),
		review("bob", "APPROVED", "c1"), review("bob", "CHANGES_REQUESTED", "c2"),
		review("cid", "COMMENTED", "c1"), review("cid", "APPROVED", "c2"),
		review("dan", "DISMISSED", "c1"), review("dan", "COMMENTED", "c1"),
		review("eve", "PENDING", "c1"),
		m{"user": nil, "state": "APPROVED"},
	}
	got, err := f.open().Reviews(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range got {
		out = append(out, fmt.Sprint(r.User, " ", r.State, " ", r.Commit, " ", r.Stale))
	}
	want := []string{"ann approved c1 false", "bob rejected c2 false", "cid approved c2 false", "dan commented c1 false"}
	if !slices.Equal(out, want) {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestMergedBy(t *testing.T) {
	f := newFake(t)
	g := f.open()
	at := "2026-01-01T00:00:00Z"
	f.lists["GET /repos/acme/infra/commits/m0/pulls"] = []any{pull(1, nil), pull(2, m{"merged_at": at, "merge_commit_sha": "m0"}), pull(3, m{"merged_at": at, "merge_commit_sha": "m9"})}
	f.lists["GET /repos/acme/infra/commits/m1/pulls"] = []any{pull(1, nil)}
	f.one["GET /repos/acme/infra/commits/m2/pulls"] = 422
	f.one["GET /repos/acme/infra/pulls/2"] = pull(2, m{"merged": true, "state": "closed", "merged_by": m{"login": "bob"}, "merge_commit_sha": "m0"})
	if p, err := g.MergedBy(t.Context(), "m0"); err != nil || p.Number != 2 || p.MergedBy != "bob" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, c := range []string{"m1", "m2"} {
		if _, err := g.MergedBy(t.Context(), c); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func TestWhoMayWhat(t *testing.T) {
	f := newFake(t)
	g := f.open()
	for i, c := range []struct {
		permission, role string
		want             forge.Permission
	}{{"admin", "admin", forge.CanAdmin}, {"write", "maintain", forge.CanMaintain}, {"write", "write", forge.CanWrite}, {"write", "releaser", forge.CanWrite},
		{"read", "triage", forge.CanTriage}, {"read", "read", forge.CanRead}, {"none", "", forge.NoAccess}, {"new word", "admin", forge.NoAccess}} {
		f.one[fmt.Sprintf("GET /repos/acme/infra/collaborators/u%d/permission", i)] = m{"permission": c.permission, "role_name": c.role}
		if p, err := g.Permission(t.Context(), fmt.Sprintf("u%d", i)); err != nil || p != c.want {
			t.Errorf("%s/%s: %d, %v", c.permission, c.role, p, err)
		}
	}
	if p, err := g.Permission(t.Context(), "../../../orgs/acme"); err == nil || p != forge.NoAccess {
		t.Errorf("a user's name climbs out of its place: %d, %v", p, err)
	}
	if last := f.seen[len(f.seen)-1]; strings.Contains(last, "/orgs/") {
		t.Errorf("asked %s", last)
	}
	f.one["GET /orgs/acme/teams/sre"] = m{"slug": "sre"}
	f.one["GET /orgs/acme/teams/sre/memberships/ann"] = m{"state": "active"}
	f.one["GET /orgs/acme/teams/sre/memberships/bob"] = m{"state": "pending"}
	f.one["GET /orgs/acme/teams/denied/memberships/ann"] = 403
	f.one["GET /orgs/acme/teams/denied"] = m{"slug": "denied"}
	for _, c := range []struct {
		team, user string
		in, fails  bool
	}{{"acme/sre", "ann", true, false}, {"acme/sre", "bob", false, false}, {"acme/sre", "eve", false, false}, {"acme/hidden", "ann", false, true},
		{"acme/denied", "ann", false, true}, {"sre", "ann", false, true}} {
		in, err := g.InTeam(t.Context(), c.team, c.user)
		if in != c.in || (err != nil) != c.fails {
			t.Errorf("%s in %s: %v, %v", c.user, c.team, in, err)
		}
	}
}

func TestDeploymentIsRecordedOnce(t *testing.T) {
	f := newFake(t)
	g := f.open()
	f.lists["GET /repos/acme/infra/deployments"] = []any{m{"id": 7, "payload": m{"run": "other"}}, m{"id": 8, "payload": `{"run":"r1"}`}}
	f.one["POST /repos/acme/infra/deployments"] = m{"id": 9}
	for _, id := range []string{"8", "9"} {
		f.one["POST /repos/acme/infra/deployments/"+id+"/statuses"] = m{"id": 1}
	}
	for run, want := range map[string]string{"r1": "8", "r2": "9"} {
		id, err := g.Deploy(t.Context(), forge.Deployment{Commit: "c", Environment: "prod", State: "running", Run: run})
		if err != nil || id != want {
			t.Errorf("%s: %s, %v", run, id, err)
		}
		if got := f.bodies["POST /repos/acme/infra/deployments/"+want+"/statuses"]; !strings.Contains(got, `"in_progress"`) {
			t.Error(got)
		}
	}
	if body := f.bodies["POST /repos/acme/infra/deployments"]; !strings.Contains(body, `"required_contexts":[]`) || !strings.Contains(body, `"auto_merge":false`) {
		t.Errorf("GitHub would merge, or wait for its own checks: %s", body)
	}
}

func TestHooks(t *testing.T) {
	f := newFake(t)
	g := f.open()
	f.lists["GET /repos/acme/infra/hooks"] = []any{
		m{"id": 1, "active": true, "events": []string{"push"}, "config": m{"url": "https://t.example/hook"}, "last_response": m{"code": 502, "status": "x", "message": "Bad Gateway"}},
		m{"id": 2, "config": m{"url": "https://t.example/other"}, "last_response": m{"code": nil, "status": "unused"}},
		m{"id": 3, "config": m{"url": "https://t.example/third"}, "last_response": m{"code": 202, "status": "active", "message": "OK"}}}
	list, err := g.Hooks(t.Context())
	if err != nil || len(list) != 3 || list[0].LastError != "answered with 502: Bad Gateway" || list[1].Delivered || !list[2].Delivered || list[2].LastError != "" {
		t.Errorf("%+v, %v", list, err)
	}
	f.one["PATCH /repos/acme/infra/hooks/1"] = m{"id": 1, "config": m{"url": "https://t.example/hook"}}
	f.one["POST /repos/acme/infra/hooks"] = m{"id": 4, "config": m{"url": "https://t.example/new"}}
	for url, key := range map[string]string{"https://t.example/hook": "PATCH /repos/acme/infra/hooks/1", "https://t.example/new": "POST /repos/acme/infra/hooks"} {
		if _, err := g.PutHook(t.Context(), forge.Hook{URL: url, Secret: "s3cret"}); err != nil {
			t.Error(err)
		}
		for _, part := range []string{`"secret":"s3cret"`, `"content_type":"json"`, `"insecure_ssl":"0"`, `"merge_group"`, `"active":true`} {
			if !strings.Contains(f.bodies[key], part) {
				t.Errorf("%s lacks %s: %s", key, part, f.bodies[key])
			}
		}
	}
}

func TestRequiredStatuses(t *testing.T) {
	f := newFake(t)
	g := f.open()
	f.one["GET /repos/acme/infra/branches/main"] = m{"name": "main", "protection": m{"required_status_checks": m{"contexts": []string{"ci"}, "checks": []m{{"context": "ci"}}}}}
	f.one["GET /repos/acme/infra/rules/branches/main"] = []m{{"type": "deletion"}, {"type": "required_status_checks", "parameters": m{"required_status_checks": []m{{"context": "trueup/plan"}}}}}
	if got, err := g.RequiredStatuses(t.Context(), "main"); err != nil || fmt.Sprint(got) != "[ci trueup/plan]" {
		t.Errorf("%v, %v", got, err)
	}
	delete(f.one, "GET /repos/acme/infra/rules/branches/main") // an old server
	if got, err := g.RequiredStatuses(t.Context(), "main"); err != nil || fmt.Sprint(got) != "[ci]" {
		t.Errorf("%v, %v", got, err)
	}
	f.one["GET /repos/acme/infra/rules/branches/main"] = 403
	if _, err := g.RequiredStatuses(t.Context(), "main"); !errors.Is(err, forge.ErrDenied) {
		t.Error(err)
	}
	if _, err := g.RequiredStatuses(t.Context(), "none"); !errors.Is(err, forge.ErrNotFound) {
		t.Error(err)
	}
}

func TestProposeIsOnePullRequest(t *testing.T) {
	f := newFake(t)
	g := f.open()
	f.lists["GET /repos/acme/infra/pulls"] = nil
	f.one["POST /repos/acme/infra/pulls"] = pull(5, nil)
	f.one["PATCH /repos/acme/infra/pulls/6"] = pull(6, nil)
	for _, n := range []int{5, 6} {
		f.one[fmt.Sprintf("GET /repos/acme/infra/pulls/%d", n)] = pull(n, nil)
		f.one[fmt.Sprintf("POST /repos/acme/infra/issues/%d/labels", n)] = []m{}
	}
	p := forge.Proposal{Base: "main", Head: "change", Title: "T", Labels: []string{"l"}}
	if got, err := g.Propose(t.Context(), p); err != nil || got.Number != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	// A fork's branch of the same name is another pull request.
	f.lists["GET /repos/acme/infra/pulls"] = []any{pull(6, nil), pull(7, m{"head": m{"ref": "change", "sha": "x", "repo": m{"full_name": "eve/infra"}}})}
	if got, err := g.Propose(t.Context(), p); err != nil || got.Number != 6 {
		t.Errorf("%+v, %v", got, err)
	}
}
