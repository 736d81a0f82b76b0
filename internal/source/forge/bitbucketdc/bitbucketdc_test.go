package bitbucketdc

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
	f.addPR(2, object{"fromRef": side("record", head, repo("~bob", "dns")), "draft": true})
	f.addPR(3, nil)
	f.addPR(4, object{"state": "MERGED", "properties": object{"mergeCommit": object{"id": landed, "displayId": landed[:11]}}})
	f.addPR(5, object{"state": "DECLINED", "fromRef": side("x", landed, repo("INF", "dns"))})
	f.activities = []object{{"id": 1, "action": "MERGED", "user": person("bob"), "commit": object{"id": landed}}, {"id": 2, "action": "OPENED", "user": person("ada")}}
	g := f.connect(t)
	got, err := g.PullRequest(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := forge.PullRequest{Number: 1, Title: "A new record", State: "open", Author: "ada", URL: got.URL, Base: "main", Head: "record", HeadCommit: head,
		BaseCommit: base, HeadProject: project, UpdatedAt: time.UnixMilli(1795000001000).UTC()}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	open, err := g.Open(t.Context())
	if err != nil || len(open) != 3 || !open[1].Fork || !open[1].Draft || open[1].HeadProject != "~bob/dns" {
		t.Fatalf("%+v, %v", open, err)
	}
	by, err := g.MergedBy(t.Context(), landed)
	if err != nil || by.Number != 4 || by.MergeCommit != landed || by.MergedBy != "bob" {
		t.Errorf("%+v, %v", by, err)
	}
	if _, err := g.MergedBy(t.Context(), base); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a direct push: %v", err)
	}
	if p, err := g.PullRequest(t.Context(), 5); err != nil || p.State != "closed" {
		t.Errorf("a declined one: %+v, %v", p, err)
	}
}

func TestFilesAndReviews(t *testing.T) {
	f := newFake(t)
	path := func(p string) object { return object{"toString": p, "name": p} }
	f.changes = []object{{"type": "ADD", "path": path("a")}, {"type": "DELETE", "path": path("b")}, {"type": "MOVE", "path": path("d"), "srcPath": path("c")},
		{"type": "MODIFY", "path": path("e")}, {"type": "COPY", "path": path("g"), "srcPath": path("e")}}
	review := func(who, status string) object {
		return object{"user": person(who), "role": "REVIEWER", "status": status, "approved": status == "APPROVED", "lastReviewedCommit": base}
	}
	f.addPR(1, object{"reviewers": []object{review("bob", "APPROVED"), review("eve", "NEEDS_WORK"), review("kim", "UNAPPROVED")}})
	f.activities = []object{{"id": 5, "action": "REVIEWED", "user": person("eve"), "createdDate": 1795000005000},
		{"id": 4, "action": "APPROVED", "user": person("bob"), "createdDate": 1795000004000}, {"id": 3, "action": "APPROVED", "user": person("bob"), "createdDate": 1795000003000}}
	g := f.connect(t)
	files, err := g.Files(t.Context(), 1)
	want := []forge.File{{Path: "a", Status: "added"}, {Path: "b", Status: "removed"}, {Path: "d", OldPath: "c", Status: "renamed"}, {Path: "e", Status: "modified"}, {Path: "g", Status: "added"}}
	if err != nil || !reflect.DeepEqual(files, want) {
		t.Errorf("%+v, %v", files, err)
	}
	reviews, err := g.Reviews(t.Context(), 1)
	if err != nil || len(reviews) != 2 || reviews[0].State != "approved" || reviews[0].Commit != base || reviews[1].User != "eve" || reviews[1].State != "rejected" {
		t.Errorf("%+v, %v", reviews, err)
	}
	if len(reviews) == 2 && (reviews[0].At.UnixMilli() != 1795000004000 || reviews[1].At.UnixMilli() != 1795000005000) {
		t.Errorf("a review without its time counts for no plan: %+v", reviews)
	}
}

