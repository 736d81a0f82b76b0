package bitbucketdc

import (
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/servertest/restfake"
)

func (f *fake) reporting() []restfake.Route {
	const repo = "projects/{key}/repos/{slug}"
	const api = "/rest/api/1.0/" + repo
	hookBody := map[string]string{"name": "string!", "url": "string!", "events": "array!", "configuration": "object", "active": "bool", "sslVerificationRequired": "bool"}
	return []restfake.Route{
		{Doc: "Pull Requests, get repository pull requests containing commit", Method: "GET", Path: api + "/commits/{sha}/pull-requests", Query: paging,
			Do: here(func(r *restfake.Request) (int, any) {
				var out []object
				for id := range 100 {
					p := f.prs[id]
					if p == nil {
						continue
					}
					props, _ := p["properties"].(object)
					if merge, _ := props["mergeCommit"].(object); merge["id"] == r.Vars["sha"] || p["fromRef"].(object)["latestCommit"] == r.Vars["sha"] {
						out = append(out, p)
					}
				}
				return page(r, out)
			})},
		{Doc: "Builds and Deployments, store a build status", Method: "POST", Path: api + "/commits/{sha}/builds",
			Body: map[string]string{"key": "string!", "state": "string!", "url": "string!", "name": "string", "description": "string", "parent": "string", "ref": "string",
				"buildNumber": "string", "duration": "int", "lastUpdated": "int", "testResults": "object"},
			Do: here(f.build)},
		{Doc: "Builds and Deployments, create or update a deployment", Method: "POST", Path: api + "/commits/{sha}/deployments",
			Body: map[string]string{"deploymentSequenceNumber": "int!", "description": "string!", "displayName": "string!", "environment": "object!", "key": "string!",
				"lastUpdated": "int", "state": "string!", "url": "string!"},
			Do: here(func(r *restfake.Request) (int, any) {
				if !slices.Contains([]string{"PENDING", "IN_PROGRESS", "CANCELLED", "FAILED", "ROLLED_BACK", "SUCCESSFUL", "UNKNOWN"}, r.Text("state")) {
					return problem(400, "ArgumentValidationException", "state")
				}
				if msg := restfake.Fields(map[string]string{"key": "string!", "displayName": "string!", "type": "string", "url": "string"}, r.JSON["environment"].(object)); msg != "" {
					return problem(400, "ArgumentValidationException", msg)
				}
				for i, d := range f.deploys {
					if d["deploymentSequenceNumber"] == r.JSON["deploymentSequenceNumber"] && d["key"] == r.JSON["key"] {
						f.deploys[i] = r.JSON
						return 200, r.JSON
					}
				}
				f.deploys = append(f.deploys, r.JSON)
				return 200, r.JSON
			})},
		{Doc: "Builds and Deployments, get required builds checks", Method: "GET", Path: "/rest/required-builds/latest/" + repo + "/conditions", Query: paging,
			Do: here(func(r *restfake.Request) (int, any) { return page(r, f.conditions) })},
		{Doc: "Code Insights, delete a report", Method: "DELETE", Path: "/rest/insights/latest/" + repo + "/commits/{sha}/reports/{report}", Do: here(func(r *restfake.Request) (int, any) {
			delete(f.reports, r.Vars["report"]) // 204 whether there was one or not
			return 204, nil
		})},
		{Doc: "Code Insights, create report", Method: "PUT", Path: "/rest/insights/latest/" + repo + "/commits/{sha}/reports/{report}",
			Body: map[string]string{"title": "string!", "details": "string", "result": "string", "reporter": "string", "link": "string", "data": "array", "logoUrl": "string"},
			Do: here(func(r *restfake.Request) (int, any) {
				r.JSON["annotations"] = []any{}
				f.reports[r.Vars["report"]] = r.JSON
				return 200, r.JSON
			})},
		{Doc: "Code Insights, add insight annotations", Method: "POST", Path: "/rest/insights/latest/" + repo + "/commits/{sha}/reports/{report}/annotations",
			Body: map[string]string{"annotations": "array!"}, Do: here(f.annotate)},
		{Doc: "Repository, find webhooks", Method: "GET", Path: api + "/webhooks", Query: append([]string{"event", "statistics"}, paging...),
			Do: here(func(r *restfake.Request) (int, any) { return page(r, f.hooks) })},
		{Doc: "Repository, create webhook", Method: "POST", Path: api + "/webhooks", Body: hookBody, Do: here(func(r *restfake.Request) (int, any) {
			h := r.JSON
			h["id"] = 80 + len(f.hooks)
			f.hooks = append(f.hooks, h)
			return 201, h
		})},
		{Doc: "Repository, update webhook", Method: "PUT", Path: api + "/webhooks/{hook}", Body: hookBody, Do: here(func(r *restfake.Request) (int, any) {
			for i, h := range f.hooks {
				if fmt.Sprint(h["id"]) == r.Vars["hook"] {
					r.JSON["id"] = h["id"]
					f.hooks[i] = r.JSON
					return 200, r.JSON
				}
			}
			return gone()
		})},
		{Doc: "Repository, delete webhook", Method: "DELETE", Path: api + "/webhooks/{hook}", Do: here(func(r *restfake.Request) (int, any) {
			f.hooks = slices.DeleteFunc(f.hooks, func(h object) bool { return fmt.Sprint(h["id"]) == r.Vars["hook"] })
			return 204, nil
		})},
	}
}

func (f *fake) build(r *restfake.Request) (int, any) {
	if !slices.Contains([]string{"SUCCESSFUL", "FAILED", "INPROGRESS", "CANCELLED", "UNKNOWN"}, r.Text("state")) {
		return problem(400, "ArgumentValidationException", "state")
	}
	for _, k := range []string{"key", "name", "description", "parent"} {
		if len([]rune(r.Text(k))) > 255 {
			return problem(400, "ArgumentValidationException", k+" is longer than 255 characters")
		}
	}
	if r.Text("url") == "" {
		return problem(400, "ArgumentValidationException", "url")
	}
	if ref := r.Text("ref"); ref != "" && ref[:5] != "refs/" {
		return problem(400, "ArgumentValidationException", "ref is the full reference")
	}
	f.builds = append(f.builds, r.JSON)
	return 204, nil
}

func (f *fake) annotate(r *restfake.Request) (int, any) {
	report := f.reports[r.Vars["report"]]
	if report == nil {
		return gone()
	}
	list := r.JSON["annotations"].([]any)
	if len(list) > 1000 {
		return problem(400, "ArgumentValidationException", "at most 1000 annotations")
	}
	for _, a := range list {
		kinds := map[string]string{"externalId": "string", "line": "int", "link": "string", "message": "string!", "path": "string", "severity": "string!", "type": "string"}
		if msg := restfake.Fields(kinds, a.(object)); msg != "" {
			return problem(400, "ArgumentValidationException", msg)
		}
		if !slices.Contains([]any{"LOW", "MEDIUM", "HIGH"}, a.(object)["severity"]) || !slices.Contains([]any{"VULNERABILITY", "CODE_SMELL", "BUG"}, a.(object)["type"]) {
			return problem(400, "ArgumentValidationException", "severity or type")
		}
	}
	report["annotations"] = list
	return 204, nil
}
