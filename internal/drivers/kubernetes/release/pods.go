package release

import (
	"context"
	"fmt"
	"strings"

	helmkube "helm.sh/helm/v4/pkg/kube"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var podKind = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}

// maxReasons bounds how many pods speak.
const maxReasons = 3

// pods tells why the pods of hooks and workloads are not as they should be.
// What can't be read is left out: the error stands without it.
func (c *Client) pods(ctx context.Context, list helmkube.ResourceList) []string {
	m, err := c.cluster.Mapping(ctx, podKind)
	if err != nil {
		return nil
	}
	var out []string
	for _, info := range list {
		selector := selects(info.Object.GetObjectKind().GroupVersionKind().Kind, info.Name, info.Object)
		if selector.LabelSelector == "" && selector.FieldSelector == "" {
			continue
		}
		items, _, err := c.cluster.List(ctx, m, info.Namespace, selector)
		if err != nil {
			continue
		}
		for i := range items {
			if why := trouble(&items[i]); why != "" && len(out) < maxReasons {
				out = append(out, "pod "+items[i].GetName()+": "+why)
			}
		}
	}
	return out
}

// selects finds the pods of an object.
func selects(kind, name string, object any) metav1.ListOptions {
	switch kind {
	case "Pod":
		return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	case "Job":
		return metav1.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=" + name}
	}
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return metav1.ListOptions{}
	}
	labels, _, _ := unstructured.NestedStringMap(u.Object, "spec", "selector", "matchLabels")
	if len(labels) == 0 {
		return metav1.ListOptions{}
	}
	return metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})}
}

// trouble says what is wrong with a pod.
func trouble(pod *unstructured.Unstructured) string {
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(pod.Object, path...)
		return s
	}
	phase := text("status", "phase")
	if phase == "Succeeded" {
		return ""
	}
	var out []string
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		states, _, _ := unstructured.NestedSlice(pod.Object, "status", list)
		for _, s := range states {
			if m, ok := s.(map[string]any); ok {
				out = append(out, container(m)...)
			}
		}
	}
	if r := strings.Trim(text("status", "reason")+": "+text("status", "message"), ": "); r != "" {
		out = append(out, r)
	}
	if len(out) == 0 && phase != "Running" {
		return strings.ToLower(phase)
	}
	return strings.Join(out, ", ")
}

// container says how a container ended, or what it waits for.
func container(m map[string]any) []string {
	name, _ := m["name"].(string)
	var out []string
	for _, at := range []string{"state", "lastState"} {
		if reason, _, _ := unstructured.NestedString(m, at, "waiting", "reason"); reason != "" {
			message, _, _ := unstructured.NestedString(m, at, "waiting", "message")
			out = append(out, strings.TrimSuffix(fmt.Sprintf("container %s waits: %s: %s", name, reason, message), ": "))
		}
		code, found, _ := unstructured.NestedInt64(m, at, "terminated", "exitCode")
		if found && code != 0 {
			reason, _, _ := unstructured.NestedString(m, at, "terminated", "reason")
			message, _, _ := unstructured.NestedString(m, at, "terminated", "message")
			out = append(out, strings.TrimRight(fmt.Sprintf("container %s ended with %d %s %s", name, code, reason, message), " "))
		}
	}
	return out
}
