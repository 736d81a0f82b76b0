package handover

import (
	"path"
	"strings"

	"github.com/goccy/go-yaml"
)

// Overlay is a kustomization that is laid over a directory of the repository:
// the place for what other tools say of it outside Git.
type Overlay struct {
	Base        string // the directory, or a file
	Namespace   string
	NamePrefix  string
	NameSuffix  string
	Components  []string // from the repository's root
	Images      []any
	Replicas    []any
	Patches     []any
	Labels      map[string]string
	Selectors   bool // the labels go into selectors and pod templates as well
	Templates   bool // the labels go into pod templates as well
	Annotations map[string]string
}

// Empty tells that nothing is laid over the directory.
func (o *Overlay) Empty() bool {
	return o.Namespace == "" && o.NamePrefix == "" && o.NameSuffix == "" && len(o.Components) == 0 && len(o.Images) == 0 &&
		len(o.Replicas) == 0 && len(o.Patches) == 0 && len(o.Labels) == 0 && len(o.Annotations) == 0
}

// File writes the kustomization.yaml of a directory.
func (o *Overlay) File(dir string) string {
	doc := yaml.MapSlice{{Key: "apiVersion", Value: "kustomize.config.k8s.io/v1beta1"}, {Key: "kind", Value: "Kustomization"},
		{Key: "resources", Value: []string{Relative(dir, o.Base)}}}
	add := func(key string, value any, has bool) {
		if has {
			doc = append(doc, yaml.MapItem{Key: key, Value: value})
		}
	}
	var components []string
	for _, c := range o.Components {
		components = append(components, Relative(dir, c))
	}
	add("components", components, len(components) > 0)
	add("namespace", o.Namespace, o.Namespace != "")
	add("namePrefix", o.NamePrefix, o.NamePrefix != "")
	add("nameSuffix", o.NameSuffix, o.NameSuffix != "")
	labels := yaml.MapSlice{{Key: "pairs", Value: o.Labels}}
	if o.Selectors {
		labels = append(labels, yaml.MapItem{Key: "includeSelectors", Value: true})
	} else if o.Templates {
		labels = append(labels, yaml.MapItem{Key: "includeTemplates", Value: true})
	}
	add("labels", []yaml.MapSlice{labels}, len(o.Labels) > 0)
	add("images", o.Images, len(o.Images) > 0)
	add("replicas", o.Replicas, len(o.Replicas) > 0)
	add("patches", o.Patches, len(o.Patches) > 0)
	if len(o.Annotations) > 0 {
		// commonAnnotations would write into pod templates as well, and so roll
		// everything out.
		t := yaml.MapSlice{{Key: "apiVersion", Value: "builtin"}, {Key: "kind", Value: "AnnotationsTransformer"},
			{Key: "metadata", Value: map[string]string{"name": "annotations"}}, {Key: "annotations", Value: o.Annotations},
			{Key: "fieldSpecs", Value: []yaml.MapSlice{{{Key: "path", Value: "metadata/annotations"}, {Key: "create", Value: true}}}}}
		add("transformers", []string{YAML(t)}, true)
	}
	return YAML(doc)
}

// Relative writes a path of the repository as seen from one of its
// directories.
func Relative(dir, to string) string {
	from, want := parts(dir), parts(to)
	for len(from) > 0 && len(want) > 0 && from[0] == want[0] {
		from, want = from[1:], want[1:]
	}
	up := strings.Repeat("../", len(from))
	if p := up + strings.Join(want, "/"); p != "" {
		return strings.TrimSuffix(p, "/")
	}
	return "."
}

func parts(p string) []string {
	if p = path.Clean(p); p == "." || p == "" {
		return nil
	}
	return strings.Split(p, "/")
}
