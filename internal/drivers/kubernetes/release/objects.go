package release

import (
	"fmt"
	"strconv"
	"strings"

	helm "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// What Helm marks the objects of a release with.
const (
	ManagedByLabel      = "app.kubernetes.io/managed-by"
	NameAnnotation      = "meta.helm.sh/release-name"
	NamespaceAnnotation = "meta.helm.sh/release-namespace"
	policyAnnotation    = "helm.sh/resource-policy"
)

// objects reads rendered documents, and marks the objects as Helm does.
func objects(docs []document, r *Release) ([]manifest.Object, error) {
	var out []manifest.Object
	first := map[manifest.Ref]string{}
	for _, d := range docs {
		list, err := parse(d)
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			if at, twice := first[o.Ref()]; twice {
				return nil, fmt.Errorf("%s is made twice, by %s and %s", o.Ref(), at, d.template)
			}
			first[o.Ref()] = d.template
			own(o.Unstructured, r)
			out = append(out, o)
		}
	}
	return out, nil
}

func parse(d document) ([]manifest.Object, error) {
	docs, found := manifest.Lenient(d.template, []byte(d.text))
	var out []manifest.Object
	for _, doc := range docs {
		out = append(out, doc.Objects(&found)...)
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Source.Line = 0 // of the rendering, which nobody has before them
	}
	return out, nil
}

// own marks an object as one of the release.
func own(u *unstructured.Unstructured, r *Release) {
	labels, notes := u.GetLabels(), u.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if notes == nil {
		notes = map[string]string{}
	}
	labels[ManagedByLabel] = "Helm"
	notes[NameAnnotation], notes[NamespaceAnnotation] = r.Name, r.Namespace
	u.SetLabels(labels)
	u.SetAnnotations(notes)
}

// Owner tells which release an object says it belongs to; "" is none.
func Owner(u *unstructured.Unstructured) string {
	notes := u.GetAnnotations()
	if u.GetLabels()[ManagedByLabel] != "Helm" || notes[NameAnnotation] == "" {
		return ""
	}
	return notes[NamespaceAnnotation] + "/" + notes[NameAnnotation]
}

// Kept tells that Helm does not remove an object.
func Kept(u *unstructured.Unstructured) bool {
	return strings.ToLower(strings.TrimSpace(u.GetAnnotations()[policyAnnotation])) == "keep"
}

func hooks(list []*helm.Hook) ([]Hook, error) {
	var out []Hook
	for _, h := range list {
		found, err := parse(document{template: h.Path, text: h.Manifest})
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			x := Hook{Object: o}
			for _, e := range h.Events {
				x.Events = append(x.Events, string(e))
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// differences gives JSON pointers to what is not the same in two documents.
func differences(a, b any) []string {
	var out []string
	compare(a, b, "", &out)
	return out
}

func compare(a, b any, at string, out *[]string) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			for _, k := range sortedKeys(x) {
				v, there := y[k]
				if !there {
					*out = append(*out, at+"/"+escape(k))
					continue
				}
				compare(x[k], v, at+"/"+escape(k), out)
			}
			for _, k := range sortedKeys(y) {
				if _, there := x[k]; !there {
					*out = append(*out, at+"/"+escape(k))
				}
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				compare(x[i], y[i], at+"/"+strconv.Itoa(i), out)
			}
			return
		}
	}
	if !equal(a, b) {
		*out = append(*out, at)
	}
}

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// within tells that a pointer leads to a place or below it.
func within(p, place string) bool { return p == place || strings.HasPrefix(p, place+"/") }
