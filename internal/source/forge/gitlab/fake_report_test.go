package gitlab

import (
	"fmt"
	"slices"
	"strconv"

	"trueup.dev/trueup/internal/servertest/restfake"
)

func (f *fake) reporting() []restfake.Route {
	const api = "/api/v4/projects/{id}"
	hookBody := map[string]string{"url": "string!", "token": "string", "signing_token": "string", "enable_ssl_verification": "bool"}
	for _, e := range hookEvents {
		hookBody[e] = "bool"
	}
	return []restfake.Route{
		{Doc: "Projects API, retrieve", Method: "GET", Path: api, Do: func(r *restfake.Request) (int, any) {
			if r.Vars["id"] == project || r.Vars["id"] == "7" {
				return 200, f.project
			}
			if r.Vars["id"] == "8" {
				return 200, map[string]any{"id": 8, "path_with_namespace": "bob/dns"}
			}
			return 404, notFound
		}},
		{Doc: "Pipelines API, list", Method: "GET", Path: api + "/pipelines", Query: []string{"sha", "ref", "order_by", "sort", "per_page", "page"},
			Do: here(func(r *restfake.Request) (int, any) {
				out := []map[string]any{}
				for _, p := range f.pipelines {
					if p["sha"] == r.URL.Query().Get("sha") {
						out = append(out, p)
					}
				}
				return 200, out
			})},
		{Doc: "Commits API, set commit pipeline status", Method: "POST", Path: api + "/statuses/{sha}", Do: here(f.status),
			Body: map[string]string{"state": "string!", "ref": "string", "name": "string", "context": "string", "target_url": "string",
				"description": "string", "coverage": "int", "pipeline_id": "int"}},
		{Doc: "Commits API, list merge requests of a commit", Method: "GET", Path: api + "/repository/commits/{sha}/merge_requests",
			Query: append([]string{"state"}, paging...), Do: here(func(r *restfake.Request) (int, any) {
				out := []map[string]any{}
				for iid := range 100 {
					m := f.mrs[iid]
					if m != nil && (m["merge_commit_sha"] == r.Vars["sha"] || m["sha"] == r.Vars["sha"]) {
						out = append(out, m)
					}
				}
				return f.page(r, out)
			})},
		{Doc: "Deployments API, create", Method: "POST", Path: api + "/deployments",
			Body: map[string]string{"environment": "string!", "sha": "string!", "ref": "string!", "tag": "bool!", "status": "string!"},
			Do: here(func(r *restfake.Request) (int, any) {
				if !slices.Contains([]string{"running", "success", "failed", "canceled"}, r.Text("status")) {
					return 400, map[string]any{"error": "status does not have a valid value"}
				}
				id := strconv.Itoa(40 + len(f.deploys))
				f.deploys[id] = r.Text("environment") + " " + r.Text("ref") + " " + r.Text("status")
				n, _ := strconv.Atoi(id)
				return 201, map[string]any{"id": n, "status": r.Text("status")}
			})},
		{Doc: "Deployments API, update", Method: "PUT", Path: api + "/deployments/{deployment}", Body: map[string]string{"status": "string!"},
			Do: here(func(r *restfake.Request) (int, any) {
				id := r.Vars["deployment"]
				var env, ref, old string
				if _, err := fmt.Sscan(f.deploys[id], &env, &ref, &old); err != nil {
					return 404, notFound
				}
				if old == r.Text("status") {
					return 400, map[string]any{"message": map[string]any{"status": []string{"cannot transition via \"run\""}}}
				}
				f.deploys[id] = env + " " + ref + " " + r.Text("status")
				return 200, map[string]any{"id": 40, "status": r.Text("status")}
			})},
		{Doc: "Project webhooks API, list", Method: "GET", Path: api + "/hooks", Query: paging,
			Do: here(func(r *restfake.Request) (int, any) { return f.page(r, f.hooks) })},
		{Doc: "Project webhooks API, add", Method: "POST", Path: api + "/hooks", Body: hookBody, Do: here(func(r *restfake.Request) (int, any) {
			f.hooks = append(f.hooks, map[string]any{"id": 80 + len(f.hooks)})
			return 201, saved(f.hooks[len(f.hooks)-1], r)
		})},
		{Doc: "Project webhooks API, update", Method: "PUT", Path: api + "/hooks/{hook}", Body: hookBody, Do: here(func(r *restfake.Request) (int, any) {
			for _, h := range f.hooks {
				if fmt.Sprint(h["id"]) == r.Vars["hook"] {
					return 200, saved(h, r)
				}
			}
			return 404, notFound
		})},
		{Doc: "Project webhooks API, delete", Method: "DELETE", Path: api + "/hooks/{hook}", Do: here(func(r *restfake.Request) (int, any) {
			n := len(f.hooks)
			f.hooks = slices.DeleteFunc(f.hooks, func(h map[string]any) bool { return fmt.Sprint(h["id"]) == r.Vars["hook"] })
			if len(f.hooks) == n {
				return 404, notFound
			}
			return 204, nil
		})},
	}
}

