package bitbucket

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/restfake"
	"trueup.dev/trueup/internal/source/forge"
)

const (
	token   = "ATCTT-canary-4711"
	project = "acme/dns"
	head    = "1111111111111111111111111111111111111111"
	base    = "2222222222222222222222222222222222222222"
	landed  = "3333333333333333333333333333333333333333"
)

type object = map[string]any

// fake is a strict Bitbucket Cloud with one repository, by version 2.0 of its
// REST API. The routes are checked against the published description by
// TestDescription.
type fake struct {
	*restfake.Server
	prs          map[int]object
	commits      []string
	index        map[string][]int // pull requests by commit; nil without the app
	comments     []object
	diffstat     []object
	builds       []object
	hooks        []object
	reports      map[string]object
	rights       map[string]string
	restrictions []object
	members      map[string][]string // of groups
	scopes       string
}

func person(name string) object {
	// The nickname is anybody's choice, and everybody here chose the same.
	return object{"type": "user", "nickname": "ada", "display_name": "Ada", "account_id": "557058:" + name, "uuid": "{" + name + "}"}
}

func newFake(t testing.TB) *fake {
	f := &fake{prs: map[int]object{}, commits: []string{head, base, landed}, reports: map[string]object{}, rights: map[string]string{}, members: map[string][]string{}}
	f.Server = restfake.New(t, authorised, f.routes()...)
	return f
}

func (f *fake) routes() []restfake.Route {
	return append(append(f.pulls(), f.reporting()...), f.people()...)
}

func authorised(r *http.Request) bool {
	return r.Header.Get("Authorization") == "Bearer "+token ||
		r.Header.Get("Authorization") == "Basic "+base64.StdEncoding.EncodeToString([]byte("bot@example.org:"+token))
}