func TestComments(t *testing.T) {
	f := newFake(t)
	f.addPR(1, nil)
	answer := object{"id": 11, "version": 0, "text": "trueup plan", "author": person("bob"), "createdDate": 1795000002000, "comments": []object{}}
	first := object{"id": 10, "version": 0, "text": "hello", "author": person("ada"), "createdDate": 1795000001000, "comments": []object{answer}}
	f.comments["10"], f.comments["11"] = first, answer
	f.activities = []object{{"id": 3, "action": "COMMENTED", "commentAction": "ADDED", "user": person("ada"), "comment": first}, {"id": 2, "action": "APPROVED", "user": person("bob")}, {"id": 1, "action": "OPENED", "user": person("ada")}}
	g := f.connect(t)
	c, err := g.Add(t.Context(), 1, "the plan")
	if err != nil || !c.Own {
		t.Fatalf("%+v, %v", c, err)
	}
	f.comments[c.ID]["version"] = 5 // somebody edited it
	if err := g.Edit(t.Context(), 1, c.ID, "another plan"); err != nil || f.comments[c.ID]["text"] != "another plan" {
		t.Fatalf("%v, %v", err, f.comments[c.ID])
	}
	races := 0
	f.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && races < 2 { // it changes between reading and writing
			races++
			f.comments[c.ID]["version"] = f.comments[c.ID]["version"].(int) + 1
		}
		return false
	})
	if err := g.Edit(t.Context(), 1, c.ID, "a third plan"); err != nil || f.comments[c.ID]["text"] != "a third plan" || races != 2 {
		t.Fatalf("%v after %d races", err, races)
	}
	list, err := g.List(t.Context(), 1)
	if err != nil || len(list) != 3 || list[0].ID != "10" || list[1].Author != "bob" || list[1].Own || list[2].Body != "a third plan" || !list[2].Own {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, r := range []forge.Reaction{forge.Seen, forge.Done, forge.Refused} {
		if err := g.React(t.Context(), 1, "11", r); err != nil {
			t.Errorf("%s: %v", r, err)
		}
	}
	if err := g.React(t.Context(), 1, "99", forge.Seen); !errors.Is(err, forge.ErrUnsupported) {
		t.Errorf("where there are no reactions: %v", err)
	}
}

