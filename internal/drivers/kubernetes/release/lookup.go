package release

import (
	"context"
	"errors"
	"text/template"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
)

// errLookup refuses templates to read the cluster. That they find nothing
// would be worse: charts that look for a password they made before would make
// a new one.
var errLookup = errors.New("the chart reads the cluster while it is rendered (lookup), which the operator has to allow: connect.helm.lookup")

// functions replaces the functions of templates that reach out.
func (c *Client) functions(ctx context.Context, r *Release) template.FuncMap {
	return template.FuncMap{"lookup": func(apiVersion, kind, namespace, name string) (map[string]any, error) {
		if !r.Lookup {
			return nil, errLookup
		}
		found, err := c.lookup(ctx, apiVersion, kind, namespace, name)
		if errors.Is(err, kube.ErrNotFound) {
			return map[string]any{}, nil
		}
		return found, err
	}}
}

func (c *Client) lookup(ctx context.Context, apiVersion, kind, namespace, name string) (map[string]any, error) {
	m, err := c.cluster.Mapping(ctx, schema.FromAPIVersionAndKind(apiVersion, kind))
	if err != nil {
		return nil, err
	}
	if name != "" {
		u, err := c.cluster.Get(ctx, m, namespace, name)
		if err != nil {
			return nil, err
		}
		return u.Object, nil
	}
	items, version, err := c.cluster.List(ctx, m, namespace, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	list := make([]any, len(items))
	for i := range items {
		list[i] = items[i].Object
	}
	return map[string]any{"apiVersion": apiVersion, "kind": kind + "List", "metadata": map[string]any{"resourceVersion": version}, "items": list}, nil
}
