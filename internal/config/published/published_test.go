// Package published_test keeps what is generated from the configuration's
// types equal to them: comments, schemas and the reference.
package published_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/drivers/all"
)

var update = flag.Bool("update", false, "write the generated files")

const root = "../../.."

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	comments, err := config.ReadComments(root, all.Registry())
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.MarshalIndent(comments, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(root, "internal/config/comments.json"), append(body, '\n'))
	for _, kind := range config.Kinds {
		schema, err := config.SchemaWith(comments, kind, all.Registry())
		if err != nil {
			t.Fatal(err)
		}
		same(t, filepath.Join(root, "schemas", kind+".schema.json"), schema)
	}
	ref, err := config.ReferenceWith(comments, all.Registry())
	if err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(root, "docs/reference/configuration.md"), ref)
}

func same(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("%s is not what the types say; run: go generate ./internal/config (%v)", path, err)
	}
}

func compiled(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	body, err := config.Schema(kind, all.Registry())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var block = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// Every whole file in the documentation is valid by the schema and is read
// without a complaint.
func TestExamplesInTheDocumentation(t *testing.T) {
	schemas := map[string]*jsonschema.Schema{"server": compiled(t, "server"), "trueup": compiled(t, "trueup")}
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, filepath.Join(root, "README.md"))
	count := map[string]int{}
	for _, page := range append(pages, filepath.Join(root, "contrib/server.yaml")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(page, ".yaml") {
			text = []byte("```yaml\n" + string(text) + "```\n")
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(m[1], "version: 1\n") {
				continue // a part of a file
			}
			kind := "server"
			if strings.Contains(m[1], "\ntargets:") {
				kind = "trueup"
			}
			count[kind]++
			if err := schemas[kind].Validate(asJSON(t, m[1])); err != nil {
				t.Errorf("%s: the schema refuses:\n%s\n%v", filepath.Base(page), m[1], err)
			}
			if kind == "server" {
				if _, d := config.ParseServer(filepath.Base(page), []byte(m[1]), ".", all.Registry()); d.Err() != nil {
					t.Errorf("%s: %v in\n%s", filepath.Base(page), d, m[1])
				}
			} else if _, d := config.ParseManifest(filepath.Base(page), []byte(m[1])); d.Err() != nil {
				t.Errorf("%s: %v in\n%s", filepath.Base(page), d, m[1])
			}
		}
	}
	if count["server"] == 0 || count["trueup"] == 0 {
		t.Errorf("the documentation has no examples to check: %v", count)
	}
}

// The schema must refuse as well: each text has one mistake.
func TestTheSchemaRefuses(t *testing.T) {
	for kind, texts := range map[string][]string{
		"server": {
			"version: 2", "version: 1\nfoo: 1", "version: 1\nlimits: { concurrency: many }",
			"version: 1\nlimits: { planTimeout: soon }", "version: 1\nrepositories: { a: { branch: main } }",
			"version: 1\npolicies: { a: { guard: { delete: lots } } }", "version: 1\npolicies: { a: { windows: [always] } }",
			"version: 1\nenvironments: { a: { driver: nothing } }",
			"version: 1\nenvironments: { a: { driver: files, connect: { rot: /srv } } }",
			"version: 1\nenvironments: { a: { driver: files, connect: { root: /srv }, allow: [{ repository: a, scope: { filez: [x] } }] } }",
			"version: 1\nusers: { a: { role: king } }", "version: 1\nnotify: [{ on: [hold], to: \"env:X\" }]",
		},
		"trueup": {
			"targets: []", "version: 1\ntargets: [{ path: a }]", "version: 1\ntargets: [{ name: a, path: a, environment: e, spec: { nonsense: 1 } }]",
			"version: 1\ntargets: [{ name: a, path: a, environment: e, onFailure: panic }]", "version: 1\ntargets: [{ name: a, path: [a] }]",
		},
	} {
		s := compiled(t, kind)
		for _, text := range texts {
			if s.Validate(asJSON(t, text)) == nil {
				t.Errorf("the schema of %s.yaml accepts:\n%s", kind, text)
			}
		}
	}
}
