package kubefake

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	namespaceGroup = schema.GroupResource{Resource: "namespaces"}
	crdGroup       = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}
)

const contentsFinalizer = "kubefake/contents" // of namespaces and definitions that still hold something

func deleteOptions(h *http.Request, r *Request) (metav1.DeleteOptions, error) {
	var o metav1.DeleteOptions
	if len(r.Body) > 0 {
		if err := json.Unmarshal(r.Body, &o); err != nil {
			return o, apierrors.NewBadRequest(err.Error())
		}
	}
	if p := h.URL.Query().Get("propagationPolicy"); p != "" && o.PropagationPolicy == nil {
		policy := metav1.DeletionPropagation(p)
		o.PropagationPolicy = &policy
	}
	r.DryRun = r.DryRun || slices.Contains(o.DryRun, metav1.DryRunAll)
	return o, nil
}

func (s *Server) remove(h *http.Request, k *kind, r Request) (int, any, error) {
	o, err := deleteOptions(h, &r)
	if err != nil {
		return 0, nil, err
	}
	u := s.store.find(k.group(), r.Namespace, r.Name)
	if u == nil {
		return 0, nil, apierrors.NewNotFound(k.group(), r.Name)
	}
	if p := o.Preconditions; p != nil {
		if p.UID != nil && *p.UID != u.GetUID() {
			return 0, nil, moved(k, u, "Precondition failed: UID in precondition: "+string(*p.UID)+", UID in object meta: "+string(u.GetUID()))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != u.GetResourceVersion() {
			return 0, nil, moved(k, u, "Precondition failed: ResourceVersion in precondition: "+*p.ResourceVersion+", ResourceVersion in object meta: "+u.GetResourceVersion())
		}
	}
	for _, f := range s.faults.admit.all() {
		if err := f(r, u.DeepCopy()); err != nil {
			return 0, nil, err
		}
	}
	if !r.DryRun {
		s.end(k.group(), u, o.PropagationPolicy)
		s.sweep()
	}
	if left := s.store.find(k.group(), r.Namespace, r.Name); left != nil && !r.DryRun {
		return http.StatusOK, k.show(left, r.Meta), nil
	}
	return http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: r.Name, Group: k.gvk.Group, Kind: k.plural, UID: u.GetUID()}}, nil
}

func (s *Server) removeAll(h *http.Request, k *kind, r Request) (int, any, error) {
	o, err := deleteOptions(h, &r)
	if err != nil {
		return 0, nil, err
	}
	sel, err := selectorOf(h.URL.Query(), r.Namespace)
	if err != nil {
		return 0, nil, err
	}
	for _, u := range s.store.all(k.group(), r.Namespace) {
		if sel.fits(u) && !r.DryRun {
			s.end(k.group(), u, o.PropagationPolicy)
		}
	}
	s.sweep()
	return http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}, nil
}

// end begins an object's deletion: it gets a deletion timestamp, and is gone
// once its finalizers are.
func (s *Server) end(g schema.GroupResource, u *unstructured.Unstructured, p *metav1.DeletionPropagation) {
	next := u.DeepCopy()
	finalizers := next.GetFinalizers()
	add := func(f string) {
		if !slices.Contains(finalizers, f) {
			finalizers = append(finalizers, f)
		}
	}
	switch {
	case p == nil:
	case *p == metav1.DeletePropagationForeground:
		add(metav1.FinalizerDeleteDependents)
	case *p == metav1.DeletePropagationOrphan:
		s.orphan(u)
	}
	if g == namespaceGroup || g == crdGroup {
		add(contentsFinalizer)
	}
	next.SetFinalizers(finalizers)
	if next.GetDeletionTimestamp() == nil {
		next.SetDeletionTimestamp(&metav1.Time{Time: time.Now().UTC().Truncate(time.Second)})
		zero := int64(0)
		next.SetDeletionGracePeriodSeconds(&zero)
		if gen := next.GetGeneration(); gen > 0 {
			next.SetGeneration(gen + 1)
		}
	}
	if g == namespaceGroup {
		_ = unstructured.SetNestedField(next.Object, "Terminating", "status", "phase")
	}
	if !same(u, next) {
		s.store.put(g, next)
	}
}

