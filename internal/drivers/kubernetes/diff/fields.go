// Package diff compares two states of a Kubernetes object, field by field, and
// shows what matters of them: the fields that a field manager owns and those
// that an apply would change.
package diff

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

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
// in the same version. Fields that are asked for as empty don't count: the
// server drops them when it makes an object, and finds them the next time.
func SameOwner(a, b, asked *unstructured.Unstructured, manager string) (bool, error) {
	if version(a, manager) != version(b, manager) {
		return false, nil
	}
	x, err := Owned(a, manager)
	y, err2 := Owned(b, manager)
	if err := errors.Join(err, err2); err != nil {
		return false, err
	}
	if x.Equals(y) {
		return true, nil
	}
	same := true
	x.Difference(y).Union(y.Difference(x)).Iterate(func(p fieldpath.Path) { same = same && hollow(asked.Object, p) })
	return same, nil
}

// hollow tells that an object has nothing at a path, or something empty.
func hollow(v any, p fieldpath.Path) bool {
	for _, e := range p {
		switch x := v.(type) {
		case map[string]any:
			if e.FieldName == nil {
				return false
			}
			v = x[*e.FieldName]
		case []any:
			i := slices.IndexFunc(x, func(item any) bool { return isItem(item, e) })
			if i < 0 {
				return false
			}
			v = x[i]
		default:
			return v == nil
		}
	}
	switch x := v.(type) {
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return v == nil
}

// isItem tells that a path element names an item of a list by its key.
func isItem(item any, e fieldpath.PathElement) bool {
	if e.Key == nil {
		return false
	}
	var names []string
	for _, f := range *e.Key {
		names = append(names, f.Name)
	}
	k, ok := keyed(item, names)
	return ok && k.Equals(e)
}

func version(u *unstructured.Unstructured, manager string) string {
	for _, e := range u.GetManagedFields() {
		if applied(e, manager) {
			return e.APIVersion
		}
	}
	return ""
}
