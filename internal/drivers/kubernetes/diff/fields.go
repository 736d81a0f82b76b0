// Package diff compares two states of a Kubernetes object, field by field, and
// shows what matters of them: the fields that a field manager owns and those
// that an apply would change.
package diff

import (
	"bytes"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Owned gives the fields that a manager owns by server-side apply. An object
// that it does not manage gives an empty set.
func Owned(u *unstructured.Unstructured, manager string) (*fieldpath.Set, error) {
	for _, e := range u.GetManagedFields() {
		if applied(e, manager) {
			return Fields(e)
		}
	}
	return fieldpath.NewSet(), nil
}

// Fields reads the fields of one entry.
func Fields(e metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := fieldpath.NewSet()
	if e.FieldsV1 == nil {
		return set, nil
	}
	if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
		return nil, fmt.Errorf("the managed fields of %s can't be read: %w", e.Manager, err)
	}
	return set, nil
}

// SameOwner tells that two states of an object give a manager the same fields
// in the same version.
func SameOwner(a, b *unstructured.Unstructured, manager string) (bool, error) {
	if version(a, manager) != version(b, manager) {
		return false, nil
	}
	x, err := Owned(a, manager)
	y, err2 := Owned(b, manager)
	if err := errors.Join(err, err2); err != nil {
		return false, err
	}
	return x.Equals(y), nil
}

func version(u *unstructured.Unstructured, manager string) string {
	for _, e := range u.GetManagedFields() {
		if applied(e, manager) {
			return e.APIVersion
		}
	}
	return ""
}