func (f *fake) connect(t testing.TB) *Forge {
	t.Helper()
	fg, err := Open(t.Context(), forge.Options{BaseURL: f.URL, Project: project, Credentials: forge.Credentials{Token: secret.New(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return fg.(*Forge)
}

func side(branch, commit, repo string) object {
	out := object{"branch": object{"name": branch}, "commit": object{"hash": commit[:12]}, "repository": nil}
	if repo != "" {
		out["repository"] = object{"type": "repository", "full_name": repo}
	}
	return out
}

func (f *fake) addPR(id int, more object) {
	p := object{"type": "pullrequest", "id": id, "title": "A new record", "description": "why", "state": "OPEN", "draft": false, "author": person("ada"),
		"source": side("record", head, project), "destination": side("main", base, project), "merge_commit": nil, "closed_by": nil,
		"updated_on": "2026-11-20T10:11:12.345678+00:00", "participants": []object{}, "links": object{"html": object{"href": "https://bitbucket.org/acme/dns/pull-requests/" + strconv.Itoa(id)}}}
	for k, v := range more {
		p[k] = v
	}
	f.prs[id] = p
}

func gone() (int, any) { return 404, object{"type": "error", "error": object{"message": "not there"}} }

// page answers with one page ("Pagination").
func page(r *restfake.Request, all []object) (int, any) {
	q := r.URL.Query()
	if n, _ := strconv.Atoi(q.Get("pagelen")); n > 100 || strings.HasSuffix(r.URL.Path, "/pullrequests") && n > 50 {
		return 400, object{"type": "error", "error": object{"message": "Invalid pagelen"}}
	}
	n, _ := strconv.Atoi(q.Get("page"))
	n = max(n, 1)
	from, to := min((n-1)*2, len(all)), min(n*2, len(all))
	out := object{"pagelen": 2, "page": n, "values": append([]object{}, all[from:to]...)}
	if to < len(all) {
		q.Set("page", strconv.Itoa(n+1))
		out["next"] = "https://api.bitbucket.org" + r.URL.EscapedPath() + "?" + q.Encode()
	}
	return 200, out
}

var paging = []string{"page", "pagelen"}

func here(do func(*restfake.Request) (int, any)) func(*restfake.Request) (int, any) {
	return func(r *restfake.Request) (int, any) {
		if r.Vars["workspace"]+"/"+r.Vars["repo_slug"] != project {
			return gone()
		}
		return do(r)
	}
}

const api = "/2.0/repositories/{workspace}/{repo_slug}"

func (f *fake) pulls() []restfake.Route {
	one := func(do func(r *restfake.Request, p object) (int, any)) func(*restfake.Request) (int, any) {
		return here(func(r *restfake.Request) (int, any) {
			id, _ := strconv.Atoi(r.Vars["pull_request_id"])
			if p := f.prs[id]; p != nil {
				return do(r, p)
			}
			return gone()
		})
	}
	const pr = api + "/pullrequests/{pull_request_id}"
	return []restfake.Route{
		{Doc: "Pullrequests, list", Method: "GET", Path: api + "/pullrequests", Query: append([]string{"state", "q", "sort"}, paging...), Do: here(f.list)},
		{Doc: "Pullrequests, create", Method: "POST", Path: api + "/pullrequests", Do: here(f.create),
			Body: map[string]string{"title": "string!", "source": "object!", "destination": "object", "description": "string", "close_source_branch": "bool", "draft": "bool", "reviewers": "array"}},
		{Doc: "Pullrequests, get", Method: "GET", Path: pr, Do: one(func(_ *restfake.Request, p object) (int, any) { return 200, p })},
		{Doc: "Pullrequests, update", Method: "PUT", Path: pr, Body: map[string]string{"title": "string", "description": "string", "destination": "object", "reviewers": "array"},
			Do: one(func(r *restfake.Request, p object) (int, any) {
				p["title"], p["description"] = r.Text("title"), r.Text("description")
				return 200, p
			})},
		{Doc: "Pullrequests, get the diff stat: a redirect", Method: "GET", Path: pr + "/diffstat", Query: paging, Do: one(func(r *restfake.Request, _ object) (int, any) {
			r.Out.Set("Location", "/2.0/repositories/acme/dns/diffstat/acme/dns:1111%0D2222?from_pullrequest_id=1&topic=true")
			return 302, nil
		})},
		{Doc: "Commits, compare two commit diff stats", Method: "GET", Path: api + "/diffstat/{workspace}/{spec}", Query: append([]string{"from_pullrequest_id", "topic"}, paging...),
			Do: func(r *restfake.Request) (int, any) { return page(r, f.diffstat) }},
		{Doc: "Pullrequests, list comments", Method: "GET", Path: pr + "/comments", Query: append([]string{"q", "sort"}, paging...),
			Do: one(func(r *restfake.Request, _ object) (int, any) { return page(r, f.comments) })},
		{Doc: "Pullrequests, create a comment", Method: "POST", Path: pr + "/comments", Body: map[string]string{"content": "object!", "parent": "object", "inline": "object"},
			Do: one(func(r *restfake.Request, _ object) (int, any) {
				if msg := restfake.Fields(map[string]string{"raw": "string!"}, r.JSON["content"].(object)); msg != "" {
					return 400, object{"type": "error", "error": object{"message": msg}}
				}
				c := object{"id": 300 + len(f.comments), "content": r.JSON["content"], "user": person("bot"), "created_on": "2026-11-20T12:00:00+00:00", "deleted": false, "pending": false}
				f.comments = append(f.comments, c)
				return 201, c
			})},
		{Doc: "Pullrequests, update a comment", Method: "PUT", Path: pr + "/comments/{comment_id}", Body: map[string]string{"content": "object!"},
			Do: one(func(r *restfake.Request, _ object) (int, any) {
				for _, c := range f.comments {
					if fmt.Sprint(c["id"]) == r.Vars["comment_id"] {
						c["content"] = r.JSON["content"]
						return 200, c
					}
				}
				return gone()
			})},
		{Doc: "Pullrequests, list pull requests that contain a commit", Method: "GET", Path: api + "/commit/{commit}/pullrequests", Query: paging, Do: here(func(r *restfake.Request) (int, any) {
			if f.index == nil {
				return gone() // without the app, or not yet indexed
			}
			var out []object
			for _, id := range f.index[r.Vars["commit"]] {
				out = append(out, object{"type": "pullrequest", "id": id})
			}
			return page(r, out)
		})},
		{Doc: "Commits, get a commit", Method: "GET", Path: api + "/commit/{commit}", Do: here(func(r *restfake.Request) (int, any) {
			for _, c := range f.commits {
				if strings.HasPrefix(c, r.Vars["commit"]) {
					return 200, object{"type": "commit", "hash": c}
				}
			}
			return gone()
		})},
	}
}

// wish is the query of the list that trueup makes, in Bitbucket's language.
var wish = regexp.MustCompile(`^source\.branch\.name = "([^"]*)" AND destination\.branch\.name = "([^"]*)" AND state = "OPEN"$`)

func (f *fake) list(r *restfake.Request) (int, any) {
	q := r.URL.Query()
	var out []object
	for id := range 100 {
		p := f.prs[id]
		if p == nil || q.Has("state") && p["state"] != q.Get("state") {
			continue
		}
		if q.Has("q") {
			m := wish.FindStringSubmatch(q.Get("q"))
			if m == nil {
				return 400, object{"type": "error", "error": object{"message": "the query can't be read: " + q.Get("q")}}
			}
			if p["state"] != "OPEN" || p["source"].(object)["branch"].(object)["name"] != m[1] || p["destination"].(object)["branch"].(object)["name"] != m[2] {
				continue
			}
		}
		out = append(out, p)
	}
	return page(r, out)
}

func (f *fake) create(r *restfake.Request) (int, any) {
	for _, k := range []string{"source", "destination"} {
		if msg := restfake.Fields(map[string]string{"branch": "object!", "repository": "object"}, r.JSON[k].(object)); msg != "" {
			return 400, object{"type": "error", "error": object{"message": msg}}
		}
	}
	name := func(k string) string { return r.JSON[k].(object)["branch"].(object)["name"].(string) }
	id := 50 + len(f.prs)
	f.addPR(id, object{"title": r.Text("title"), "description": r.Text("description"), "source": side(name("source"), head, project), "destination": side(name("destination"), base, project)})
	return 201, f.prs[id]
}