// orphan takes an owner off its dependents.
func (s *Server) orphan(owner *unstructured.Unstructured) {
	s.each(func(g schema.GroupResource, u *unstructured.Unstructured) {
		refs := u.GetOwnerReferences()
		kept := slices.DeleteFunc(slices.Clone(refs), func(r metav1.OwnerReference) bool { return r.UID == owner.GetUID() })
		if len(kept) < len(refs) {
			next := u.DeepCopy()
			next.SetOwnerReferences(kept)
			s.store.put(g, next)
		}
	})
}

func (s *Server) each(f func(schema.GroupResource, *unstructured.Unstructured)) {
	for g := range s.store.objects {
		for _, u := range s.store.all(g, "") {
			f(g, u)
		}
	}
}

// sweep is the garbage collector and the namespace controller: it runs until
// nothing is left to do.
func (s *Server) sweep() {
	for before := int64(-1); before != s.store.version; {
		before = s.store.version
		uids := map[string]bool{}
		s.each(func(_ schema.GroupResource, u *unstructured.Unstructured) { uids[string(u.GetUID())] = true })
		s.each(func(g schema.GroupResource, u *unstructured.Unstructured) {
			if u.GetDeletionTimestamp() != nil {
				s.finish(g, u)
			} else if orphaned(u, uids) {
				s.end(g, u, nil)
			}
		})
	}
}

// orphaned tells whether all owners of an object are gone.
func orphaned(u *unstructured.Unstructured, uids map[string]bool) bool {
	refs := u.GetOwnerReferences()
	for _, r := range refs {
		if uids[string(r.UID)] {
			return false
		}
	}
	return len(refs) > 0
}

// finish takes an object that ends one step further.
func (s *Server) finish(g schema.GroupResource, u *unstructured.Unstructured) {
	finalizers := u.GetFinalizers()
	if len(finalizers) == 0 {
		s.store.drop(g, u)
		if g == crdGroup {
			s.kinds.undefine(u.GetName())
		}
		return
	}
	without := func(f string) {
		next := u.DeepCopy()
		next.SetFinalizers(slices.DeleteFunc(slices.Clone(finalizers), func(x string) bool { return x == f }))
		s.store.put(g, next)
	}
	switch {
	case slices.Contains(finalizers, contentsFinalizer):
		if s.empty(g, u) {
			without(contentsFinalizer)
		}
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		if s.childless(u) {
			without(metav1.FinalizerDeleteDependents)
		}
	}
}

// empty ends the contents of a namespace or a definition, and tells whether
// they are gone.
func (s *Server) empty(g schema.GroupResource, u *unstructured.Unstructured) bool {
	empty := true
	of := schema.GroupResource{}
	if g == crdGroup {
		of.Group, _, _ = unstructured.NestedString(u.Object, "spec", "group")
		of.Resource, _, _ = unstructured.NestedString(u.Object, "spec", "names", "plural")
	}
	s.each(func(h schema.GroupResource, x *unstructured.Unstructured) {
		if g == namespaceGroup && x.GetNamespace() == u.GetName() || g == crdGroup && h == of {
			empty = false
			s.end(h, x, nil)
		}
	})
	return empty
}

// childless ends the dependents of an object, and tells whether they are gone.
func (s *Server) childless(owner *unstructured.Unstructured) bool {
	none := true
	s.each(func(g schema.GroupResource, u *unstructured.Unstructured) {
		for _, r := range u.GetOwnerReferences() {
			if r.UID == owner.GetUID() {
				none = false
				s.end(g, u, nil)
			}
		}
	})
	return none
}
