//go:build real

package bitbucket

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// description is the part of an OpenAPI description that is checked.
type description struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type schema struct {
	AllOf      []schema          `json:"allOf"`
	Ref        string            `json:"$ref"`
	Properties map[string]schema `json:"properties"`
}

type parameter struct{ Name, In string }

// generic are the parameters that the description leaves to its chapters on
// paging, filtering and sorting.
var generic = []string{"page", "pagelen", "q", "sort"}

// newer is what the documentation has and the schemas of the pinned
// description have not; description stands in its examples.
var newer = map[string][]string{
	"pullrequest":          {"description", "draft"},
	"webhook_subscription": {"secret"},
}

// ofSchema names the schema of each body that trueup sends.
var ofSchema = map[string]string{
	"POST /pullrequests":                                        "pullrequest",
	"PUT /pullrequests/{pull_request_id}":                       "pullrequest",
	"POST /pullrequests/{pull_request_id}/comments":             "pullrequest_comment",
	"PUT /pullrequests/{pull_request_id}/comments/{comment_id}": "pullrequest_comment",
	"POST /commit/{commit}/statuses/build":                      "commitstatus",
	"PUT /commit/{commit}/reports/{reportId}":                   "report",
	"POST /commit/{commit}/reports/{reportId}/annotations":      "report_annotation",
	"POST /hooks":      "webhook_subscription",
	"PUT /hooks/{uid}": "webhook_subscription",
}

// TestDescription checks every route of the fake, and so every call that
// trueup makes, against Bitbucket's published description.
func TestDescription(t *testing.T) {
	d := load(t)
	for _, r := range (&fake{}).routes() {
		path, ok := strings.CutPrefix(r.Path, "/2.0")
		if !ok {
			continue // groups are still version 1.0
		}
		path = strings.Replace(path, "/diffstat/{workspace}/{spec}", "/diffstat/{spec}", 1) // a spec may hold a slash
		name := r.Method + " " + path
		op, ok := d.Paths[path][strings.ToLower(r.Method)]
		if !ok {
			t.Errorf("the description has no %s", name)
			continue
		}
		var o struct {
			Parameters []parameter `json:"parameters"`
		}
		if err := json.Unmarshal(op, &o); err != nil {
			t.Fatal(err)
		}
		var shared []parameter
		if b, ok := d.Paths[path]["parameters"]; ok {
			if err := json.Unmarshal(b, &shared); err != nil {
				t.Fatal(err)
			}
		}
		o.Parameters = append(o.Parameters, shared...)
		for _, q := range r.Query {
			known := slices.ContainsFunc(o.Parameters, func(p parameter) bool { return p.In == "query" && p.Name == q })
			if !known && !slices.Contains(generic, q) && q != "from_pullrequest_id" { // it stands in the redirect
				t.Errorf("%s has no parameter %s", name, q)
			}
		}
		if r.Body == nil {
			continue
		}
		of := ofSchema[r.Method+" "+strings.TrimPrefix(path, "/repositories/{workspace}/{repo_slug}")]
		fields := d.fields(d.Components.Schemas[of], 0)
		if len(fields) == 0 {
			t.Errorf("%s: no schema of its body", name)
		}
		for field := range r.Body {
			if !slices.Contains(fields, field) && !slices.Contains(newer[of], field) {
				t.Errorf("%s: %s has no field %s", name, of, field)
			}
		}
	}
}

func (d *description) fields(s schema, depth int) []string {
	if depth > 8 {
		return nil
	}
	if s.Ref != "" {
		return d.fields(d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")], depth+1)
	}
	var out []string
	for name := range s.Properties {
		out = append(out, name)
	}
	for _, a := range s.AllOf {
		out = append(out, d.fields(a, depth+1)...)
	}
	return out
}

func load(t *testing.T) *description {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join("..", "..", "..", "..", "scripts", "bitbucket-api.sh"))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Bitbucket's API description can't be had: %v\n%s", err, stderr.String())
	}
	b, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	// Schemas hold true where others hold an object; only objects matter.
	var d description
	var raw struct {
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	d.Paths, d.Components.Schemas = raw.Paths, map[string]schema{}
	for name, s := range raw.Components.Schemas {
		var one schema
		if err := json.Unmarshal(s, &one); err == nil {
			d.Components.Schemas[name] = one
		}
	}
	if len(d.Paths) < 100 || len(d.Components.Schemas) < 50 {
		t.Fatalf("the description has %d paths and %d schemas", len(d.Paths), len(d.Components.Schemas))
	}
	return &d
}
