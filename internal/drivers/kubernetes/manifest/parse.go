package manifest

import (
	"errors"
	"path"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/plan"
)

// Document is one document of a YAML or JSON file.
type Document struct {
	Value any
	File  string
	node  *yaml.Node
}

// Place gives the place of a field: names of fields and numbers of items from the
// top. Of a field that is not there it is the nearest one around it.
func (d Document) Place(steps ...any) plan.Source {
	at := plan.Source{File: d.File}
	n := d.node
	if n == nil {
		return at
	}
	at.Line = n.Line
	for _, s := range steps {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		key, value := child(n, s)
		if value == nil {
			break
		}
		at.Line, n = key.Line, value
	}
	return at
}

// At gives the same document with the places of another, which has the same
// fields.
func (d Document) At(other Document) Document {
	d.node = other.node
	return d
}

func child(n *yaml.Node, step any) (key, value *yaml.Node) {
	switch s := step.(type) {
	case string:
		if n.Kind != yaml.MappingNode {
			return nil, nil
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s {
				return n.Content[i], n.Content[i+1]
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && s < len(n.Content) {
			return n.Content[s], n.Content[s]
		}
	}
	return nil, nil
}

// Documents reads a YAML or JSON file whose documents may be anything. Empty
// documents are left out. What can be read is given beside the mistakes.
func Documents(file string, body []byte) ([]Document, plan.Diagnostics) {
	return documents(file, body, false)
}

// Lenient reads YAML as templates of charts make it: of a field that stands
// twice the last counts, with a warning.
func Lenient(file string, body []byte) ([]Document, plan.Diagnostics) {
	return documents(file, body, true)
}

// maxDense bounds the values of a file, before memory is taken for them.
const maxDense = 3_000_000

// dense counts what begins or ends a value. There are never more values.
func dense(body []byte) bool {
	if len(body) <= maxDense {
		return false
	}
	n := 0
	for _, c := range body {
		switch c {
		case '\n', ',', '[', '{', ':', '-', '?':
			n++
		}
	}
	return n > maxDense
}

func documents(file string, body []byte, lenient bool) ([]Document, plan.Diagnostics) {
	var d plan.Diagnostics
	if dense(body) {
		d.Errorf(plan.Source{File: file, Line: 1}, "", "split it", "the file has too many values")
		return nil, d
	}
	isJSON := path.Ext(file) == ".json" && !lenient
	chunks := []chunk{{body, 1}}
	if !isJSON {
		chunks = split(body)
	}
	var out []Document
	for _, c := range chunks {
		nodes, err := c.nodes(isJSON)
		var m *mistake
		if errors.As(err, &m) {
			d = append(d, m.diagnostic(file))
		}
		for _, n := range nodes {
			conv := &converter{lenient: lenient}
			v := conv.value(n, 0)
			for _, m := range conv.found {
				d = append(d, m.diagnostic(file))
			}
			if v != nil && !conv.failed {
				out = append(out, Document{Value: v, File: file, node: n})
			}
		}
	}
	return out, d
}

// Parse reads the objects of a YAML or JSON file. Lists are unfolded, every
// object is checked as far as that is possible without a cluster, and all
// mistakes are given at once.
func Parse(file string, body []byte) ([]Object, plan.Diagnostics) {
	docs, d := Documents(file, body)
	var out []Object
	for _, doc := range docs {
		out = append(out, doc.Objects(&d)...)
	}
	return out, d
}

// Objects gives the objects that a document asks for: one, or those of a list.
func (d Document) Objects(found *plan.Diagnostics) []Object {
	return d.objects(found, nil, d.Value, 0)
}

func (d Document) objects(found *plan.Diagnostics, at []any, value any, depth int) []Object {
	m, ok := value.(map[string]any)
	if !ok {
		found.Errorf(d.Place(at...), "", ExcludeTip, "this is no Kubernetes object: it is no mapping of fields")
		return nil
	}
	items, list := listOf(m)
	if !list {
		o := Object{Unstructured: &unstructured.Unstructured{Object: m}, Source: d.Place(at...)}
		if !Check(&o, func(field ...any) plan.Source { return d.Place(append(at, field...)...) }, found) {
			return nil
		}
		return []Object{o}
	}
	if depth > 3 {
		found.Errorf(d.Place(at...), "", "", "lists lie within lists")
		return nil
	}
	var out []Object
	for i, item := range items {
		if o, ok := item.(map[string]any); ok {
			inherit(o, m)
		}
		place := append(append([]any{}, at...), "items", i)
		out = append(out, d.objects(found, place, item, depth+1)...)
	}
	return out
}

// listOf tells whether a document is a list of objects, and of which: kind
// List, or a kind that ends so and has items.
func listOf(m map[string]any) ([]any, bool) {
	kind, _ := m["kind"].(string)
	items, ok := m["items"].([]any)
	_, present := m["items"]
	return items, kind == "List" && (ok || !present || m["items"] == nil) || ok && strings.HasSuffix(kind, "List")
}

// inherit gives an item of a typed list (ConfigMapList) its kind, which such
// items leave out.
func inherit(item, list map[string]any) {
	kind, _ := list["kind"].(string)
	if kind = strings.TrimSuffix(kind, "List"); kind == "" {
		return
	}
	if _, ok := item["kind"]; !ok {
		item["kind"] = kind
	}
	if _, ok := item["apiVersion"]; !ok {
		item["apiVersion"] = list["apiVersion"]
	}
}
