package kubefake

import (
	"encoding/json"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// changed gives an object as a request wants it to be.
func (s *Server) changed(k *kind, r Request, old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	switch {
	case r.Verb == "update":
		return k.decode(r)
	case r.Verb == "apply":
		return s.applied(k, r, old)
	}
	live := k.show(old, false)
	was, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	var now []byte
	switch kind, _, _ := strings.Cut(r.Patch, ";"); kind {
	case "application/merge-patch+json":
		now, err = jsonpatch.MergePatch(was, r.Body)
	case "application/json-patch+json":
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(r.Body); err == nil {
			now, err = p.Apply(was)
		}
	case "application/strategic-merge-patch+json":
		now, err = strategic(k, was, r.Body)
	default:
		return nil, Status(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml")
	}
	if err != nil {
		return nil, Status(422, "Invalid", "the server rejected our request due to an error in our request: "+err.Error())
	}
	r.Body = now
	return k.decode(r)
}

func strategic(k *kind, was, patch []byte) ([]byte, error) {
	if k.custom {
		return nil, Status(415, "UnsupportedMediaType", "strategic merge patches are not supported for custom resources")
	}
	o, err := scheme.Scheme.New(k.gvk)
	if err != nil {
		return nil, err
	}
	return strategicpatch.StrategicMergePatch(was, patch, o)
}

// applied is a server-side apply, up to the ownership of what changed.
func (s *Server) applied(k *kind, r Request, old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if r.Manager == "" {
		return nil, Status(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
	}
	u, err := k.decode(r)
	if err != nil {
		return nil, err
	}
	if u.GetManagedFields() != nil {
		return nil, apierrors.NewBadRequest("metadata.managedFields must be nil")
	}
	u.SetName(r.Name)
	if old == nil && u.GetUID() != "" {
		return nil, moved(k, u, "uid mismatch: the provided object specified uid "+string(u.GetUID())+", and no existing object was found")
	}
	m, err := k.manager(r.Subresource)
	if err != nil {
		return nil, err
	}
	live := &unstructured.Unstructured{Object: map[string]any{}}
	live.SetGroupVersionKind(k.gvk)
	live.SetName(r.Name)
	if k.namespaced {
		live.SetNamespace(r.Namespace)
	}
	if old != nil {
		live = &unstructured.Unstructured{Object: k.show(old.DeepCopy(), false)}
	}
	got, err := m.Apply(live, u, r.Manager, r.Force)
	if err != nil {
		return nil, notTyped(err)
	}
	return got.(*unstructured.Unstructured), nil
}

// notTyped is how the server answers what does not fit the schema.
func notTyped(err error) error {
	if _, ok := err.(apierrors.APIStatus); ok {
		return err
	}
	return Status(500, "", err.Error())
}

// own records who owns the fields that a request changed. An apply did that.
func own(k *kind, r Request, old, u *unstructured.Unstructured) error {
	if r.Verb == "apply" {
		return nil
	}
	m, err := k.manager(r.Subresource)
	if err != nil {
		return err
	}
	live := &unstructured.Unstructured{Object: map[string]any{}}
	live.SetGroupVersionKind(k.gvk)
	if old != nil {
		live = &unstructured.Unstructured{Object: k.show(old.DeepCopy(), false)}
	}
	got, err := m.Update(live, u.DeepCopy(), r.Manager)
	if err != nil {
		return notTyped(err)
	}
	u.SetManagedFields(got.(*unstructured.Unstructured).GetManagedFields())
	return nil
}