// saved keeps what a hook's answer shows; tokens are never returned.
func saved(h map[string]any, r *restfake.Request) map[string]any {
	for k, v := range r.JSON {
		if k != "token" && k != "signing_token" {
			h[k] = v
		}
	}
	h["token_present"], h["signing_token_present"] = r.JSON["token"] != nil, r.JSON["signing_token"] != nil
	h["alert_status"] = "executable"
	return h
}

// status keeps GitLab's rules: one that runs or waits can't begin to do so
// again, a finished one is followed by a new one.
func (f *fake) status(r *restfake.Request) (int, any) {
	if !slices.Contains([]string{"pending", "running", "success", "failed", "canceled", "skipped"}, r.Text("state")) {
		return 400, map[string]any{"error": "state does not have a valid value"}
	}
	if len([]rune(r.Text("description"))) > 255 {
		return 400, map[string]any{"message": map[string]any{"description": []string{"is too long (maximum is 255 characters)"}}}
	}
	if r.Vars["sha"] != head && r.Vars["sha"] != landedC {
		return 404, map[string]any{"message": "404 Commit Not Found"}
	}
	for i := len(f.statuses) - 1; i >= 0; i-- {
		s := f.statuses[i]
		if s["name"] == r.Text("name") && s["sha"] == r.Vars["sha"] && s["pipeline_id"] == r.JSON["pipeline_id"] {
			if s["state"] == "pending" && r.Text("state") == "pending" {
				return 400, map[string]any{"message": `Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")`}
			}
			break
		}
	}
	s := map[string]any{"id": 500 + len(f.statuses), "sha": r.Vars["sha"], "status": r.Text("state")}
	for k, v := range r.JSON {
		s[k] = v
	}
	f.statuses = append(f.statuses, s)
	return 201, s
}

func (f *fake) people() []restfake.Route {
	access := func(levels map[int]int, r *restfake.Request) (int, any) {
		id, _ := strconv.Atoi(r.Vars["user"])
		level, ok := levels[id]
		if !ok {
			return 404, notFound
		}
		return 200, map[string]any{"id": id, "username": f.users[id-1], "state": "active", "access_level": level}
	}
	return []restfake.Route{
		{Doc: "Users API, retrieve the current user", Method: "GET", Path: "/api/v4/user", Do: func(*restfake.Request) (int, any) { return 200, me() }},
		{Doc: "Personal access tokens API, retrieve the token of the request", Method: "GET", Path: "/api/v4/personal_access_tokens/self", Do: func(*restfake.Request) (int, any) {
			if f.scopes == nil {
				return 404, notFound
			}
			return 200, map[string]any{"id": 1, "scopes": f.scopes, "expires_at": "2027-01-31", "active": true}
		}},
		{Doc: "Users API, list, by username", Method: "GET", Path: "/api/v4/users", Query: []string{"username!"}, Do: func(r *restfake.Request) (int, any) {
			out := []map[string]any{}
			for i, u := range f.users {
				if u == r.URL.Query().Get("username") {
					out = append(out, map[string]any{"id": i + 1, "username": u})
				}
			}
			return 200, out
		}},
		{Doc: "Members API, retrieve a member with inherited ones", Method: "GET", Path: "/api/v4/projects/{id}/members/all/{user}",
			Do: here(func(r *restfake.Request) (int, any) { return access(f.members, r) })},
		{Doc: "Groups API, retrieve", Method: "GET", Path: "/api/v4/groups/{group}", Query: []string{"with_projects"}, Do: func(r *restfake.Request) (int, any) {
			if f.groups[r.Vars["group"]] == nil {
				return 404, map[string]any{"message": "404 Group Not Found"}
			}
			return 200, map[string]any{"id": 3, "full_path": r.Vars["group"]}
		}},
		{Doc: "Members API, retrieve a member with inherited ones", Method: "GET", Path: "/api/v4/groups/{group}/members/all/{user}",
			Do: func(r *restfake.Request) (int, any) { return access(f.groups[r.Vars["group"]], r) }},
	}
}
