package bitbucket

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

func TestPullRequests(t *testing.T) {
	f := newFake(t)
	f.addPR(1, nil)
	f.addPR(2, object{"source": side("record", "9999999999999999", "bob/dns"), "draft": true})
	f.addPR(3, object{"source": side("record", "9999999999999999", "")})
	f.addPR(4, object{"state": "MERGED", "merge_commit": object{"hash": landed[:12]}, "closed_by": person("bob")})
	f.addPR(5, object{"state": "SUPERSEDED"})
	g := f.connect(t)
	got, err := g.PullRequest(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := forge.PullRequest{Number: 1, Title: "A new record", State: "open", Author: "557058:ada", URL: got.URL, Base: "main", Head: "record", HeadCommit: head,
		BaseCommit: base, HeadProject: project, UpdatedAt: got.UpdatedAt}
	if !reflect.DeepEqual(got, want) || !got.UpdatedAt.Equal(time.Date(2026, 11, 20, 10, 11, 12, 345678e3, time.UTC)) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	open, err := g.Open(t.Context())
	if err != nil || len(open) != 3 || !open[1].Fork || open[1].HeadProject != "bob/dns" || !open[2].Fork || open[2].HeadProject != "" {
		t.Fatalf("%+v, %v", open, err)
	}
	check := func(what string) {
		t.Helper()
		by, err := g.MergedBy(t.Context(), landed)
		if err != nil || by.Number != 4 || by.MergeCommit != landed || by.MergedBy != "557058:bob" {
			t.Errorf("%s: %+v, %v", what, by, err)
		}
		if _, err := g.MergedBy(t.Context(), base); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("%s, a direct push: %v", what, err)
		}
	}
	check("without the index")
	f.index = map[string][]int{landed: {1, 4}, base: {1}}
	check("with the index")
	if n := f.Used("GET /2.0/repositories/{workspace}/{repo_slug}/commit/{commit}"); n != 3 {
		t.Errorf("%d look-ups of three commits", n)
	}
}

func TestFilesAndReviews(t *testing.T) {
	f := newFake(t)
	path := func(p string) object { return object{"type": "commit_file", "path": p} }
	f.diffstat = []object{{"status": "added", "old": nil, "new": path("a")}, {"status": "removed", "old": path("b"), "new": nil},
		{"status": "renamed", "old": path("c"), "new": path("d")}, {"status": "modified", "old": path("e"), "new": path("e")}}
	part := func(who string, approved bool, state any) object {
		return object{"type": "participant", "user": person(who), "role": "REVIEWER", "approved": approved, "state": state, "participated_on": nil}
	}
	f.addPR(1, object{"participants": []object{part("bob", true, "approved"), part("eve", false, "changes_requested"), part("kim", false, nil)}})
	g := f.connect(t)
	files, err := g.Files(t.Context(), 1)
	want := []forge.File{{Path: "a", Status: "added"}, {Path: "b", Status: "removed"}, {Path: "d", OldPath: "c", Status: "renamed"}, {Path: "e", Status: "modified"}}
	if err != nil || !reflect.DeepEqual(files, want) {
		t.Errorf("%+v, %v", files, err)
	}
	reviews, err := g.Reviews(t.Context(), 1)
	if err != nil || len(reviews) != 2 || reviews[0].User != "557058:bob" || reviews[0].State != "approved" || reviews[1].State != "rejected" {
		t.Errorf("%+v, %v", reviews, err)
	}
}

