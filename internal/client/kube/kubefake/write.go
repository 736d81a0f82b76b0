package kubefake

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// decode reads an object of a request, and checks it against the path.
func (k *kind) decode(r Request) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON(r.Body)
	if err == nil {
		err = u.UnmarshalJSON(raw)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest("error decoding the body: " + err.Error())
	}
	if u.GroupVersionKind() != k.gvk {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", u.GroupVersionKind(), k.gvk))
	}
	if r.Name != "" && u.GetName() != "" && u.GetName() != r.Name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", u.GetName(), r.Name))
	}
	if k.namespaced && u.GetNamespace() != "" && u.GetNamespace() != r.Namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if k.namespaced {
		u.SetNamespace(r.Namespace)
	} else {
		u.SetNamespace("")
	}
	return u, nil
}

func (s *Server) create(k *kind, r Request) (int, any, error) {
	u, err := k.decode(r)
	if err != nil {
		return 0, nil, err
	}
	if u.GetName() == "" && u.GetGenerateName() != "" {
		u.SetName(u.GetGenerateName() + newUID()[:5])
	}
	if u.GetName() == "" {
		return 0, nil, invalid(k, u, required("metadata.name", "name or generateName is required"))
	}
	if u.GetResourceVersion() != "" {
		return 0, nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	if s.store.find(k.group(), u.GetNamespace(), u.GetName()) != nil {
		return 0, nil, apierrors.NewAlreadyExists(k.group(), u.GetName())
	}
	r.Name = u.GetName()
	got, err := s.write(k, r, nil, u)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, k.show(got, r.Meta), nil
}

// change is an update, a patch or an apply.
func (s *Server) change(k *kind, r Request) (int, any, error) {
	old := s.store.find(k.group(), r.Namespace, r.Name)
	if old == nil && (r.Verb != "apply" || r.Subresource != "") {
		return 0, nil, apierrors.NewNotFound(k.group(), r.Name)
	}
	u, err := s.changed(k, r, old)
	if err != nil {
		return 0, nil, err
	}
	code := http.StatusOK
	if old == nil {
		code = http.StatusCreated
	}
	got, err := s.write(k, r, old, u)
	if err != nil {
		return 0, nil, err
	}
	return code, k.show(got, r.Meta), nil
}

// write goes the way that all writes go: admission, defaults, what may not
// change, metadata, ownership of fields; and then the store, but for dry runs.
func (s *Server) write(k *kind, r Request, old, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if err := s.room(k, u, old); err != nil {
		return nil, err
	}
	if old != nil && u.GetResourceVersion() != "" && u.GetResourceVersion() != old.GetResourceVersion() {
		return nil, moved(k, u, "the object has been modified; please apply your changes to the latest version and try again")
	}
	if uid := u.GetUID(); uid != "" && (old == nil || old.GetUID() != uid) {
		return nil, moved(k, u, fmt.Sprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, uidOf(old)))
	}
	s.subresource(k, r, old, u)
	defaults(k, u)
	for _, f := range s.faults.admit.all() {
		if err := f(r, u); err != nil {
			return nil, err
		}
	}
	if err := immutable(k, old, u); err != nil {
		return nil, err
	}
	metadata(k, old, u)
	if err := own(k, r, old, u); err != nil {
		return nil, err
	}
	if old != nil && same(old, u) {
		return old, nil
	}
	if r.DryRun {
		return u, nil
	}
	s.commit(k, u)
	if now := s.store.find(k.group(), u.GetNamespace(), u.GetName()); now != nil {
		u = now
	}
	return u, nil
}

// room refuses objects in namespaces that are not there or that end.
func (s *Server) room(k *kind, u, old *unstructured.Unstructured) error {
	if !k.namespaced || old != nil {
		return nil
	}
	ns := s.store.find(namespaceGroup, "", u.GetNamespace())
	if ns == nil {
		return apierrors.NewNotFound(namespaceGroup, u.GetNamespace())
	}
	if ns.GetDeletionTimestamp() == nil {
		return nil
	}
	err := apierrors.NewForbidden(k.group(), u.GetName(), fmt.Errorf("unable to create new content in namespace %s because it is being terminated", u.GetNamespace()))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "NamespaceTerminating", Message: "namespace " + u.GetNamespace() + " is being terminated", Field: "metadata.namespace"}}
	return err
}

