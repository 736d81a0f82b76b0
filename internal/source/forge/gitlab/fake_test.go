package gitlab

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/restfake"
	"trueup.dev/trueup/internal/source/forge"
)

const (
	token   = "glpat-canary-4711"
	project = "acme/infra/dns"
	head    = "1111111111111111111111111111111111111111"
	base    = "2222222222222222222222222222222222222222"
	landedC = "3333333333333333333333333333333333333333"
)

// fake is a strict GitLab with one project, by the REST API's documentation.
type fake struct {
	*restfake.Server
	mrs       map[int]map[string]any
	notes     []map[string]any
	awards    map[string]bool
	statuses  []map[string]any
	pipelines []map[string]any
	diffs     []map[string]any
	hooks     []map[string]any
	deploys   map[string]string
	project   map[string]any
	groups    map[string]map[int]int // access by group and user
	members   map[int]int
	users     []string // ids from 1
	scopes    []string // of the token
}

func me() map[string]any { return map[string]any{"id": 1, "username": "trueup-bot", "name": "trueup"} }

func newFake(t testing.TB) *fake {
	f := &fake{awards: map[string]bool{}, deploys: map[string]string{}, members: map[int]int{}, groups: map[string]map[int]int{},
		users:   []string{"trueup-bot", "ada", "bob"},
		project: map[string]any{"id": 7, "path_with_namespace": project, "visibility": "private", "only_allow_merge_if_pipeline_succeeds": false},
		mrs:     map[int]map[string]any{}}
	auth := func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token }
	f.Server = restfake.New(t, auth, append(append(f.mergeRequests(), f.reporting()...), f.people()...)...)
	return f
}

func (f *fake) addMR(iid int, more map[string]any) {
	m := map[string]any{"id": 1000 + iid, "iid": iid, "title": "A new record", "description": "why", "state": "opened", "draft": false,
		"author": map[string]any{"id": 2, "username": "ada"}, "web_url": "https://gitlab.example/" + project + "/-/merge_requests/" + strconv.Itoa(iid),
		"source_branch": "record", "target_branch": "main", "sha": head, "source_project_id": 7, "target_project_id": 7,
		"updated_at": "2026-11-20T10:11:12.345Z", "labels": []string{"dns"}, "merge_commit_sha": nil, "squash_commit_sha": nil,
		"merge_user": nil, "changes_count": "2", "diff_refs": map[string]any{"base_sha": base, "head_sha": head, "start_sha": base}}
	for k, v := range more {
		m[k] = v
	}
	f.mrs[iid] = m
}

