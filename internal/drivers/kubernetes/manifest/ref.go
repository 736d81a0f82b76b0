package manifest

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/plan"
)

// Ref names an object whatever version of its group it is read in. Namespace
// is empty for objects of the whole cluster.
type Ref struct {
	Group, Kind, Namespace, Name string
}

// RefOf gives the reference of an object.
func RefOf(u *unstructured.Unstructured) Ref {
	gvk := u.GroupVersionKind()
	return Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// GroupKind gives group and kind.
func (r Ref) GroupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.Kind} }

// Address is the object's address in plans and inventories:
// "Deployment.apps/web/api", "ConfigMap/web/settings", and without a namespace
// "Namespace/web", "ClusterRole.rbac.authorization.k8s.io/reader". The version
// is no part of it: an object stays the same when it is written in another one.
func (r Ref) Address() plan.Address {
	var b strings.Builder
	b.WriteString(r.Kind)
	if r.Group != "" {
		b.WriteString("." + r.Group)
	}
	if r.Namespace != "" {
		b.WriteString("/" + r.Namespace)
	}
	return plan.Address(b.String() + "/" + r.Name)
}

// String gives the address.
func (r Ref) String() string { return string(r.Address()) }

// Compare orders references by group, kind, namespace and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Group, o.Group), cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// ParseAddress reads an address.
func ParseAddress(a plan.Address) (Ref, error) {
	parts := strings.Split(string(a), "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Ref{}, fmt.Errorf("%q is no address of a Kubernetes object: Kind.group/namespace/name was expected", a)
	}
	var r Ref
	r.Kind, r.Group, _ = strings.Cut(parts[0], ".")
	r.Name = parts[len(parts)-1]
	if len(parts) == 3 {
		r.Namespace = parts[1]
	}
	if r.Kind == "" || r.Name == "" || len(parts) == 3 && r.Namespace == "" {
		return Ref{}, fmt.Errorf("%q is no address of a Kubernetes object: Kind.group/namespace/name was expected", a)
	}
	return r, nil
}
