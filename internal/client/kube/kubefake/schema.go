package kubefake

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// schemas knows the fields of the built-in kinds.
var schemas = applyconfigurations.NewTypeConverter(scheme.Scheme)

// metadataSchema is how the parts of metadata merge.
//
// Source: io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta in the server's OpenAPI.
const metadataSchema = `{"type": "object", "properties": {
	"name": {"type": "string"}, "generateName": {"type": "string"}, "namespace": {"type": "string"}, "uid": {"type": "string"},
	"resourceVersion": {"type": "string"}, "selfLink": {"type": "string"}, "generation": {"type": "integer", "format": "int64"},
	"creationTimestamp": {"type": "string"}, "deletionTimestamp": {"type": "string"}, "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
	"labels": {"type": "object", "additionalProperties": {"type": "string", "default": ""}},
	"annotations": {"type": "object", "additionalProperties": {"type": "string", "default": ""}},
	"finalizers": {"type": "array", "items": {"type": "string", "default": ""}, "x-kubernetes-list-type": "set"},
	"managedFields": {"type": "array", "items": {"type": "object", "x-kubernetes-map-type": "atomic"}, "x-kubernetes-list-type": "atomic"},
	"ownerReferences": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"], "items": {"type": "object",
		"x-kubernetes-map-type": "atomic", "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "name": {"type": "string"}, "uid": {"type": "string"},
		"controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"}}}}}}`

// customSchema makes a converter of a version of a custom resource definition.
func customSchema(gvk schema.GroupVersionKind, version map[string]any) managedfields.TypeConverter {
	given, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
	if given == nil {
		return managedfields.NewDeducedTypeConverter()
	}
	props, _ := given["properties"].(map[string]any)
	if props == nil {
		props = map[string]any{}
		given["properties"] = props
	}
	props["metadata"] = json.RawMessage(metadataSchema)
	props["apiVersion"], props["kind"] = map[string]any{"type": "string"}, map[string]any{"type": "string"}
	given["x-kubernetes-group-version-kind"] = []any{map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}}
	raw, err := json.Marshal(given)
	if err != nil {
		return managedfields.NewDeducedTypeConverter()
	}
	var s spec.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return managedfields.NewDeducedTypeConverter()
	}
	c, err := managedfields.NewTypeConverter(map[string]*spec.Schema{gvk.Kind: &s}, false)
	if err != nil {
		return managedfields.NewDeducedTypeConverter()
	}
	return c
}

// manager makes the field manager of a kind.
func (k *kind) manager(sub string) (*managedfields.FieldManager, error) {
	v := fieldpath.APIVersion(k.gvk.GroupVersion().String())
	var reset *fieldpath.Set
	switch {
	case sub == "status":
		reset = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"))
	case k.status:
		reset = fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	default:
		reset = fieldpath.NewSet()
	}
	return managedfields.NewDefaultCRDFieldManager(k.typed, versions{}, versions{}, versions{}, k.gvk, k.gvk.GroupVersion(), sub,
		map[fieldpath.APIVersion]fieldpath.Filter{v: fieldpath.NewExcludeSetFilter(reset)})
}

// versions converts between the versions of a kind by renaming them, as custom
// resources without a conversion webhook do.
type versions struct{}

// Convert is never asked for.
func (versions) Convert(_, _, _ any) error { return nil }

// ConvertToVersion gives the object in another version.
func (versions) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	u := in.(*unstructured.Unstructured)
	to, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{u.GroupVersionKind()})
	if !ok {
		if g, isGV := gv.(schema.GroupVersion); isGV {
			to, ok = g.WithKind(u.GetKind()), true
		}
	}
	if !ok || to == u.GroupVersionKind() {
		return in, nil
	}
	out := u.DeepCopy()
	out.SetGroupVersionKind(to)
	return out, nil
}

// ConvertFieldLabel keeps labels as they are.
func (versions) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// Default has nothing to do: defaults come later.
func (versions) Default(runtime.Object) {}

// New makes an empty object.
func (versions) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	return u, nil
}
