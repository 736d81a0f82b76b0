package argocd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/handover"
)

// unknowable are generators whose values come from elsewhere.
var unknowable = map[string]string{
	"scmProvider":             "which repositories a forge has is not looked up",
	"pullRequest":             "environments for pull requests are no part of trueup: it shows their plans",
	"clusterDecisionResource": "which clusters another object chooses is not looked up",
	"plugin":                  "no plug-ins are asked",
}

// generator gives the values that a generator makes. Ok is false where they
// can't be found out; that is noted then.
func (e *expansion) generator(g *handover.Fields, depth int) (out []params, ok bool) {
	for _, name := range sortedKeys(unknowable) {
		if v := g.At(name); v.Has() {
			g.Ignore()
			e.out.Lost(e.set, v.Path(), unknowable[name], "write the targets by hand, or import from the live cluster: what it has made by now is carried over then")
			return nil, false
		}
	}
	var err error
	switch {
	case depth > 3:
		err = fmt.Errorf("generators lie too deeply within each other")
	case g.At("list").Has():
		out, err = e.list(g.At("list"))
	case g.At("clusters").Has():
		out, err = e.fromClusters(g.At("clusters"))
	case g.At("git").Has():
		out, err = e.git(g.At("git"))
	case g.At("matrix").Has():
		out, err = e.matrix(g.At("matrix"), depth)
	case g.At("merge").Has():
		out, err = e.merge(g.At("merge"), depth)
	default:
		err = fmt.Errorf("trueup's import does not know this generator")
	}
	if err == nil && g.At("selector").Has() {
		out, err = e.chosen(out, g.At("selector").Any())
	}
	if err != nil {
		g.Ignore()
		e.out.Lost(e.set, g.Path(), err.Error(), "write the targets by hand, or import from the live cluster: what it has made by now is carried over then")
		return nil, false
	}
	return out, true
}

// with lays the generator's own template and values over what it made.
func (e *expansion) with(g *handover.Fields, list []params) ([]params, error) {
	template, _ := g.At("template").Any().(map[string]any)
	extra, _ := g.At("values").Any().(map[string]any)
	g.Ignore("requeueAfterSeconds")
	for i := range list {
		p := &list[i]
		p.template = handover.Merge(p.template, template)
		if len(extra) == 0 {
			continue
		}
		filled, err := e.fill(extra, p.values)
		if err != nil {
			return nil, err
		}
		m, _ := filled.(map[string]any)
		if e.gt {
			p.values["values"] = m
		} else {
			for k, v := range m {
				p.values["values."+k] = v
			}
		}
	}
	return list, nil
}

func (e *expansion) list(g *handover.Fields) ([]params, error) {
	elements, _ := g.At("elements").Any().([]any)
	if text := g.At("elementsYaml").Text(); text != "" {
		if strings.Contains(text, "{{") {
			return nil, fmt.Errorf("its elements are made by a template")
		}
		var more []any
		if err := yaml.Unmarshal([]byte(text), &more); err != nil {
			return nil, fmt.Errorf("its elementsYaml can't be read")
		}
		elements = append(elements, more...)
	}
	var out []params
	for _, x := range elements {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("an element of the list is no mapping")
		}
		out = append(out, params{values: e.flat(m)})
	}
	return e.with(g, out)
}

// flat writes nested values with dots in their names, as the older templates
// have them.
func (e *expansion) flat(m map[string]any) map[string]any {
	if e.gt {
		return maps.Clone(m)
	}
	out := map[string]any{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		if m, ok := v.(map[string]any); ok {
			for k, x := range m {
				walk(prefix+"."+k, x)
			}
			return
		}
		out[prefix] = v
	}
	for k, v := range m {
		walk(k, v)
	}
	return out
}

func (e *expansion) fromClusters(g *handover.Fields) ([]params, error) {
	selector := g.At("selector").Any()
	narrowed := false
	if m, ok := selector.(map[string]any); ok {
		narrowed = len(m) > 0
	}
	if g.At("flatList").Yes() {
		return nil, fmt.Errorf("a list of all clusters at once is not made")
	}
	match, err := selectorOf(selector)
	if err != nil {
		return nil, err
	}
	if len(e.clusters) == 1 && e.clusters[0].labels == nil {
		e.out.Fill(e.set.String(), g.Path(), "the clusters that Argo CD has are in Secrets, and there are none among the objects", "import from the live cluster if there are others than the one it runs in")
	}
	var out []params
	for _, cl := range e.clusters {
		if cl.labels == nil && (narrowed || !cl.local) || narrowed && !match.Matches(labels.Set(cl.labels)) {
			continue
		}
		v := map[string]any{"name": cl.name, "nameNormalized": normalize(cl.name), "server": cl.server, "project": cl.project}
		if e.gt {
			v["metadata"] = map[string]any{"labels": anyMap(cl.labels), "annotations": anyMap(cl.annotations)}
		} else {
			for k, x := range cl.labels {
				v["metadata.labels."+k] = x
			}
			for k, x := range cl.annotations {
				v["metadata.annotations."+k] = x
			}
		}
		out = append(out, params{values: v})
	}
	e.out.Differs(e.set, g.Path(), "the clusters that there are now are written; one that is added makes no targets by itself", "add targets, or environments, for new clusters")
	return e.with(g, out)
}

func anyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func selectorOf(v any) (labels.Selector, error) {
	m, _ := v.(map[string]any)
	var s metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &s); err != nil {
		return nil, fmt.Errorf("its selector can't be read")
	}
	out, err := metav1.LabelSelectorAsSelector(&s)
	if err != nil {
		return nil, fmt.Errorf("its selector can't be read")
	}
	return out, nil
}

// chosen keeps the values that a selector matches.
func (e *expansion) chosen(list []params, selector any) ([]params, error) {
	match, err := selectorOf(selector)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(p params) bool {
		flat := labels.Set{}
		for k, v := range (&expansion{}).flat(p.values) {
			flat[k] = fmt.Sprint(v)
		}
		return !match.Matches(flat)
	}), nil
}
