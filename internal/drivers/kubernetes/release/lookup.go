package release

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
)

// Lookup reads an object for a template, or with no name the list of a kind.
// One that is not there is an empty one.
func (c *Client) Lookup(ctx context.Context, apiVersion, kind, namespace, name string) (map[string]any, error) {
	m, err := c.cluster.Mapping(ctx, schema.FromAPIVersionAndKind(apiVersion, kind))
	if errors.Is(err, kube.ErrNoKind) {
		return map[string]any{}, nil
	}
	if err != nil {
		return nil, err
	}
	if name != "" {
		u, err := c.cluster.Get(ctx, m, namespace, name)
		if errors.Is(err, kube.ErrNotFound) {
			return map[string]any{}, nil
		}
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
