package bitbucketdc

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/restfake"
	"trueup.dev/trueup/internal/source/forge"
)

const (
	token   = "canary-NjQ3MTE"
	project = "INF/dns"
	head    = "1111111111111111111111111111111111111111"
	base    = "2222222222222222222222222222222222222222"
	landed  = "3333333333333333333333333333333333333333"
)

type object = map[string]any

// fake is a strict Bitbucket Data Center with one repository, by its REST
// API's documentation (version 9).
type fake struct {
	*restfake.Server
	prs        map[int]object
	activities []object
	comments   map[string]object
	changes    []object
	builds     []object
	deploys    []object
	hooks      []object
	conditions []object
	reports    map[string]object
	reactions  []string
	rights     map[string]string // by user
	groups     map[string][]string
}

func person(name string) object {
	return object{"name": name, "displayName": strings.ToUpper(name), "slug": name, "active": true, "type": "NORMAL"}
}

func newFake(t testing.TB) *fake {
	f := &fake{prs: map[int]object{}, comments: map[string]object{}, reports: map[string]object{}, rights: map[string]string{}, groups: map[string][]string{}}
	auth := func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token }
	f.Server = restfake.New(t, auth, append(append(f.pulls(), f.reporting()...), f.people()...)...)
	return f
}

func (f *fake) connect(t testing.TB) *Forge {
	t.Helper()
	fg, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: project, Credentials: forge.Credentials{Token: secret.New(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return fg.(*Forge)
}

func repo(key, slug string) object {
	return object{"slug": slug, "id": 84, "name": slug, "project": object{"key": key, "id": 1, "name": key}}
}

func side(branch, commit string, in object) object {
	return object{"id": "refs/heads/" + branch, "displayId": branch, "latestCommit": commit, "type": "BRANCH", "repository": in}
}

func (f *fake) addPR(id int, more object) {
	p := object{"id": id, "version": 3, "title": "A new record", "description": "why", "state": "OPEN", "open": true, "closed": false, "draft": false,
		"createdDate": 1795000000000, "updatedDate": 1795000001000, "fromRef": side("record", head, repo("INF", "dns")), "toRef": side("main", base, repo("INF", "dns")),
		"author": object{"user": person("ada"), "role": "AUTHOR", "approved": false, "status": "UNAPPROVED"}, "reviewers": []object{}, "participants": []object{},
		"links": object{"self": []object{{"href": "https://bitbucket.example/projects/INF/repos/dns/pull-requests/" + strconv.Itoa(id)}}}}
	for k, v := range more {
		p[k] = v
	}
	f.prs[id] = p
}

func problem(status int, name, msg string) (int, any) {
	return status, object{"errors": []object{{"context": nil, "message": msg, "exceptionName": "com.atlassian.bitbucket." + name}}}
}

var gone = func() (int, any) { return problem(404, "NoSuchEntityException", "it does not exist") }

// page answers with one page ("REST resources", paged APIs): the server may
// give fewer than asked for.
func page(r *restfake.Request, all []object) (int, any) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit > 1000 {
		return problem(400, "ArgumentValidationException", "limit")
	}
	start, _ := strconv.Atoi(r.URL.Query().Get("start"))
	to := min(start+2, len(all))
	out := object{"size": to - start, "limit": 2, "start": start, "isLastPage": to == len(all), "values": append([]object{}, all[min(start, len(all)):to]...)}
	if to < len(all) {
		out["nextPageStart"] = to
	}
	return 200, out
}

var paging = []string{"limit", "start"}

func here(do func(*restfake.Request) (int, any)) func(*restfake.Request) (int, any) {
	return func(r *restfake.Request) (int, any) {
		if r.Vars["key"] != "INF" || r.Vars["slug"] != "dns" {
			return gone()
		}
		r.Out.Set("X-AUSERNAME", "trueup-bot")
		return do(r)
	}
}

func (f *fake) pulls() []restfake.Route {
	const api = "/rest/api/1.0/projects/{key}/repos/{slug}"
	one := func(do func(r *restfake.Request, p object) (int, any)) func(*restfake.Request) (int, any) {
		return here(func(r *restfake.Request) (int, any) {
			id, _ := strconv.Atoi(r.Vars["pr"])
			if p := f.prs[id]; p != nil {
				return do(r, p)
			}
			return gone()
		})
	}
	return []restfake.Route{
		{Doc: "Project, get repository", Method: "GET", Path: api, Do: here(func(*restfake.Request) (int, any) { return 200, repo("INF", "dns") })},
		{Doc: "Pull Requests, get pull requests for repository", Method: "GET", Path: api + "/pull-requests",
			Query: append([]string{"state", "order", "direction", "at", "filterText", "draft"}, paging...), Do: here(f.list)},
		{Doc: "Pull Requests, create", Method: "POST", Path: api + "/pull-requests", Do: here(f.create),
			Body: map[string]string{"title": "string!", "description": "string", "fromRef": "object!", "toRef": "object!", "reviewers": "array", "draft": "bool"}},
		{Doc: "Pull Requests, get", Method: "GET", Path: api + "/pull-requests/{pr}", Do: one(func(_ *restfake.Request, p object) (int, any) { return 200, p })},
		{Doc: "Pull Requests, update", Method: "PUT", Path: api + "/pull-requests/{pr}", Do: one(f.update),
			Body: map[string]string{"version": "int!", "title": "string", "description": "string", "reviewers": "array", "toRef": "object", "draft": "bool"}},
		{Doc: "Pull Requests, gets pull request changes", Method: "GET", Path: api + "/pull-requests/{pr}/changes",
			Query: append([]string{"sinceId", "untilId", "changeScope", "withComments"}, paging...),
			Do:    one(func(r *restfake.Request, _ object) (int, any) { return page(r, f.changes) })},
		{Doc: "Pull Requests, get activity", Method: "GET", Path: api + "/pull-requests/{pr}/activities", Query: append([]string{"fromId", "fromType"}, paging...),
			Do: one(func(r *restfake.Request, _ object) (int, any) { return page(r, f.activities) })},
		{Doc: "Pull Requests, add comment", Method: "POST", Path: api + "/pull-requests/{pr}/comments",
			Body: map[string]string{"text": "string!", "severity": "string", "parent": "object", "anchor": "object"}, Do: one(f.comment)},
		{Doc: "Pull Requests, get comment", Method: "GET", Path: api + "/pull-requests/{pr}/comments/{comment}", Do: one(func(r *restfake.Request, _ object) (int, any) {
			if c := f.comments[r.Vars["comment"]]; c != nil {
				return 200, c
			}
			return gone()
		})},
		{Doc: "Pull Requests, update comment", Method: "PUT", Path: api + "/pull-requests/{pr}/comments/{comment}",
			Body: map[string]string{"text": "string", "version": "int!", "severity": "string", "state": "string"}, Do: one(f.edit)},
		{Doc: "Pull Requests, react to a comment", Method: "PUT", Path: "/rest/comment-likes/latest/projects/{key}/repos/{slug}/pull-requests/{pr}/comments/{comment}/reactions/{emoticon}",
			Do: one(func(r *restfake.Request, _ object) (int, any) {
				if f.comments[r.Vars["comment"]] == nil {
					return gone()
				}
				f.reactions = append(f.reactions, r.Vars["emoticon"])
				return 200, object{"emoticon": object{"shortcut": r.Vars["emoticon"]}}
			})},
	}
}

func (f *fake) list(r *restfake.Request) (int, any) {
	q := r.URL.Query()
	var out []object
	for id := range 100 {
		p := f.prs[id]
		if p == nil || q.Get("state") != "ALL" && p["state"] != q.Get("state") {
			continue
		}
		if at := q.Get("at"); at != "" && (q.Get("direction") != "OUTGOING" || p["fromRef"].(object)["id"] != at) {
			continue
		}
		out = append(out, p)
	}
	return page(r, out)
}

func (f *fake) create(r *restfake.Request) (int, any) {
	from, to := r.JSON["fromRef"].(object), r.JSON["toRef"].(object)
	for _, s := range []object{from, to} {
		if msg := restfake.Fields(map[string]string{"id": "string!", "repository": "object!"}, s); msg != "" {
			return problem(400, "ArgumentValidationException", msg)
		}
	}
	for _, p := range f.prs {
		if p["state"] == "OPEN" && p["fromRef"].(object)["id"] == from["id"] && p["toRef"].(object)["id"] == to["id"] {
			return problem(409, "pull.DuplicatePullRequestException", "Only one pull request may be open for a given source and target branch")
		}
	}
	id := 50 + len(f.prs)
	f.addPR(id, object{"title": r.Text("title"), "description": r.Text("description"), "version": 0,
		"fromRef": side(strings.TrimPrefix(from["id"].(string), "refs/heads/"), head, repo("INF", "dns")), "toRef": side(strings.TrimPrefix(to["id"].(string), "refs/heads/"), base, repo("INF", "dns"))})
	return 201, f.prs[id]
}

func (f *fake) update(r *restfake.Request, p object) (int, any) {
	if int(r.JSON["version"].(float64)) != p["version"] {
		return problem(409, "pull.PullRequestOutOfDateException", "You are attempting to modify a pull request based on out-of-date information.")
	}
	p["title"], p["description"], p["version"] = r.Text("title"), r.Text("description"), p["version"].(int)+1
	p["reviewers"] = r.JSON["reviewers"] // those that are left out are removed
	return 200, p
}

func (f *fake) comment(r *restfake.Request, _ object) (int, any) {
	if r.Text("text") == "" || len([]rune(r.Text("text"))) > 32_768 {
		return problem(400, "ArgumentValidationException", "text")
	}
	id := 300 + len(f.comments)
	c := object{"id": id, "version": 0, "text": r.Text("text"), "author": person("trueup-bot"), "createdDate": 1795000009000, "comments": []object{}}
	f.comments[strconv.Itoa(id)] = c
	f.activities = append([]object{{"id": 900, "action": "COMMENTED", "commentAction": "ADDED", "user": person("trueup-bot"), "comment": c}}, f.activities...)
	return 201, c
}

func (f *fake) edit(r *restfake.Request, _ object) (int, any) {
	c := f.comments[r.Vars["comment"]]
	if c == nil {
		return gone()
	}
	if int(r.JSON["version"].(float64)) != c["version"] {
		return problem(409, "comment.CommentOutOfDateException", "out of date")
	}
	c["text"], c["version"] = r.Text("text"), c["version"].(int)+1
	return 200, c
}

func (f *fake) people() []restfake.Route {
	return []restfake.Route{
		{Doc: "System Maintenance, get all users, filters", Method: "GET", Path: "/rest/api/1.0/users",
			Query: append([]string{"filter", "group", "permission", "permission.1", "permission.1.projectKey", "permission.1.repositorySlug"}, paging...),
			Do: func(r *restfake.Request) (int, any) {
				q := r.URL.Query()
				order := []string{"REPO_READ", "REPO_WRITE", "REPO_ADMIN"}
				var out []object
				for name, right := range f.rights {
					fits := strings.Contains(name, q.Get("filter")) // of names, display names and addresses
					if p := q.Get("permission.1"); p != "" {
						fits = fits && q.Get("permission.1.projectKey") == "INF" && slices.Index(order, right) >= slices.Index(order, p)
					}
					if g := q.Get("group"); g != "" {
						fits = fits && slices.Contains(f.groups[g], name)
					}
					if fits {
						out = append(out, person(name))
					}
				}
				return page(r, out)
			}},
		{Doc: "System Maintenance, get all group names", Method: "GET", Path: "/rest/api/1.0/groups", Query: append([]string{"filter"}, paging...), Do: func(r *restfake.Request) (int, any) {
			out := []string{}
			for g := range f.groups {
				if strings.Contains(g, r.URL.Query().Get("filter")) {
					out = append(out, g)
				}
			}
			return 200, object{"size": len(out), "isLastPage": true, "values": out}
		}},
	}
}

func (f *fake) sawBuild(i int) string {
	return fmt.Sprint(f.builds[i]["key"], " ", f.builds[i]["state"], " ", f.builds[i]["ref"])
}
