package kubernetes

import (
	"encoding/base64"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// normalise brings a desired object into the form that is sent: without fields
// that are the server's, and with the texts of a Secret among its data, where
// the server keeps them. Whole tells that nothing was missing while rendering,
// so that what is odd is a mistake.
func normalise(o *manifest.Object, whole bool, d *plan.Diagnostics) {
	if meta, ok := o.Object["metadata"].(map[string]any); ok {
		for _, f := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"} {
			delete(meta, f)
		}
	}
	if status, there := o.Object["status"]; there && empty(status) {
		delete(o.Object, "status")
	}
	if isSecret(o.Unstructured) {
		secretData(o, whole, d)
	}
	if isAggregated(o.Unstructured) {
		delete(o.Object, "rules")
	}
}

// isAggregated tells that a cluster role's rules are those of other roles: a
// controller writes them, whatever stands there.
//
// Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
func isAggregated(u *unstructured.Unstructured) bool {
	gk := u.GroupVersionKind().GroupKind()
	rule, ok := u.Object["aggregationRule"].(map[string]any)
	return gk.Group == "rbac.authorization.k8s.io" && gk.Kind == "ClusterRole" && ok && len(rule) > 0
}

func empty(v any) bool {
	m, ok := v.(map[string]any)
	return v == nil || ok && len(m) == 0
}

func isSecret(u *unstructured.Unstructured) bool {
	return u.GetKind() == "Secret" && u.GetAPIVersion() == "v1"
}

// secretData moves stringData into data, as the server does. Server-side apply
// would otherwise not know the keys as ours, and never remove one.
func secretData(o *manifest.Object, whole bool, d *plan.Diagnostics) {
	data, _ := o.Object["data"].(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(data)) {
		s, ok := data[k].(string)
		if data[k] == nil {
			data[k], s, ok = "", "", true
		}
		known := whole && !slices.Contains(o.Unknown, "/data/"+escape(k))
		if _, err := base64.StdEncoding.DecodeString(s); known && (!ok || err != nil) {
			d.Errorf(o.Source, "data."+k, "encode it, or write it under stringData", "the value is not in base64")
		}
	}
	texts, ok := o.Object["stringData"].(map[string]any)
	if !ok {
		delete(o.Object, "stringData")
		return
	}
	if data == nil {
		data = map[string]any{}
	}
	for _, k := range slices.Sorted(maps.Keys(texts)) {
		text, ok := texts[k].(string)
		if !ok && texts[k] != nil {
			d.Errorf(o.Source, "stringData."+k, "write it in quotes", "the value is no text")
			continue
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	delete(o.Object, "stringData")
	if len(data) > 0 {
		o.Object["data"] = data
	}
	for i, p := range o.Sensitive {
		o.Sensitive[i] = fromText(p)
	}
	for i, p := range o.Unknown {
		o.Unknown[i] = fromText(p)
	}
}

// withData gives a Secret in which texts count among the data, where they lie on
// the server. Helm sends them as they stand in the chart.
func withData(u *unstructured.Unstructured) *unstructured.Unstructured {
	texts, ok := u.Object["stringData"].(map[string]any)
	if !ok || !isSecret(u) {
		return u
	}
	had, _ := u.Object["data"].(map[string]any)
	data := maps.Clone(had)
	if data == nil {
		data = map[string]any{}
	}
	for k, v := range texts {
		text, _ := v.(string)
		data[k] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	out := &unstructured.Unstructured{Object: maps.Clone(u.Object)}
	delete(out.Object, "stringData")
	out.Object["data"] = data
	return out
}

func fromText(pointer string) string {
	const was = "/stringData/"
	if len(pointer) > len(was) && pointer[:len(was)] == was {
		return "/data/" + pointer[len(was):]
	}
	return pointer
}
