package diff

import (
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// LastApplied is the annotation in which kubectl keeps a copy of the object,
// secrets included. It is never shown.
const LastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// serverMeta are the fields of metadata that the server keeps.
var serverMeta = []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink",
	"deletionTimestamp", "deletionGracePeriodSeconds"}

// Clean gives an object without what the server keeps and without its status.
// The object itself stays as it is; the parts that are kept are shared.
func Clean(u *unstructured.Unstructured) map[string]any {
	out := maps.Clone(u.Object)
	delete(out, "status")
	meta, ok := out["metadata"].(map[string]any)
	if !ok {
		return out
	}
	meta = maps.Clone(meta)
	for _, f := range serverMeta {
		delete(meta, f)
	}
	if notes, ok := meta["annotations"].(map[string]any); ok && notes[LastApplied] != nil {
		notes = maps.Clone(notes)
		delete(notes, LastApplied)
		meta["annotations"] = notes
		if len(notes) == 0 {
			delete(meta, "annotations")
		}
	}
	out["metadata"] = meta
	return out
}
