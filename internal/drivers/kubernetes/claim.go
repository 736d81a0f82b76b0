package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
)

// claim takes the fields that we have just applied from the managers that we
// take the place of: they no longer share them. It gives the object as it is
// then. Values don't change.
func (s *set) claim(ctx context.Context, o *object, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	for range tries {
		entries, changed, err := diff.Yield(u, s.manager(), s.ours)
		if err != nil || !changed {
			return u, err
		}
		got, err := s.own(ctx, o, u, entries)
		if err == nil {
			return got, nil
		}
		var c *kube.Conflict
		if !errors.As(err, &c) {
			return nil, fmt.Errorf("%w: it is applied, but other managers still share its fields: %w", setplan.ErrUnknown, o.mask(err))
		}
		if u, err = s.get(ctx, o); err != nil || u == nil {
			return nil, fmt.Errorf("%w: it is applied, but can't be read back: %w", setplan.ErrUnknown, err)
		}
	}
	return nil, fmt.Errorf("%w: it is applied, but changes all the time, so that other managers still share its fields", setplan.ErrUnknown)
}

// own writes managed fields to the object as it was seen. To replace the
// resource version is how a patch says which state it is for.
//
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
func (s *set) own(ctx context.Context, o *object, u *unstructured.Unstructured, entries []metav1.ManagedFieldsEntry) (*unstructured.Unstructured, error) {
	body, err := json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": entries},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": u.GetResourceVersion()},
	})
	if err != nil {
		return nil, err
	}
	return s.cluster.Patch(ctx, o.mapping, o.ref.Namespace, o.ref.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: s.manager()})
}
