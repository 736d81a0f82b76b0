package kubernetes

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// clusterKinds are the kinds of Kubernetes itself that lie in no namespace, by
// group. The snapshot alone is read without a server to ask.
var clusterKinds = map[string][]string{
	"":                             {"ComponentStatus", "Namespace", "Node", "PersistentVolume"},
	"admissionregistration.k8s.io": {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"authentication.k8s.io":        {"SelfSubjectReview", "TokenReview"},
	"authorization.k8s.io":         {"SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"internal.apiserver.k8s.io":    {"StorageVersion"},
	"networking.k8s.io":            {"IngressClass", "IPAddress", "ServiceCIDR"},
	"node.k8s.io":                  {"RuntimeClass"},
	"policy":                       {"PodSecurityPolicy"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"resource.k8s.io":              {"DeviceClass", "DeviceTaintRule", "ResourceSlice"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
	"storagemigration.k8s.io":      {"StorageVersionMigration"},
}

// builtinGroup tells that a group is one of Kubernetes itself, so that its
// kinds that are not in clusterKinds lie in namespaces.
func builtinGroup(group string) bool {
	switch group {
	case "", "apps", "batch", "autoscaling", "policy", "extensions":
		return true
	}
	return strings.HasSuffix(group, ".k8s.io") && clusterKinds[group] != nil ||
		group == "coordination.k8s.io" || group == "discovery.k8s.io" || group == "events.k8s.io"
}

var crdKind = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

// defined are the kinds that a target's own definitions bring, and whether
// they lie in namespaces.
type defined map[schema.GroupKind]bool

// definitions finds the kinds that come with the same commit.
func definitions(objects []manifest.Object) defined {
	d := defined{}
	for i := range objects {
		u := objects[i].Unstructured
		if u.GroupVersionKind().GroupKind() != crdKind {
			continue
		}
		group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(u.Object, "spec", "scope")
		if kind != "" {
			d[schema.GroupKind{Group: group, Kind: kind}] = scope != "Cluster"
		}
	}
	return d
}

// guess tells, without a server, whether a kind lies in namespaces. Of a kind
// that nobody here knows the object itself is the best hint.
func (d defined) guess(k schema.GroupKind, object manifest.Object, spec *Spec) bool {
	if namespaced, ok := d[k]; ok {
		return namespaced
	}
	for _, kind := range clusterKinds[k.Group] {
		if kind == k.Kind {
			return false
		}
	}
	return builtinGroup(k.Group) || object.GetNamespace() != "" || spec.Namespace != ""
}