func TestReporting(t *testing.T) {
	f := newFake(t)
	g := f.connect(t)
	for i, s := range []forge.Status{{Commit: head, Context: "trueup/plan", State: forge.StatusPending, Ref: "record", Description: strings.Repeat("ä", 400)},
		{Commit: head, Context: "trueup/plan", State: forge.StatusError, URL: "https://trueup.example/r/1"}} {
		if err := g.SetStatus(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if want := []string{"trueup/plan INPROGRESS refs/heads/record", "trueup/plan FAILED <nil>"}[i]; f.sawBuild(i) != want {
			t.Errorf("%s, want %s", f.sawBuild(i), want)
		}
	}
	d := forge.Deployment{Commit: landed, Environment: "prod", State: "running", Run: "r1"}
	id, err := g.Deploy(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	d.ID, d.State = id, "success"
	if again, err := g.Deploy(t.Context(), d); err != nil || again != id || len(f.deploys) != 1 || f.deploys[0]["state"] != "SUCCESSFUL" {
		t.Errorf("%s, %v, %v", again, err, f.deploys)
	}
	var many []forge.Annotation
	for i := range 1200 {
		many = append(many, forge.Annotation{Path: "dns/zone", Line: i, Level: "error", Message: strings.Repeat("x", 3000)})
	}
	if err := g.Annotate(t.Context(), head, "trueup/validate", many); err != nil {
		t.Fatal(err)
	}
	r := f.reports["trueup.validate"]
	if r["result"] != "FAIL" || len(r["annotations"].([]any)) != 1000 {
		t.Errorf("%v with %d", r["result"], len(r["annotations"].([]any)))
	}
	if err := g.Annotate(t.Context(), head, "trueup/validate", nil); err != nil || f.reports["trueup.validate"]["result"] != "PASS" {
		t.Errorf("%v", err)
	}
	at := func(kind, id string, keys ...string) object {
		return object{"id": 1, "buildParentKeys": keys, "refMatcher": object{"id": id, "displayId": id, "type": object{"id": kind, "name": kind}}}
	}
	f.conditions = []object{at("BRANCH", "refs/heads/main", "trueup/plan"), at("BRANCH", "refs/heads/other", "x"), at("PATTERN", "release/*", "y"), at("PATTERN", "ma*", "z"), at("ANY_REF", "ANY_REF_MATCHER_ID", "all")}
	if got, err := g.RequiredStatuses(t.Context(), "main"); err != nil || fmt.Sprint(got) != "[trueup/plan z all]" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPeople(t *testing.T) {
	f := newFake(t)
	f.rights = map[string]string{"ada": "REPO_ADMIN", "adam": "REPO_READ", "bob": "REPO_WRITE", "trueup-bot": "REPO_WRITE"}
	f.groups = map[string][]string{"sre": {"ada"}, "sre-old": {"bob"}}
	g := f.connect(t)
	for name, want := range map[string]forge.Permission{"ada": forge.CanAdmin, "ADA": forge.NoAccess, "adam": forge.CanRead, "bob": forge.CanWrite, "ad": forge.NoAccess, "": forge.NoAccess} {
		if got, err := g.Permission(t.Context(), name); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", name, got, err, want)
		}
	}
	for name, want := range map[string]bool{"ada": true, "ad": false, "bob": false} {
		if got, err := g.InTeam(t.Context(), "sre", name); err != nil || got != want {
			t.Errorf("%s in sre: %v, %v", name, got, err)
		}
	}
	if _, err := g.InTeam(t.Context(), "sr", "ada"); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a missing group must be an error: %v", err)
	}
	s, err := g.Examine(t.Context())
	if err != nil || s.Account != "trueup-bot" || len(s.Missing) != 1 || !strings.Contains(s.Missing[0], "admin") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestPropose(t *testing.T) {
	f := newFake(t)
	g := f.connect(t)
	p := forge.Proposal{Base: "main", Head: "trueup/promote/prod", Title: "Promote", Body: "one"}
	a, err := g.Propose(t.Context(), p)
	if err != nil || a.State != "open" {
		t.Fatalf("%+v, %v", a, err)
	}
	f.prs[a.Number]["reviewers"] = []object{{"user": person("bob"), "status": "APPROVED"}}
	p.Body = "two"
	b, err := g.Propose(t.Context(), p)
	if err != nil || b.Number != a.Number || f.prs[a.Number]["description"] != "two" {
		t.Fatalf("%+v, %v", b, err)
	}
	if fmt.Sprint(f.prs[a.Number]["reviewers"]) != "[map[user:map[name:bob]]]" {
		t.Errorf("the reviewers are gone: %v", f.prs[a.Number]["reviewers"])
	}
	if _, err := g.Propose(t.Context(), p); err != nil || f.Used("PUT /rest/api/1.0/projects/{key}/repos/{slug}/pull-requests/{pr}") != 1 {
		t.Errorf("what is there already was written again: %v", err)
	}
}

func TestHooks(t *testing.T) {
	f := newFake(t)
	f.hooks = []object{{"id": 1, "url": "https://other.example", "active": true, "events": []string{"pr:opened"},
		"statistics": object{"lastFailure": object{"finish": 5, "result": object{"description": "404"}}, "lastSuccess": object{"finish": 3}}}}
	g := f.connect(t)
	h, err := g.PutHook(t.Context(), forge.Hook{URL: "https://trueup.example/hook", Secret: "one"})
	if err != nil || !reflect.DeepEqual(h.Events, wanted) {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := g.PutHook(t.Context(), forge.Hook{URL: h.URL, Secret: "two"}); err != nil || len(f.hooks) != 2 || f.hooks[1]["configuration"].(object)["secret"] != "two" {
		t.Fatalf("%v, %v", err, f.hooks)
	}
	list, err := g.Hooks(t.Context())
	if err != nil || len(list) != 2 || list[0].LastError == "" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := g.DeleteHook(t.Context(), h.ID); err != nil || len(f.hooks) != 1 {
		t.Errorf("%v, %v", err, f.hooks)
	}
}

func TestRefusals(t *testing.T) {
	f := newFake(t)
	bad, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: project, Credentials: forge.Credentials{Token: secret.New("wrong-canary")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.PullRequest(t.Context(), 1); !errors.Is(err, forge.ErrDenied) || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong token: %v", err)
	}
	f.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprint(w, `{"values": [], "size": 0}`) // no isLastPage: no list
		return true
	})
	if got, err := f.connect(t).Open(t.Context()); err == nil {
		t.Errorf("an answer that is no list gives %v", got)
	}
	for _, p := range []string{"", "dns", "INF/../x", "INF/..", "INF/dns/x", "INF/dns?a"} {
		if _, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: p, Credentials: forge.Credentials{Token: secret.New("x")}}); err == nil {
			t.Errorf("project %q is accepted", p)
		}
	}
}
