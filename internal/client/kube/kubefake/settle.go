package kubefake

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Settled sets an object's status as the controllers do once all went well, or
// as far as the annotation kubetest/fail on the object or its pods lets it.
func Settled(u *unstructured.Unstructured) {
	status, _, _ := unstructured.NestedMap(u.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	failed := failure(u)
	switch u.GetKind() {
	case "Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "ReplicationController":
		workload(u, status, failed)
	case "Job":
		job(status, failed)
	case "Namespace":
		status["phase"] = "Active"
	case "PersistentVolumeClaim":
		status["phase"] = "Bound"
	case "Pod":
		pod(status, failed)
	case "CustomResourceDefinition":
		condition(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found")
		condition(status, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
		status["acceptedNames"], _, _ = unstructured.NestedMap(u.Object, "spec", "names")
	default:
		return
	}
	u.Object["status"] = status
}

func failure(u *unstructured.Unstructured) string {
	if reason := u.GetAnnotations()["kubetest/fail"]; reason != "" {
		return reason
	}
	reason, _, _ := unstructured.NestedString(u.Object, "spec", "template", "metadata", "annotations", "kubetest/fail")
	return reason
}

func workload(u *unstructured.Unstructured, status map[string]any, failed string) {
	n, ok, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
	if !ok {
		n = 1
	}
	ready := n
	if failed != "" {
		ready = 0
	}
	status["observedGeneration"] = u.GetGeneration()
	if u.GetKind() == "DaemonSet" {
		status["desiredNumberScheduled"], status["currentNumberScheduled"], status["updatedNumberScheduled"] = n, n, n
		status["numberReady"], status["numberAvailable"], status["numberMisscheduled"] = ready, ready, int64(0)
		return
	}
	status["replicas"], status["updatedReplicas"], status["currentReplicas"] = n, n, n
	status["readyReplicas"], status["availableReplicas"] = ready, ready
	if u.GetKind() == "StatefulSet" {
		status["currentRevision"], status["updateRevision"] = "r1", "r1"
	}
	if u.GetKind() != "Deployment" {
		return
	}
	delete(status, "currentReplicas")
	if failed != "" {
		status["unavailableReplicas"] = n
		condition(status, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
		condition(status, "Progressing", "False", "ProgressDeadlineExceeded", "ReplicaSet has timed out progressing.")
		return
	}
	delete(status, "unavailableReplicas")
	condition(status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
	condition(status, "Progressing", "True", "NewReplicaSetAvailable", "ReplicaSet has successfully progressed.")
}

func job(status map[string]any, failed string) {
	now := time.Now().UTC().Format(time.RFC3339)
	if status["startTime"] == nil {
		status["startTime"] = now
	}
	if failed != "" {
		status["failed"] = int64(1)
		condition(status, "Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
		return
	}
	if status["completionTime"] == nil {
		status["completionTime"] = now
	}
	status["succeeded"] = int64(1)
	condition(status, "Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods")
}

func pod(status map[string]any, failed string) {
	if failed != "" {
		status["phase"] = "Pending"
		condition(status, "Ready", "False", failed, "")
		return
	}
	status["phase"] = "Running"
	condition(status, "Ready", "True", "", "")
}

// condition sets a condition; its time changes with its status alone.
func condition(status map[string]any, kind, value, reason, message string) {
	list, _ := status["conditions"].([]any)
	next := map[string]any{"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
	for i, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			if m["status"] == value {
				next["lastTransitionTime"] = m["lastTransitionTime"]
			}
			list[i] = next
			return
		}
	}
	status["conditions"] = append(list, next)
}
