package kubernetes

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

var namespaceKind = corev1.SchemeGroupVersion.WithKind("Namespace")

// ownNamespace adds the target's namespace to what is desired, where the spec
// asks for it and nobody else brought it along. It counts as what the target
// owns from then on.
func (s *set) ownNamespace(ctx context.Context) error {
	ref := namespaceRef(s.spec.Namespace)
	if !s.spec.CreateNamespace || s.spec.Namespace == "" || s.want[ref] != nil {
		return nil
	}
	if !s.inScope(ref) {
		return driver.Permanent(fmt.Errorf("spec.createNamespace: %s lies outside the target's scope", ref))
	}
	m, err := s.cluster.Mapping(ctx, namespaceKind)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(namespaceKind)
	u.SetName(s.spec.Namespace)
	o := &object{ref: ref, mapping: m, send: u, desired: &manifest.Object{Unstructured: u, Source: plan.Source{File: s.in.Path}}}
	if _, ours := s.in.Inventory[o.key()]; !ours {
		live, err := s.get(ctx, o)
		if err != nil {
			return err
		}
		if live != nil && live.GetDeletionTimestamp() == nil {
			return nil
		}
	}
	o.hash = s.hash("desired", s.asked(o))
	s.want[ref], s.order = o, append(s.order, o)
	return nil
}