func (f *fake) connect(t testing.TB) *Forge {
	t.Helper()
	fg, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: project, Credentials: forge.Credentials{Token: secret.New(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return fg.(*Forge)
}

var notFound = map[string]any{"message": "404 Not found"}

// here answers 404 for other projects, as GitLab does for what is hidden.
func here(do func(*restfake.Request) (int, any)) func(*restfake.Request) (int, any) {
	return func(r *restfake.Request) (int, any) {
		if r.Vars["id"] != project {
			return 404, map[string]any{"message": "404 Project Not Found"}
		}
		return do(r)
	}
}

// page answers with one page and the Link header ("REST API", pagination).
func (f *fake) page(r *restfake.Request, all []map[string]any) (int, any) {
	q := r.URL.Query()
	per, _ := strconv.Atoi(q.Get("per_page"))
	n, _ := strconv.Atoi(q.Get("page"))
	n = max(n, 1)
	if per == 0 {
		per = 20
	}
	if per > 100 {
		return 400, map[string]any{"error": "per_page does not have a valid value"}
	}
	per = min(per, 2) // so that every list has pages
	from, to := min((n-1)*per, len(all)), min(n*per, len(all))
	r.Out.Set("X-Total", strconv.Itoa(len(all)))
	if to < len(all) {
		q.Set("page", strconv.Itoa(n+1))
		// The address is the one the server believes it has.
		r.Out.Set("Link", fmt.Sprintf(`<https://gitlab.internal%s?%s>; rel="next", <https://gitlab.internal%s?page=1>; rel="first"`, r.URL.EscapedPath(), q.Encode(), r.URL.EscapedPath()))
	}
	out := all[from:to]
	if out == nil {
		out = []map[string]any{}
	}
	return 200, out
}

var paging = []string{"page", "per_page"}

func (f *fake) mergeRequests() []restfake.Route {
	const api = "/api/v4/projects/{id}/merge_requests"
	one := func(do func(r *restfake.Request, m map[string]any) (int, any)) func(*restfake.Request) (int, any) {
		return here(func(r *restfake.Request) (int, any) {
			iid, _ := strconv.Atoi(r.Vars["iid"])
			if m := f.mrs[iid]; m != nil {
				return do(r, m)
			}
			return 404, notFound
		})
	}
	return []restfake.Route{
		{Doc: "Merge requests API, list project merge requests", Method: "GET", Path: api,
			Query: append([]string{"state", "scope", "order_by", "sort", "source_branch", "target_branch"}, paging...), Do: here(f.list)},
		{Doc: "Merge requests API, retrieve", Method: "GET", Path: api + "/{iid}", Do: one(func(_ *restfake.Request, m map[string]any) (int, any) { return 200, m })},
		{Doc: "Merge requests API, create", Method: "POST", Path: api, Do: here(f.create),
			Body: map[string]string{"source_branch": "string!", "target_branch": "string!", "title": "string!", "description": "string",
				"labels": "string", "remove_source_branch": "bool", "squash": "bool", "assignee_ids": "array", "reviewer_ids": "array"}},
		{Doc: "Merge requests API, update", Method: "PUT", Path: api + "/{iid}",
			Body: map[string]string{"title": "string", "description": "string", "add_labels": "string", "target_branch": "string", "state_event": "string"},
			Do:   one(f.update)},
		{Doc: "Merge requests API, list diffs", Method: "GET", Path: api + "/{iid}/diffs", Query: append([]string{"unidiff"}, paging...),
			Do: one(func(r *restfake.Request, _ map[string]any) (int, any) { return f.page(r, f.diffs) })},
		{Doc: "Merge request approvals API, retrieve approval state", Method: "GET", Path: api + "/{iid}/approvals",
			Do: one(func(_ *restfake.Request, m map[string]any) (int, any) {
				return 200, map[string]any{"iid": m["iid"], "approved_by": m["test_approved_by"]}
			})},
		{Doc: "Merge requests API, list reviewers", Method: "GET", Path: api + "/{iid}/reviewers", Query: paging,
			Do: one(func(r *restfake.Request, m map[string]any) (int, any) {
				list, _ := m["test_reviewers"].([]map[string]any)
				return f.page(r, list)
			})},
		{Doc: "Notes API, list merge request notes", Method: "GET", Path: api + "/{iid}/notes", Query: append([]string{"sort", "order_by"}, paging...),
			Do: one(func(r *restfake.Request, _ map[string]any) (int, any) { return f.page(r, f.notes) })},
		{Doc: "Notes API, create", Method: "POST", Path: api + "/{iid}/notes", Body: map[string]string{"body": "string!", "created_at": "string", "internal": "bool"},
			Do: one(func(r *restfake.Request, _ map[string]any) (int, any) {
				if len([]rune(r.Text("body"))) > 1_000_000 {
					return 400, map[string]any{"message": map[string]any{"note": []string{"is too long (maximum is 1000000 characters)"}}}
				}
				n := map[string]any{"id": 300 + len(f.notes), "body": r.Text("body"), "author": me(), "created_at": "2026-11-20T10:00:00.000Z", "system": false}
				f.notes = append(f.notes, n)
				return 201, n
			})},
		{Doc: "Notes API, update", Method: "PUT", Path: api + "/{iid}/notes/{note}", Body: map[string]string{"body": "string!"},
			Do: one(func(r *restfake.Request, _ map[string]any) (int, any) {
				n := f.note(r.Vars["note"])
				if n == nil {
					return 404, notFound
				}
				n["body"] = r.Text("body")
				return 200, n
			})},
		{Doc: "Emoji reactions API, add to a comment", Method: "POST", Path: api + "/{iid}/notes/{note}/award_emoji", Query: []string{"name!"},
			Do: one(f.award)},
	}
}

func (f *fake) note(id string) map[string]any {
	for _, n := range f.notes {
		if fmt.Sprint(n["id"]) == id {
			return n
		}
	}
	return nil
}

func (f *fake) award(r *restfake.Request, _ map[string]any) (int, any) {
	if f.note(r.Vars["note"]) == nil {
		return 404, notFound
	}
	key := r.Vars["note"] + " " + r.URL.Query().Get("name")
	if f.awards[key] {
		return 404, map[string]any{"message": "404 Award Emoji Name has already been taken Not Found"}
	}
	f.awards[key] = true
	return 201, map[string]any{"id": 1, "name": r.URL.Query().Get("name")}
}

func (f *fake) list(r *restfake.Request) (int, any) {
	q := r.URL.Query()
	var out []map[string]any
	for iid := range 100 {
		m := f.mrs[iid]
		if m == nil || q.Get("state") != "" && m["state"] != q.Get("state") ||
			q.Has("source_branch") && m["source_branch"] != q.Get("source_branch") || q.Has("target_branch") && m["target_branch"] != q.Get("target_branch") {
			continue
		}
		short := map[string]any{}
		for k, v := range m {
			if k != "diff_refs" && k != "changes_count" { // of a single one alone
				short[k] = v
			}
		}
		out = append(out, short)
	}
	return f.page(r, out)
}

func (f *fake) create(r *restfake.Request) (int, any) {
	for _, m := range f.mrs {
		if m["state"] == "opened" && m["source_project_id"] == 7 && m["source_branch"] == r.Text("source_branch") && m["target_branch"] == r.Text("target_branch") {
			return 409, map[string]any{"message": []string{"Another open merge request already exists for this source branch: !" + fmt.Sprint(m["iid"])}}
		}
	}
	f.addMR(50+len(f.mrs), map[string]any{"title": r.Text("title"), "description": r.Text("description"), "source_branch": r.Text("source_branch"),
		"target_branch": r.Text("target_branch"), "labels": strings.FieldsFunc(r.Text("labels"), func(c rune) bool { return c == ',' }), "draft": strings.HasPrefix(r.Text("title"), "Draft: ")})
	return 201, f.mrs[50+len(f.mrs)-1]
}

func (f *fake) update(r *restfake.Request, m map[string]any) (int, any) {
	if len(r.JSON) == 0 {
		return 400, map[string]any{"error": "assignee_id, title, … are missing, at least one parameter must be provided"}
	}
	for _, k := range []string{"title", "description"} {
		if v := r.Text(k); v != "" {
			m[k] = v
		}
	}
	m["draft"] = strings.HasPrefix(m["title"].(string), "Draft: ")
	return 200, m
}
