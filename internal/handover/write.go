package handover

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// ServerYAML writes the operator's part: what server.yaml needs for the
// imported targets.
func (r *Result) ServerYAML() ([]byte, error) {
	doc := yaml.MapSlice{{Key: "version", Value: 1}}
	if len(r.Notify) > 0 {
		doc = append(doc, yaml.MapItem{Key: "notify", Value: r.Notify})
	}
	doc = named(doc, "repositories", r.Repositories, func(x *Repository) string { return x.Name })
	doc = named(doc, "policies", r.Policies, func(x *Policy) string { return x.Name })
	doc = named(doc, "environments", r.Environments, func(x *Environment) string { return x.Name })
	doc = named(doc, "users", r.Users, func(x User) string { return x.Name })
	var fill []string
	for _, n := range r.Notes {
		if n.Kind == Fill && strings.Contains(n.Do, "server.yaml") {
			fill = append(fill, fmt.Sprintf("# - %s: %s", n.Object, n.Do))
		}
	}
	head := ""
	if len(fill) > 0 {
		head = "# To fill in before this is used:\n" + strings.Join(fill, "\n") + "\n"
	}
	return document(head, doc)
}

func named[T any](doc yaml.MapSlice, key string, list []T, name func(T) string) yaml.MapSlice {
	if len(list) == 0 {
		return doc
	}
	var m yaml.MapSlice
	for _, x := range list {
		m = append(m, yaml.MapItem{Key: name(x), Value: x})
	}
	return append(doc, yaml.MapItem{Key: key, Value: m})
}

// ManifestYAML writes the repository's trueup.yaml.
func (p *Repository) ManifestYAML() ([]byte, error) {
	return document("", yaml.MapSlice{{Key: "version", Value: 1}, {Key: "targets", Value: p.Targets}})
}

func document(head string, doc any) ([]byte, error) {
	body, err := yaml.MarshalWithOptions(doc, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, err
	}
	return append([]byte(head), body...), nil
}

// Output gives all files to write, by their path below the output directory:
// server.yaml, and a directory of files for each repository.
func (r *Result) Output() (map[string][]byte, error) {
	out := map[string][]byte{}
	var err error
	if out["server.yaml"], err = r.ServerYAML(); err != nil {
		return nil, err
	}
	for _, p := range r.Repositories {
		if len(p.Targets) == 0 {
			continue
		}
		if out[p.Name+"/trueup.yaml"], err = p.ManifestYAML(); err != nil {
			return nil, err
		}
		for _, f := range slices.Sorted(maps.Keys(p.Files)) {
			out[p.Name+"/"+f] = []byte(p.Files[f])
		}
	}
	return out, nil
}

// YAML writes a value as a file of its own has it.
func YAML(value any) string {
	body, err := document("", whole(value))
	if err != nil {
		return fmt.Sprintf("# %v\n", err)
	}
	return string(body)
}

// whole writes numbers without a fraction as whole ones: readers of JSON make
// all numbers alike.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if n := int64(v); float64(n) == v && n > -1<<53 && n < 1<<53 {
			return n
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = whole(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = whole(x)
		}
		return out
	}
	return v
}
