package diff

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Yield gives the managed fields of an object in which some other managers no
// longer share the fields that a manager owns by its applies. What they own
// alone stays theirs. Changed tells whether anything is different.
//
// A field that two managers own stays when one of them gives it up; so one that
// leaves Git would stay for ever in an object that another tool once applied.
func Yield(u *unstructured.Unstructured, manager string, others func(name string) bool) (out []metav1.ManagedFieldsEntry, changed bool, err error) {
	entries := u.GetManagedFields()
	i := slices.IndexFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return applied(e, manager) })
	if i < 0 {
		return entries, false, nil
	}
	ours, err := Fields(entries[i])
	if err != nil {
		return nil, false, err
	}
	for j, e := range entries {
		if j == i || e.Subresource != "" || e.APIVersion != entries[i].APIVersion || !others(e.Manager) {
			out = append(out, e)
			continue
		}
		theirs, err := Fields(e)
		if err != nil {
			return nil, false, err
		}
		if theirs.Intersection(ours).Empty() {
			out = append(out, e)
			continue
		}
		changed = true
		rest := theirs.Difference(ours)
		if rest.Empty() {
			continue
		}
		raw, err := rest.ToJSON()
		if err != nil {
			return nil, false, fmt.Errorf("the managed fields of %s can't be written: %w", e.Manager, err)
		}
		e.FieldsV1 = metav1.NewFieldsV1(string(raw))
		out = append(out, e)
	}
	return out, changed, nil
}

func applied(e metav1.ManagedFieldsEntry, manager string) bool {
	return e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
}
