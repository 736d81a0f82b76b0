// Package handover has what the ways over from other tools have in common:
// their objects, read field by field so that nothing is dropped unseen; the
// configuration that is written; what could not be carried over; and the steps
// of the handover.
package handover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/plan"
)

// Object is one object of the other tool.
type Object struct {
	*unstructured.Unstructured
	*Fields
	Source plan.Source // the file; empty for one that was read from a cluster
}

// NewObject wraps an object.
func NewObject(u *unstructured.Unstructured, from plan.Source) *Object {
	o := &Object{Unstructured: u, Fields: Read(u.Object), Source: from}
	// What every object has and what the tool's controllers say of it.
	o.Ignore("apiVersion", "kind", "status")
	o.At("metadata").Ignore("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
		"finalizers", "ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName")
	return o
}

// Live tells whether the object was read from a cluster.
func (o *Object) Live() bool { return o.GetUID() != "" }

// Group is the API group, without the version.
func (o *Object) Group() string { return o.GroupVersionKind().Group }

// Is tells whether the object is of a group and kind.
func (o *Object) Is(group, kind string) bool { return o.GetKind() == kind && o.Group() == group }

// String names the object: Kustomization flux-system/apps.
func (o *Object) String() string { return Name(o.GetKind(), o.GetNamespace(), o.GetName()) }

// Name names an object.
func Name(kind, namespace, name string) string {
	if namespace == "" {
		return kind + " " + name
	}
	return kind + " " + namespace + "/" + name
}

// Key is namespace and name: flux-system/apps.
func (o *Object) Key() string { return o.GetNamespace() + "/" + o.GetName() }

// Finalizers gives those that the object has, and those that would be left
// without the ones that a tool set.
func (o *Object) Finalizers(tool func(string) bool) (theirs, rest []string) {
	for _, f := range o.GetFinalizers() {
		if tool(f) {
			theirs = append(theirs, f)
		} else {
			rest = append(rest, f)
		}
	}
	return theirs, rest
}

// Set is a number of objects, by kind.
type Set struct{ All []*Object }

// NewSet puts objects into an order that does not depend on where they were
// read. An object that is there several times is taken once.
func NewSet(all []*Object) *Set {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *Object) int {
		return cmp.Or(cmp.Compare(a.Group(), b.Group()), cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.Key(), b.Key()))
	})
	all = slices.CompactFunc(all, func(a, b *Object) bool {
		return a.Group() == b.Group() && a.GetKind() == b.GetKind() && a.Key() == b.Key()
	})
	return &Set{All: all}
}

// Of gives the objects of a group and kind.
func (s *Set) Of(group, kind string) []*Object {
	var out []*Object
	for _, o := range s.All {
		if o.Is(group, kind) {
			out = append(out, o)
		}
	}
	return out
}

// Find gives one object, or nil.
func (s *Set) Find(group, kind, namespace, name string) *Object {
	for _, o := range s.All {
		if o.Is(group, kind) && o.GetNamespace() == namespace && o.GetName() == name {
			return o
		}
	}
	return nil
}

// Leftover notes what was not asked for of the objects that a tool reads, once
// everything was converted.
func (s *Set) Leftover(r *Result, mine func(*Object) bool) {
	for _, o := range s.All {
		if !mine(o) {
			continue
		}
		for _, p := range o.Wrong() {
			field, why, _ := strings.Cut(p, ": ")
			r.Lost(o, field, why, "mend the object, or set the target by hand")
		}
		for _, p := range o.Unread() {
			r.Lost(o, p, "trueup's import does not know this field", "look at what it does there, and set the target by hand")
		}
	}
}

// Where says where an object was read.
func (o *Object) Where() string {
	if o.Source.File == "" {
		return "the cluster"
	}
	if o.Source.Line == 0 {
		return o.Source.File
	}
	return fmt.Sprintf("%s:%d", o.Source.File, o.Source.Line)
}