func TestComments(t *testing.T) {
	f := newFake(t)
	f.addPR(1, nil)
	for i, deleted := range []bool{false, true, false} {
		f.comments = append(f.comments, object{"id": i + 1, "content": object{"raw": "text"}, "user": person("ada"), "created_on": "2026-11-20T09:00:00+00:00", "deleted": deleted})
	}
	g := f.connect(t)
	c, err := g.Add(t.Context(), 1, "the plan")
	if err != nil || !c.Own {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := g.Edit(t.Context(), 1, c.ID, "another plan"); err != nil {
		t.Fatal(err)
	}
	list, err := g.List(t.Context(), 1)
	if err != nil || len(list) != 3 || list[0].Own || !list[2].Own || list[2].Body != "another plan" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := g.React(t.Context(), 1, "1", forge.Seen); !errors.Is(err, forge.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if _, err := f.connect(t).List(t.Context(), 1); err != nil || f.Used("GET /2.0/user") != 1 {
		t.Errorf("who am I: %v", err)
	}
}

func TestReporting(t *testing.T) {
	f := newFake(t)
	g := f.connect(t)
	long := "trueup/plan/" + strings.Repeat("x", 60)
	for _, s := range []forge.Status{{Commit: head, Context: "trueup/plan", State: forge.StatusPending, Ref: "record"}, {Commit: head, Context: "trueup/plan", State: forge.StatusFailure},
		{Commit: head, Context: long + "1", State: forge.StatusSuccess}, {Commit: head, Context: long + "2", State: forge.StatusSuccess}} {
		if err := g.SetStatus(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.builds) != 3 || f.builds[0]["state"] != "FAILED" {
		t.Errorf("%v", f.builds)
	}
	var many []forge.Annotation
	for i := range 1100 {
		many = append(many, forge.Annotation{Path: "dns/zone", Line: i, Level: "warning", Message: strings.Repeat("x", 3000)})
	}
	if err := g.Annotate(t.Context(), head, "trueup/validate", many); err != nil {
		t.Fatal(err)
	}
	if r := f.reports["trueup/validate"]; r["result"] != "PASSED" || len(r["annotations"].([]object)) != 1000 {
		t.Errorf("%v", r["result"])
	}
	if err := g.Annotate(t.Context(), head, "trueup/validate", []forge.Annotation{{Level: "error", Message: "m"}}); err != nil {
		t.Fatal(err)
	}
	if r := f.reports["trueup/validate"]; r["result"] != "FAILED" || len(r["annotations"].([]object)) != 1 {
		t.Errorf("%v", r)
	}
	f.restrictions = []object{{"kind": "require_passing_builds_to_merge", "branch_match_kind": "glob", "pattern": "ma*", "value": 1}}
	for branch, want := range map[string]int{"main": 1, "other": 0} {
		if got, err := g.RequiredStatuses(t.Context(), branch); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", branch, got, err)
		}
	}
}

func TestPeople(t *testing.T) {
	f := newFake(t)
	f.rights = map[string]string{"ada": "admin", "bob": "read", "kim": "none"}
	f.members["acme/sre"] = []string{"ada"}
	g := f.connect(t)
	for name, want := range map[string]forge.Permission{"557058:ada": forge.CanAdmin, "{bob}": forge.CanRead, "557058:kim": forge.NoAccess, "ada": forge.NoAccess, "Ada": forge.NoAccess, `x" OR user.account_id != "`: forge.NoAccess} {
		if strings.Contains(name, `"`) {
			continue // quoting has its own test
		}
		if got, err := g.Permission(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	for _, c := range []struct {
		team, user string
		want       bool
	}{{"acme/sre", "557058:ada", true}, {"acme/sre", "557058:bob", false}, {"acme/sre", "ada", false}, {"acme", "557058:ada", true}, {"acme", "557058:bob", false}} {
		if got, err := g.InTeam(t.Context(), c.team, c.user); err != nil || got != c.want {
			t.Errorf("%s in %s: %v, %v", c.user, c.team, got, err)
		}
	}
	for _, team := range []string{"acme/gone", "other"} {
		if _, err := g.InTeam(t.Context(), team, "557058:ada"); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("%s, which is missing, must be an error: %v", team, err)
		}
	}
	f.scopes = "repository:write, pullrequest"
	if s, err := g.Examine(t.Context()); err != nil || s.Account != "557058:bot" || len(s.Missing) != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestQuoted(t *testing.T) {
	if got := quoted(`a" OR state = "MERGED\`); got != `"a\" OR state = \"MERGED\\"` {
		t.Error(got)
	}
}

func TestPropose(t *testing.T) {
	f := newFake(t)
	f.addPR(9, object{"source": side("trueup/promote/prod", "9999999999999999", "bob/dns")}) // a fork's, of the same name
	g := f.connect(t)
	p := forge.Proposal{Base: "main", Head: "trueup/promote/prod", Title: "Promote", Body: "one"}
	a, err := g.Propose(t.Context(), p)
	if err != nil || a.Number == 9 || a.State != "open" {
		t.Fatalf("%+v, %v", a, err)
	}
	p.Body = "two"
	if b, err := g.Propose(t.Context(), p); err != nil || b.Number != a.Number || f.prs[a.Number]["description"] != "two" {
		t.Fatalf("%+v, %v", b, err)
	}
	if _, err := g.Propose(t.Context(), p); err != nil || f.Used("PUT /2.0/repositories/{workspace}/{repo_slug}/pullrequests/{pull_request_id}") != 1 {
		t.Errorf("what is there already was written again: %v", err)
	}
}

func TestHooks(t *testing.T) {
	f := newFake(t)
	for i := range 3 {
		f.hooks = append(f.hooks, object{"uuid": fmt.Sprintf("{other-%d}", i), "url": fmt.Sprintf("https://other.example/%d", i), "active": true, "events": []string{"repo:push"}})
	}
	g := f.connect(t)
	h, err := g.PutHook(t.Context(), forge.Hook{URL: "https://trueup.example/hook", Secret: "one"})
	if err != nil || !reflect.DeepEqual(h.Events, wanted) {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := g.PutHook(t.Context(), forge.Hook{URL: h.URL, Secret: "two"}); err != nil || len(f.hooks) != 4 || f.hooks[3]["secret"] != "two" {
		t.Fatalf("%v, %v", err, f.hooks)
	}
	if err := g.DeleteHook(t.Context(), h.ID); err != nil || len(f.hooks) != 3 {
		t.Errorf("%v, %v", err, f.hooks)
	}
}

func TestRefusals(t *testing.T) {
	f := newFake(t)
	f.addPR(1, nil)
	open := func(user, tok string) forge.Forge {
		g, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: project, Credentials: forge.Credentials{Username: user, Token: secret.New(tok)}})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if _, err := open("bot@example.org", token).PullRequest(t.Context(), 1); err != nil {
		t.Errorf("an API token with its address: %v", err)
	}
	if _, err := open("", "wrong-canary").PullRequest(t.Context(), 1); !errors.Is(err, forge.ErrDenied) || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong token: %v", err)
	}
	f.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprintf(w, `{"values": [], "next": "https://api.bitbucket.org%s?%s"}`, r.URL.Path, r.URL.RawQuery)
		return true
	})
	if got, err := f.connect(t).Open(t.Context()); err == nil {
		t.Errorf("a list that goes in circles gives %v", got)
	}
	for _, p := range []string{"", "dns", "acme/..", "acme/dns/x", "acme/dns?x"} {
		if _, err := Open(t.Context(), forge.Options{Project: p, Credentials: forge.Credentials{Token: secret.New("x")}}); err == nil {
			t.Errorf("project %q is accepted", p)
		}
	}
}

// TestAnnotateWithoutTheRight: findings go into the comment then.
func TestAnnotateWithoutTheRight(t *testing.T) {
	f := newFake(t)
	f.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/reports/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	if err := f.connect(t).Annotate(t.Context(), head, "trueup/validate", nil); !errors.Is(err, forge.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
