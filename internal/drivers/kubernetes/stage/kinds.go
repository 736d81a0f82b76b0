package stage

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The ranks of kinds: what has a lower one is written earlier and deleted
// later. Objects of one rank don't wait for each other.
const (
	rankNamespace = iota
	rankDefinition
	rankClass
	rankLimit
	rankConfig
	rankVolume
	rankRole
	rankBinding
	rankService
	rankWorkload
	rankOther
	rankExtension
	rankCustom
)

const (
	apps      = "apps"
	rbac      = "rbac.authorization.k8s.io"
	admission = "admissionregistration.k8s.io"
)

var ranks = map[schema.GroupKind]int{
	{Kind: "Namespace"}: rankNamespace,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: rankDefinition,

	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:                         rankClass,
	{Group: "node.k8s.io", Kind: "RuntimeClass"}:                                rankClass,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                             rankClass,
	{Group: "storage.k8s.io", Kind: "CSIDriver"}:                                rankClass,
	{Group: "storage.k8s.io", Kind: "VolumeAttributesClass"}:                    rankClass,
	{Group: "networking.k8s.io", Kind: "IngressClass"}:                          rankClass,
	{Group: "resource.k8s.io", Kind: "DeviceClass"}:                             rankClass,
	{Group: "flowcontrol.apiserver.k8s.io", Kind: "FlowSchema"}:                 rankClass,
	{Group: "flowcontrol.apiserver.k8s.io", Kind: "PriorityLevelConfiguration"}: rankClass,

	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}: rankLimit,
	{Kind: "ResourceQuota"}:                             rankLimit,
	{Kind: "LimitRange"}:                                rankLimit,
	{Group: "policy", Kind: "PodDisruptionBudget"}:      rankLimit,

	{Kind: "ServiceAccount"}: rankConfig,
	{Kind: "Secret"}:         rankConfig,
	{Kind: "ConfigMap"}:      rankConfig,

	{Kind: "PersistentVolume"}:      rankVolume,
	{Kind: "PersistentVolumeClaim"}: rankVolume,

	{Group: rbac, Kind: "ClusterRole"}:        rankRole,
	{Group: rbac, Kind: "Role"}:               rankRole,
	{Group: rbac, Kind: "ClusterRoleBinding"}: rankBinding,
	{Group: rbac, Kind: "RoleBinding"}:        rankBinding,

	{Kind: "Service"}:   rankService,
	{Kind: "Endpoints"}: rankService,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}: rankService,

	{Kind: "Pod"}:                      rankWorkload,
	{Kind: "ReplicationController"}:    rankWorkload,
	{Group: apps, Kind: "ReplicaSet"}:  rankWorkload,
	{Group: apps, Kind: "Deployment"}:  rankWorkload,
	{Group: apps, Kind: "StatefulSet"}: rankWorkload,
	{Group: apps, Kind: "DaemonSet"}:   rankWorkload,
	{Group: "batch", Kind: "Job"}:      rankWorkload,
	{Group: "batch", Kind: "CronJob"}:  rankWorkload,

	{Group: "apiregistration.k8s.io", Kind: "APIService"}:        rankExtension,
	{Group: admission, Kind: "MutatingWebhookConfiguration"}:     rankExtension,
	{Group: admission, Kind: "ValidatingWebhookConfiguration"}:   rankExtension,
	{Group: admission, Kind: "ValidatingAdmissionPolicy"}:        rankExtension,
	{Group: admission, Kind: "ValidatingAdmissionPolicyBinding"}: rankExtension,
	{Group: admission, Kind: "MutatingAdmissionPolicy"}:          rankExtension,
	{Group: admission, Kind: "MutatingAdmissionPolicyBinding"}:   rankExtension,
}

// builtin are the API groups of Kubernetes itself. What lies in another one
// was brought by a definition or an aggregated server.
var builtin = map[string]bool{
	"": true, apps: true, "batch": true, "autoscaling": true, "policy": true, "extensions": true, rbac: true, admission: true,
	"apiextensions.k8s.io": true, "apiregistration.k8s.io": true, "authentication.k8s.io": true, "authorization.k8s.io": true,
	"certificates.k8s.io": true, "coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "networking.k8s.io": true, "node.k8s.io": true,
	"resource.k8s.io": true, "scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

func rankOf(k schema.GroupKind) int {
	if r, ok := ranks[k]; ok {
		return r
	}
	if !builtin[k.Group] {
		return rankCustom
	}
	return rankOther
}

// IsNamespace and IsDefinition tell the kinds that others need before they
// can be written.
func IsNamespace(k schema.GroupKind) bool { return rankOf(k) == rankNamespace }

// IsDefinition tells custom resource definitions.
func IsDefinition(k schema.GroupKind) bool { return rankOf(k) == rankDefinition }

// IsCustom tells kinds that are not Kubernetes' own.
func IsCustom(k schema.GroupKind) bool { return rankOf(k) == rankCustom }

// Propagation gives how an object of the kind is deleted where nothing was
// asked for. What owns pods goes in the foreground, so that it counts as gone
// only when its pods are: until then they may use what is deleted next. All
// else goes as the API server likes it best.
func Propagation(k schema.GroupKind) metav1.DeletionPropagation {
	if rankOf(k) == rankWorkload {
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

// Ends tells kinds whose objects run to an end.
func Ends(k schema.GroupKind) bool {
	switch k {
	case schema.GroupKind{Group: "batch", Kind: "Job"}, schema.GroupKind{Kind: "Pod"}, schema.GroupKind{Group: "argoproj.io", Kind: "Workflow"}:
		return true
	}
	return false
}

// Holds tells kinds whose deletion takes more along than the object: others'
// objects, or data.
func Holds(k schema.GroupKind) bool {
	switch rankOf(k) {
	case rankNamespace, rankDefinition, rankVolume:
		return true
	}
	return false
}
