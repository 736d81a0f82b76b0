package kubernetes

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// allocated are fields that the cluster fills in, by kind: in Git they would
// bind the object to this one cluster.
var allocated = map[string][]string{
	"Service":               {"spec.clusterIP", "spec.clusterIPs", "spec.ipFamilies", "spec.ipFamilyPolicy", "spec.healthCheckNodePort"},
	"PersistentVolumeClaim": {"spec.volumeName"},
	"PersistentVolume":      {"spec.claimRef.uid", "spec.claimRef.resourceVersion"},
	"Pod":                   {"spec.nodeName", "spec.serviceAccount"},
	"Namespace":             {"spec.finalizers", "metadata.finalizers"},
	"ServiceAccount":        {"secrets"},
	"Job.batch":             {"spec.selector", "spec.template.metadata.labels"},
}

// notes are the beginnings of annotations and labels that controllers write.
var notes = []string{"deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/storage-provisioner",
	"control-plane.alpha.kubernetes.io/", "autoscaling.alpha.kubernetes.io/", "kubernetes.io/metadata.name", "batch.kubernetes.io/controller-uid",
	"controller-uid", "batch.kubernetes.io/job-name", "job-name"}

// portable is an object as a manifest would ask for it, without what the
// cluster fills in.
func portable(u *unstructured.Unstructured) map[string]any {
	doc := (&unstructured.Unstructured{Object: diff.Clean(u)}).DeepCopy()
	for _, f := range allocated[kindName(manifest.RefOf(u))] {
		unstructured.RemoveNestedField(doc.Object, strings.Split(f, ".")...)
	}
	for _, field := range []string{"annotations", "labels"} {
		m, ok, _ := unstructured.NestedStringMap(doc.Object, "metadata", field)
		if !ok {
			continue
		}
		for k := range m {
			if slices.ContainsFunc(notes, func(p string) bool { return strings.HasPrefix(k, p) }) {
				unstructured.RemoveNestedField(doc.Object, "metadata", field, k)
				delete(m, k)
			}
		}
		if len(m) == 0 {
			unstructured.RemoveNestedField(doc.Object, "metadata", field)
		}
	}
	ports, ok, _ := unstructured.NestedSlice(doc.Object, "spec", "ports")
	if ok && u.GetKind() == "Service" {
		for _, p := range ports {
			if m, ok := p.(map[string]any); ok {
				delete(m, "nodePort")
			}
		}
		_ = unstructured.SetNestedSlice(doc.Object, ports, "spec", "ports")
	}
	if spec, ok := doc.Object["spec"].(map[string]any); ok && len(spec) == 0 {
		delete(doc.Object, "spec")
	}
	return doc.Object
}
