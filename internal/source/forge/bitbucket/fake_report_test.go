package bitbucket

import (
	"fmt"
	"regexp"
	"slices"

	"trueup.dev/trueup/internal/servertest/restfake"
)

func refuse(msg string) (int, any) {
	return 400, object{"type": "error", "error": object{"message": msg}}
}

func (f *fake) reporting() []restfake.Route {
	hookBody := map[string]string{"description": "string!", "url": "string!", "active": "bool", "events": "array!", "secret": "string"}
	const report = api + "/commit/{commit}/reports/{reportId}"
	return []restfake.Route{
		{Doc: "Repositories, get a repository", Method: "GET", Path: api, Do: here(func(r *restfake.Request) (int, any) {
			if f.scopes != "" {
				r.Out.Set("X-OAuth-Scopes", f.scopes)
			}
			return 200, object{"type": "repository", "full_name": project}
		})},
		{Doc: "Commit statuses, create a build status", Method: "POST", Path: api + "/commit/{commit}/statuses/build",
			Body: map[string]string{"key": "string!", "state": "string!", "url": "string!", "name": "string", "description": "string", "refname": "string"},
			Do:   here(f.build)},
		{Doc: "Reports, delete a report", Method: "DELETE", Path: report, Do: here(func(r *restfake.Request) (int, any) {
			delete(f.reports, r.Vars["reportId"])
			return 204, nil
		})},
		{Doc: "Reports, create or update a report", Method: "PUT", Path: report,
			Body: map[string]string{"title": "string!", "details": "string!", "report_type": "string!", "reporter": "string", "result": "string", "link": "string", "external_id": "string", "data": "array"},
			Do: here(func(r *restfake.Request) (int, any) {
				r.JSON["annotations"] = []object{}
				f.reports[r.Vars["reportId"]] = r.JSON
				return 200, r.JSON
			})},
		{Doc: "Reports, bulk create or update annotations", Method: "POST", Path: report + "/annotations", Array: true,
			Body: map[string]string{"external_id": "string!", "annotation_type": "string!", "summary": "string!", "details": "string", "path": "string", "line": "int", "severity": "string", "result": "string", "link": "string"},
			Do:   here(f.annotate)},
		{Doc: "Branch restrictions, list", Method: "GET", Path: api + "/branch-restrictions", Query: append([]string{"kind", "pattern"}, paging...),
			Do: here(func(r *restfake.Request) (int, any) { return page(r, f.restrictions) })},
		{Doc: "Webhooks, list for a repository", Method: "GET", Path: api + "/hooks", Query: paging, Do: here(func(r *restfake.Request) (int, any) { return page(r, f.hooks) })},
		{Doc: "Webhooks, create for a repository", Method: "POST", Path: api + "/hooks", Body: hookBody, Do: here(func(r *restfake.Request) (int, any) {
			h := r.JSON
			h["uuid"] = fmt.Sprintf("{hook-%d}", len(f.hooks))
			f.hooks = append(f.hooks, h)
			return 201, h
		})},
		{Doc: "Webhooks, update for a repository", Method: "PUT", Path: api + "/hooks/{uid}", Body: hookBody, Do: here(func(r *restfake.Request) (int, any) {
			for i, h := range f.hooks {
				if h["uuid"] == r.Vars["uid"] {
					r.JSON["uuid"] = h["uuid"]
					f.hooks[i] = r.JSON
					return 200, r.JSON
				}
			}
			return gone()
		})},
		{Doc: "Webhooks, delete for a repository", Method: "DELETE", Path: api + "/hooks/{uid}", Do: here(func(r *restfake.Request) (int, any) {
			f.hooks = slices.DeleteFunc(f.hooks, func(h object) bool { return h["uuid"] == r.Vars["uid"] })
			return 204, nil
		})},
	}
}

func (f *fake) build(r *restfake.Request) (int, any) {
	switch {
	case !slices.Contains([]string{"INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"}, r.Text("state")):
		return refuse("state")
	case len(r.Text("key")) > 40 || r.Text("key") == "":
		return refuse("key: at most 40 characters")
	case r.Text("url") == "":
		return refuse("url: required")
	}
	for i, b := range f.builds {
		if b["key"] == r.JSON["key"] {
			f.builds[i] = r.JSON
			return 201, r.JSON
		}
	}
	f.builds = append(f.builds, r.JSON)
	return 201, r.JSON
}

func (f *fake) annotate(r *restfake.Request) (int, any) {
	report := f.reports[r.Vars["reportId"]]
	if report == nil {
		return gone()
	}
	have := report["annotations"].([]object)
	if len(r.Items) == 0 || len(r.Items) > 100 || len(have)+len(r.Items) > 1000 {
		return refuse("1 to 100 annotations at once, 1000 in total")
	}
	for _, a := range r.Items {
		if !slices.Contains([]any{"LOW", "MEDIUM", "HIGH", "CRITICAL"}, a["severity"]) || !slices.Contains([]any{"VULNERABILITY", "CODE_SMELL", "BUG"}, a["annotation_type"]) || len([]rune(a["summary"].(string))) > 450 {
			return refuse("an annotation is not valid")
		}
	}
	report["annotations"] = append(have, r.Items...)
	return 200, r.Items
}

var byUser = regexp.MustCompile(`^user\.(account_id|uuid) = "([^"]*)"$`)

func (f *fake) people() []restfake.Route {
	return []restfake.Route{
		{Doc: "Users, get current user", Method: "GET", Path: "/2.0/user", Do: func(*restfake.Request) (int, any) { return 200, person("bot") }},
		{Doc: "Workspaces, list a repository permissions for a workspace", Method: "GET", Path: "/2.0/workspaces/{workspace}/permissions/repositories/{repo_slug}",
			Query: append([]string{"q", "sort"}, paging...), Do: here(func(r *restfake.Request) (int, any) {
				m := byUser.FindStringSubmatch(r.URL.Query().Get("q"))
				if m == nil {
					return refuse("the query can't be read")
				}
				var out []object
				for name, right := range f.rights {
					if p := person(name); p[m[1]] == m[2] {
						out = append(out, object{"type": "repository_permission", "permission": right, "user": p})
					}
				}
				return page(r, out)
			})},
		{Doc: "Workspaces, get a workspace", Method: "GET", Path: "/2.0/workspaces/{workspace}", Do: func(r *restfake.Request) (int, any) {
			if r.Vars["workspace"] != "acme" {
				return gone()
			}
			return 200, object{"type": "workspace", "slug": "acme"}
		}},
		{Doc: "Workspaces, get user membership", Method: "GET", Path: "/2.0/workspaces/{workspace}/members/{member}", Do: func(r *restfake.Request) (int, any) {
			if r.Vars["workspace"] == "acme" && r.Vars["member"] == "557058:ada" {
				return 200, object{"type": "workspace_membership", "user": person("ada")}
			}
			return gone()
		}},
		{Doc: "groups endpoint, version 1.0, members", Method: "GET", Path: "/1.0/groups/{workspace}/{group}/members", Do: func(r *restfake.Request) (int, any) {
			names, ok := f.members[r.Vars["workspace"]+"/"+r.Vars["group"]]
			if !ok {
				return gone()
			}
			out := []object{}
			for _, n := range names {
				out = append(out, person(n))
			}
			return 200, out
		}},
	}
}
