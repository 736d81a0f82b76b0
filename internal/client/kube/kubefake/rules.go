package kubefake

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// fixed are fields that can't be changed once an object is there, by kind.
//
// Source: the validation of these kinds, pkg/apis/*/validation in Kubernetes.
var fixed = map[string][]string{
	"Deployment":            {"spec.selector"},
	"DaemonSet":             {"spec.selector"},
	"ReplicaSet":            {"spec.selector"},
	"StatefulSet":           {"spec.selector", "spec.serviceName", "spec.volumeClaimTemplates", "spec.podManagementPolicy"},
	"Job":                   {"spec.selector", "spec.template", "spec.completions"},
	"Service":               {"spec.clusterIP"},
	"PersistentVolumeClaim": {"spec.accessModes", "spec.storageClassName", "spec.volumeName", "spec.selector"},
	"Secret":                {"type"},
	"RoleBinding":           {"roleRef"},
	"ClusterRoleBinding":    {"roleRef"},
	"StorageClass":          {"provisioner", "parameters", "reclaimPolicy"},
	"PriorityClass":         {"value"},
}

// immutable refuses changes of fixed fields.
func immutable(k *kind, old, u *unstructured.Unstructured) error {
	if old == nil || k.custom {
		return nil
	}
	paths := fixed[k.gvk.Kind]
	if on, _, _ := unstructured.NestedBool(old.Object, "immutable"); on {
		paths = append([]string{"data", "binaryData", "immutable"}, paths...)
	}
	var errs field.ErrorList
	for _, p := range paths {
		a, had, _ := unstructured.NestedFieldNoCopy(old.Object, strings.Split(p, ".")...)
		b, has, _ := unstructured.NestedFieldNoCopy(u.Object, strings.Split(p, ".")...)
		if !had && !has || equality.Semantic.DeepEqual(a, b) {
			continue
		}
		errs = append(errs, field.Invalid(field.NewPath(p), b, "field is immutable"))
	}
	return invalid(k, u, errs...)
}

func required(path, why string) *field.Error { return field.Required(field.NewPath(path), why) }

func invalid(k *kind, u *unstructured.Unstructured, errs ...*field.Error) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(k.gvk.GroupKind(), u.GetName(), errs)
}

// defaults sets a few of the fields that the server sets by itself, enough for
// tests of what must not show as a difference.
func defaults(k *kind, u *unstructured.Unstructured) {
	unset := func(value any, path ...string) {
		if _, ok, _ := unstructured.NestedFieldNoCopy(u.Object, path...); !ok {
			_ = unstructured.SetNestedField(u.Object, value, path...)
		}
	}
	switch k.gvk.Kind {
	case "Deployment":
		unset(int64(1), "spec", "replicas")
		unset(int64(10), "spec", "revisionHistoryLimit")
		unset(int64(600), "spec", "progressDeadlineSeconds")
		unset("RollingUpdate", "spec", "strategy", "type")
		pods(u)
	case "StatefulSet", "DaemonSet":
		if k.gvk.Kind == "StatefulSet" {
			unset(int64(1), "spec", "replicas")
		}
		unset("RollingUpdate", "spec", "updateStrategy", "type")
		pods(u)
	case "Job":
		unset(int64(1), "spec", "completions")
		unset(int64(1), "spec", "parallelism")
		unset(int64(6), "spec", "backoffLimit")
		pods(u)
	case "Service":
		service(u, unset)
	case "Secret":
		secrets(u)
		unset("Opaque", "type")
	case "Namespace":
		unset([]any{"kubernetes"}, "spec", "finalizers")
		labels := u.GetLabels()
		if labels["kubernetes.io/metadata.name"] != u.GetName() {
			if labels == nil {
				labels = map[string]string{}
			}
			labels["kubernetes.io/metadata.name"] = u.GetName()
			u.SetLabels(labels)
		}
	}
}

func pods(u *unstructured.Unstructured) {
	spec, ok, _ := unstructured.NestedMap(u.Object, "spec", "template", "spec")
	if !ok {
		return
	}
	if u.GetKind() != "Job" && spec["restartPolicy"] == nil {
		spec["restartPolicy"] = "Always"
	}
	for f, v := range map[string]any{"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": int64(30), "securityContext": map[string]any{}} {
		if spec[f] == nil {
			spec[f] = v
		}
	}
	list, _ := spec["containers"].([]any)
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			for f, v := range map[string]any{"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": map[string]any{}} {
				if m[f] == nil {
					m[f] = v
				}
			}
		}
	}
	_ = unstructured.SetNestedMap(u.Object, spec, "spec", "template", "spec")
}

func service(u *unstructured.Unstructured, unset func(any, ...string)) {
	unset("ClusterIP", "spec", "type")
	unset("None", "spec", "sessionAffinity")
	if kind, _, _ := unstructured.NestedString(u.Object, "spec", "type"); kind != "ExternalName" {
		unset("10.96.0.10", "spec", "clusterIP")
	}
	ports, _, _ := unstructured.NestedSlice(u.Object, "spec", "ports")
	for _, p := range ports {
		if m, ok := p.(map[string]any); ok {
			if m["protocol"] == nil {
				m["protocol"] = "TCP"
			}
			if m["targetPort"] == nil {
				m["targetPort"] = m["port"]
			}
		}
	}
	if ports != nil {
		_ = unstructured.SetNestedSlice(u.Object, ports, "spec", "ports")
	}
}

// secrets turns stringData into data, which is all that is ever read.
func secrets(u *unstructured.Unstructured) {
	text, ok, _ := unstructured.NestedStringMap(u.Object, "stringData")
	if !ok {
		return
	}
	for f, v := range text {
		_ = unstructured.SetNestedField(u.Object, base64of([]byte(v)), "data", f)
	}
	delete(u.Object, "stringData")
}
