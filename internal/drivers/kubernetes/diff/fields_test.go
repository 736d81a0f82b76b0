package diff_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
)

// TestEmptyFieldsDoNotCountForOwnership: the server drops an empty mapping of a
// new object, and owns it from the second apply on.
func TestEmptyFieldsDoNotCountForOwnership(t *testing.T) {
	owning := func(fields string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		entry := metav1.ManagedFieldsEntry{Manager: "trueup", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsV1: metav1.NewFieldsV1(fields)}
		u.SetManagedFields([]metav1.ManagedFieldsEntry{entry})
		return u
	}
	asked := &unstructured.Unstructured{}
	body := "metadata: {annotations: {}, labels: {a: b}}\nspec: {containers: [{name: main, env: [], image: x}], none: null}\n"
	if err := yaml.Unmarshal([]byte(body), &asked.Object); err != nil {
		t.Fatal(err)
	}
	before := owning(`{"f:metadata":{"f:labels":{"f:a":{}}}}`)
	for fields, same := range map[string]bool{
		`{"f:metadata":{"f:labels":{"f:a":{}},"f:annotations":{}}}`:                                                    true,
		`{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:env":{}}}}}`:      true,
		`{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:none":{}}}`:                                                true,
		`{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:image":{}}}}}`:    false,
		`{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"sidecar\"}":{"f:image":{}}}}}`: false,
		`{"f:metadata":{}}`: false,
	} {
		got, err := diff.SameOwner(before, owning(fields), asked, "trueup")
		if err != nil || got != same {
			t.Errorf("%s: %t, %v", fields, got, err)
		}
	}
}
