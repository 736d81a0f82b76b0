package gitlab

import (
	"errors"
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
	f.addMR(1, nil)
	f.addMR(2, map[string]any{"source_project_id": 8, "draft": true, "title": "Draft: fork"})
	f.addMR(3, map[string]any{"source_project_id": 99}) // deleted or hidden
	f.addMR(4, map[string]any{"state": "merged", "merge_commit_sha": landedC, "merge_user": map[string]any{"id": 3, "username": "bob"}})
	g := f.connect(t)
	got, err := g.PullRequest(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := forge.PullRequest{Number: 1, Title: "A new record", State: "open", Author: "ada", URL: got.URL, Base: "main", Head: "record", HeadCommit: head,
		BaseCommit: base, HeadProject: project, UpdatedAt: time.Date(2026, 11, 20, 10, 11, 12, 345e6, time.UTC), Labels: []string{"dns"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	open, err := g.Open(t.Context())
	if err != nil || len(open) != 3 {
		t.Fatalf("open: %v, %v", open, err)
	}
	if p := open[1]; !p.Fork || p.HeadProject != "bob/dns" || !p.Draft {
		t.Errorf("the fork: %+v", p)
	}
	if p := open[2]; !p.Fork || p.HeadProject != "" {
		t.Errorf("the fork that is gone: %+v", p)
	}
	by, err := g.MergedBy(t.Context(), landedC)
	if err != nil || by.Number != 4 || by.State != "merged" || by.MergeCommit != landedC || by.MergedBy != "bob" {
		t.Errorf("merged by %+v, %v", by, err)
	}
	if _, err := g.MergedBy(t.Context(), base); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a direct push: %v", err)
	}
	if _, err := g.PullRequest(t.Context(), 77); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a missing one: %v", err)
	}
}

func TestFiles(t *testing.T) {
	f := newFake(t)
	f.addMR(1, map[string]any{"changes_count": "4"})
	f.diffs = []map[string]any{
		{"old_path": "a", "new_path": "a", "new_file": true}, {"old_path": "b", "new_path": "b", "deleted_file": true},
		{"old_path": "c", "new_path": "d", "renamed_file": true}, {"old_path": "e", "new_path": "e"}}
	g := f.connect(t)
	got, err := g.Files(t.Context(), 1)
	want := []forge.File{{Path: "a", Status: "added"}, {Path: "b", Status: "removed"}, {Path: "d", OldPath: "c", Status: "renamed"}, {Path: "e", Status: "modified"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, count := range []string{"5", "1000+"} { // a list that was cut short
		f.mrs[1]["changes_count"] = count
		if got, err := g.Files(t.Context(), 1); !errors.Is(err, forge.ErrIncomplete) {
			t.Errorf("%s files, but %d are given as all", count, len(got))
		}
	}
}

func TestReviews(t *testing.T) {
	f := newFake(t)
	person := func(id int, name string) map[string]any { return map[string]any{"id": id, "username": name} }
	f.addMR(1, map[string]any{
		"test_approved_by": []map[string]any{{"user": person(3, "bob"), "approved_at": "2026-11-20T10:00:00Z"}},
		"test_reviewers": []map[string]any{{"user": person(3, "bob"), "state": "approved"}, {"user": person(2, "ada"), "state": "requested_changes"},
			{"user": person(4, "eve"), "state": "unreviewed"}, {"user": person(5, "kim"), "state": "reviewed"}}})
	got, err := f.connect(t).Reviews(t.Context(), 1)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []string{"bob approved", "ada rejected", "kim commented"} {
		if s := got[i].User + " " + got[i].State; s != want {
			t.Errorf("%d: %s, want %s", i, s, want)
		}
	}
}

func TestComments(t *testing.T) {
	f := newFake(t)
	f.addMR(1, nil)
	for i, system := range []bool{false, true, false} {
		f.notes = append(f.notes, map[string]any{"id": i + 1, "body": "text", "author": map[string]any{"id": 2, "username": "ada"}, "created_at": "2026-11-20T09:00:00Z", "system": system})
	}
	g := f.connect(t)
	c, err := g.Add(t.Context(), 1, "the plan")
	if err != nil || !c.Own || c.Author != "trueup-bot" {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := g.Edit(t.Context(), 1, c.ID, "another plan"); err != nil {
		t.Fatal(err)
	}
	list, err := g.List(t.Context(), 1)
	if err != nil || len(list) != 3 || list[0].Own || !list[2].Own || list[2].Body != "another plan" || list[2].ID != c.ID {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, r := range []forge.Reaction{forge.Seen, forge.Done, forge.Refused, forge.Seen} {
		if err := g.React(t.Context(), 1, "1", r); err != nil {
			t.Errorf("%s: %v", r, err)
		}
	}
	if !f.awards["1 eyes"] || len(f.awards) != 3 {
		t.Errorf("awards: %v", f.awards)
	}
	if err := g.Edit(t.Context(), 1, "../../../user", "x"); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("an id that climbs: %v", err)
	}
}

func TestStatus(t *testing.T) {
	f := newFake(t)
	g := f.connect(t)
	set := func(state forge.StatusState, commit, ref string) map[string]any {
		t.Helper()
		err := g.SetStatus(t.Context(), forge.Status{Commit: commit, Context: "trueup/plan", State: state, Description: strings.Repeat("ä", 300), URL: "https://trueup.example/r/1", Ref: ref})
		if err != nil {
			t.Fatal(err)
		}
		return f.statuses[len(f.statuses)-1]
	}
	if s := set(forge.StatusPending, head, "record"); s["ref"] != "record" || s["pipeline_id"] != nil {
		t.Errorf("without a pipeline: %v", s)
	}
	set(forge.StatusPending, head, "record") // again: GitLab refuses, we don't mind
	if s := set(forge.StatusSuccess, head, "record"); s["state"] != "success" || len(f.statuses) != 2 {
		t.Errorf("%v", f.statuses)
	}
	f.pipelines = []map[string]any{{"id": 31, "ref": "other", "sha": head}, {"id": 30, "ref": "refs/merge-requests/1/head", "sha": head}, {"id": 29, "ref": "record", "sha": head},
		{"id": 20, "ref": "main", "sha": landedC}}
	if s := set(forge.StatusError, head, "record"); s["pipeline_id"] != float64(30) || s["state"] != "failed" || s["ref"] != nil {
		t.Errorf("with the merge request's pipeline: %v", s)
	}
	if s := set(forge.StatusSuccess, landedC, "refs/heads/main"); s["pipeline_id"] != float64(20) {
		t.Errorf("with the branch's pipeline: %v", s)
	}
	if err := g.SetStatus(t.Context(), forge.Status{Commit: base, State: forge.StatusSuccess}); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a commit that is not there: %v", err)
	}
}

func TestPermission(t *testing.T) {
	f := newFake(t)
	f.members = map[int]int{2: 40, 3: 10}
	f.groups["acme/sre"] = map[int]int{2: 30}
	g := f.connect(t)
	for name, want := range map[string]forge.Permission{"ada": forge.CanMaintain, "bob": forge.CanRead, "trueup-bot": forge.NoAccess, "nobody": forge.NoAccess} {
		if got, err := g.Permission(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	for level, want := range map[int]forge.Permission{5: forge.CanRead, 15: forge.CanRead, 20: forge.CanTriage, 30: forge.CanWrite, 50: forge.CanAdmin} {
		f.members[2] = level
		if got, err := g.Permission(t.Context(), "ada"); err != nil || got != want {
			t.Errorf("level %d: %v, %v, want %v", level, got, err, want)
		}
	}
	f.project["visibility"] = "public"
	if got, err := g.Permission(t.Context(), "nobody"); err != nil || got != forge.CanRead {
		t.Errorf("of a public project: %v, %v", got, err)
	}
	for name, want := range map[string]bool{"ada": true, "bob": false, "nobody": false} {
		if got, err := g.InTeam(t.Context(), "acme/sre", name); err != nil || got != want {
			t.Errorf("%s in the team: %v, %v", name, got, err)
		}
	}
	if _, err := g.InTeam(t.Context(), "acme/gone", "ada"); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("a missing group must be an error, not a no: %v", err)
	}
}

func TestPropose(t *testing.T) {
	f := newFake(t)
	f.addMR(9, map[string]any{"source_branch": "trueup/promote", "source_project_id": 8}) // a fork's, of the same name
	g := f.connect(t)
	p := forge.Proposal{Base: "main", Head: "trueup/promote/prod", Title: "Promote", Body: "one", Labels: []string{"trueup"}}
	a, err := g.Propose(t.Context(), p)
	if err != nil || a.State != "open" || a.Title != "Promote" {
		t.Fatalf("%+v, %v", a, err)
	}
	p.Body = "two"
	f.mrs[a.Number]["title"], f.mrs[a.Number]["draft"] = "Draft: Promote", true // somebody's wish
	b, err := g.Propose(t.Context(), p)
	if err != nil || b.Number != a.Number || b.Title != "Draft: Promote" || f.mrs[a.Number]["description"] != "two" {
		t.Fatalf("%+v, %v, %v", b, err, f.mrs[a.Number])
	}
	n := f.Used("PUT /api/v4/projects/{id}/merge_requests/{iid}")
	if _, err := g.Propose(t.Context(), p); err != nil || f.Used("PUT /api/v4/projects/{id}/merge_requests/{iid}") != n {
		t.Errorf("what is there already was written again: %v", err)
	}
	p.Head = "trueup/promote"
	c, err := g.Propose(t.Context(), p)
	if err != nil || c.Number == 9 {
		t.Errorf("a fork's merge request was taken for ours: %+v, %v", c, err)
	}
}

func TestDeployments(t *testing.T) {
	f := newFake(t)
	g := f.connect(t)
	d := forge.Deployment{Commit: landedC, Ref: "refs/tags/v1", Environment: "prod", State: "pending"}
	id, err := g.Deploy(t.Context(), d)
	if err != nil || f.deploys[id] != "prod v1 running" {
		t.Fatalf("%s, %v, %v", id, err, f.deploys)
	}
	for _, state := range []string{"running", "success", "inactive"} {
		d.ID, d.State = id, state
		if again, err := g.Deploy(t.Context(), d); err != nil || again != id {
			t.Errorf("%s: %s, %v", state, again, err)
		}
	}
	if f.deploys[id] != "prod v1 success" || len(f.deploys) != 1 {
		t.Errorf("%v", f.deploys)
	}
}

func TestHooks(t *testing.T) {
	f := newFake(t)
	f.hooks = []map[string]any{{"id": 5, "url": "https://other.example/", "push_events": true, "alert_status": "disabled"}, {"id": 6, "url": "https://third.example/"}}
	g := f.connect(t)
	h, err := g.PutHook(t.Context(), forge.Hook{URL: "https://trueup.example/hook", Secret: "s3cret"})
	if err != nil || !h.Active || !reflect.DeepEqual(h.Events, wanted) {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := g.PutHook(t.Context(), forge.Hook{URL: h.URL, Secret: "whsec_c2VjcmV0", Events: []string{"push_events"}}); err != nil {
		t.Fatal(err)
	}
	list, err := g.Hooks(t.Context())
	if err != nil || len(list) != 3 || list[0].Active || list[0].LastError == "" || !reflect.DeepEqual(list[2].Events, []string{"push_events"}) {
		t.Fatalf("%+v, %v", list, err)
	}
	if f.hooks[2]["signing_token_present"] != true {
		t.Errorf("the signing token was not set: %v", f.hooks[2])
	}
	if err := g.DeleteHook(t.Context(), h.ID); err != nil || len(f.hooks) != 2 {
		t.Errorf("%v, %v", err, f.hooks)
	}
	f.project["only_allow_merge_if_pipeline_succeeds"] = true
	if got, err := g.RequiredStatuses(t.Context(), "main"); err != nil || !reflect.DeepEqual(got, []string{"*"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	f := newFake(t)
	f.addMR(1, nil)
	g := f.connect(t)
	bad, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: project, Credentials: forge.Credentials{Token: secret.New("wrong-canary")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bad.PullRequest(t.Context(), 1)
	if !errors.Is(err, forge.ErrDenied) || strings.Contains(err.Error(), "wrong-canary") {
		t.Errorf("a wrong token: %v", err)
	}
	tries := 0
	f.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		tries++
		if tries > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1") // "Rate limits", 429
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	if _, err := g.PullRequest(t.Context(), 1); err != nil || tries != 2 {
		t.Errorf("a rate limit: %v after %d tries", err, tries)
	}
	for _, p := range []string{"", "dns", "acme//dns", "../dns", "acme/dns?x", "acme/%2e"} {
		if _, err := Open(t.Context(), forge.Options{Project: p, Credentials: forge.Credentials{Token: secret.New("x")}}); err == nil {
			t.Errorf("project %q is accepted", p)
		}
	}
	if _, err := Open(t.Context(), forge.Options{Project: project}); err == nil {
		t.Error("no token is accepted")
	}
}

func TestExamine(t *testing.T) {
	f := newFake(t)
	f.members = map[int]int{1: 30}
	g := f.connect(t)
	if s, err := g.Examine(t.Context()); err != nil || s.Account != "trueup-bot" || len(s.Unknown) != 1 || len(s.Missing) != 1 || !strings.Contains(s.Missing[0], "Maintainer") {
		t.Errorf("%+v, %v", s, err)
	}
	f.scopes, f.members[1] = []string{"read_api"}, 10
	s, err := g.Examine(t.Context())
	if err != nil || len(s.Missing) != 3 || !s.Expires.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, %v", s, err)
	}
	f.scopes, f.members[1] = []string{"api"}, 40
	if s, err := g.Examine(t.Context()); err != nil || len(s.Missing)+len(s.Unknown) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