// subresource keeps what a request may not change: status by the main
// resource, everything else by the status subresource.
func (s *Server) subresource(k *kind, r Request, old, u *unstructured.Unstructured) {
	switch {
	case r.Subresource == "status":
		for f, v := range old.Object {
			if f != "status" && f != "metadata" {
				u.Object[f] = v
			}
		}
	case k.status && old != nil && old.Object["status"] != nil:
		u.Object["status"] = old.Object["status"]
	case k.status:
		delete(u.Object, "status")
	}
}

// metadata sets what the server alone says of an object.
func metadata(k *kind, old, u *unstructured.Unstructured) {
	if old == nil {
		u.SetUID(types.UID(newUID()))
		u.SetCreationTimestamp(metav1.Time{Time: time.Now().UTC().Truncate(time.Second)})
		u.SetResourceVersion("")
		u.SetDeletionTimestamp(nil)
		if k.generation {
			u.SetGeneration(1)
		}
		return
	}
	u.SetUID(old.GetUID())
	u.SetCreationTimestamp(old.GetCreationTimestamp())
	u.SetDeletionTimestamp(old.GetDeletionTimestamp())
	u.SetResourceVersion(old.GetResourceVersion())
	if gen := old.GetGeneration(); gen > 0 {
		u.SetGeneration(gen)
	}
	if k.generation && asks(k, old, u) {
		u.SetGeneration(old.GetGeneration() + 1)
	}
}

// asks tells whether what is desired changed. A Deployment counts its
// annotations as well.
func asks(k *kind, old, u *unstructured.Unstructured) bool {
	if k.plural == "deployments" && !equality.Semantic.DeepEqual(old.GetAnnotations(), u.GetAnnotations()) {
		return true
	}
	return !equality.Semantic.DeepEqual(content(old), content(u))
}

func content(u *unstructured.Unstructured) map[string]any {
	out := map[string]any{}
	for f, v := range u.Object {
		if f != "metadata" && f != "status" && f != "apiVersion" {
			out[f] = v
		}
	}
	return out
}

// same tells whether a write changes nothing.
func same(a, b *unstructured.Unstructured) bool {
	return a.GetAPIVersion() == b.GetAPIVersion() && equality.Semantic.DeepEqual(a.Object, b.Object)
}

// commit stores an object and lets the controllers have it.
func (s *Server) commit(k *kind, u *unstructured.Unstructured) {
	s.store.put(k.group(), u)
	if u.GetDeletionTimestamp() != nil {
		s.sweep()
		return
	}
	s.settled(k, u)
	if u = s.store.find(k.group(), u.GetNamespace(), u.GetName()); k.group() == crdGroup && established(u) {
		s.kinds.define(u)
	}
}

// settled lets the controllers set an object's status.
func (s *Server) settled(k *kind, u *unstructured.Unstructured) {
	if s.faults.settle == nil || !k.status {
		return
	}
	next := u.DeepCopy()
	s.faults.settle(next)
	if equality.Semantic.DeepEqual(next.Object["status"], u.Object["status"]) {
		return
	}
	r := Request{Verb: "update", Subresource: "status", Manager: "kube-controller-manager"}
	status := u.DeepCopy()
	status.Object["status"] = next.Object["status"]
	if err := own(k, r, u, status); err == nil {
		s.store.put(k.group(), status)
	}
}

func uidOf(u *unstructured.Unstructured) types.UID {
	if u == nil {
		return ""
	}
	return u.GetUID()
}

func moved(k *kind, u *unstructured.Unstructured, why string) error {
	return apierrors.NewConflict(k.group(), u.GetName(), errors.New(why))
}
