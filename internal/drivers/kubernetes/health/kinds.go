package health

import (
	"cmp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// deployment sees to two traps. A deadline that an earlier rollout missed stays
// in the status until the controller gets on with the present one, also after
// it has seen the new generation. And a paused one never goes on by itself.
func deployment(u *unstructured.Unstructured, f Facts) (Verdict, bool) {
	if flag(u, "spec", "paused") {
		want, have := count(u, 1, "spec", "replicas"), count(u, 0, "status", "availableReplicas")
		if have < want {
			return waiting("it is paused with %d of %d pods available", have, want), true
		}
		if updated := count(u, 0, "status", "updatedReplicas"); updated < want {
			return waiting("it is paused with %d of %d pods updated", updated, want), true
		}
		return Verdict{}, true
	}
	c, ok := find(u, "Progressing")
	if !ok || c.Reason != "ProgressDeadlineExceeded" {
		return Verdict{}, false
	}
	deadline := time.Duration(count(u, 600, "spec", "progressDeadlineSeconds")) * time.Second
	// Times are of whole seconds.
	if c.Updated.Before(changed(u, f.Managers).Add(deadline - 2*time.Second)) {
		return waiting("its controller has not begun the rollout yet"), true
	}
	return failed("the rollout made no progress for %s: %s", deadline, c.Message), true
}

// statefulSet with pods that are replaced by hand has nothing to update.
func statefulSet(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	if str(u, "spec", "updateStrategy", "type") != "OnDelete" {
		return Verdict{}, false
	}
	if _, seen := number(u, "status", "observedGeneration"); !seen {
		return waiting("its controller has not seen it yet"), true
	}
	return enough(u, count(u, 1, "spec", "replicas"), "readyReplicas", "ready"), true
}

func daemonSet(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	if str(u, "spec", "updateStrategy", "type") != "OnDelete" {
		return Verdict{}, false
	}
	if _, seen := number(u, "status", "observedGeneration"); !seen {
		return waiting("its controller has not seen it yet"), true
	}
	return enough(u, count(u, 0, "status", "desiredNumberScheduled"), "numberReady", "ready"), true
}

func replicationController(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	if c, ok := find(u, "ReplicaFailure"); ok && c.Status == "True" {
		return waiting("%s", c.text()), true
	}
	return enough(u, count(u, 1, "spec", "replicas"), "readyReplicas", "ready"), true
}

func enough(u *unstructured.Unstructured, want int64, field, word string) Verdict {
	if have := count(u, 0, "status", field); have < want {
		return waiting("%d of %d pods %s", have, want, word)
	}
	return Verdict{}
}

// job is ready when it is complete, not when it runs. A suspended one is as it
// was asked to be.
func job(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	for _, c := range conditionsOf(u) {
		switch {
		case c.Status != "True":
		case c.Type == "Complete":
			return Verdict{}, true
		case c.Type == "Failed", c.Type == "FailureTarget":
			return failed("it failed: %s", c.text()), true
		}
	}
	if flag(u, "spec", "suspend") {
		return Verdict{}, true
	}
	if str(u, "status", "startTime") == "" {
		return waiting("it has not started yet"), true
	}
	want := count(u, count(u, 1, "spec", "parallelism"), "spec", "completions")
	text := "it runs: %d of %d pods succeeded"
	if n := count(u, 0, "status", "failed"); n > 0 {
		return waiting(text+", %d failed", count(u, 0, "status", "succeeded"), want, n), true
	}
	return waiting(text, count(u, 0, "status", "succeeded"), want), true
}

// autoscaler is ready when it can change the number of pods. That it has no
// metrics to go by (yet) is not the fault of what was applied.
func autoscaler(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	if c, ok := find(u, "AbleToScale"); ok && c.Status == "False" {
		return waiting("%s", c.text()), true
	}
	return Verdict{}, true
}

func apiService(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	c, ok := find(u, "Available")
	switch {
	case !ok:
		return waiting("nobody has looked yet whether it is available"), true
	case c.Status != "True":
		return waiting("%s", c.text()), true
	}
	return Verdict{}, true
}

// service of the type LoadBalancer is ready when it has an address.
func service(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	if str(u, "spec", "type") != "LoadBalancer" {
		return Verdict{}, true
	}
	ingress, _, _ := unstructured.NestedSlice(u.Object, "status", "loadBalancer", "ingress")
	if len(ingress) == 0 {
		return waiting("its load balancer has no address yet"), true
	}
	return Verdict{}, true
}

func namespace(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	if phase := cmp.Or(str(u, "status", "phase"), "Active"); phase != "Active" {
		return waiting("it is %s", strings.ToLower(phase)), true
	}
	return Verdict{}, true
}

func volume(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	switch phase := str(u, "status", "phase"); phase {
	case "Failed":
		return failed("%s", cmp.Or(str(u, "status", "message"), str(u, "status", "reason"), "it failed")), true
	case "", "Pending":
		return waiting("it is not available yet"), true
	}
	return Verdict{}, true
}

// claim of a class that waits for the first pod is as ready as it gets before
// that pod comes.
func claim(u *unstructured.Unstructured, f Facts) (Verdict, bool) {
	switch str(u, "status", "phase") {
	case "Bound":
		return Verdict{}, true
	case "Lost":
		return failed("its volume is lost"), true
	}
	class := str(u, "spec", "storageClassName")
	if u.GetAnnotations()["volume.kubernetes.io/selected-node"] == "" && f.Lazy != nil && f.Lazy(class) {
		return Verdict{}, true
	}
	return waiting("it is not bound to a volume"), true
}
