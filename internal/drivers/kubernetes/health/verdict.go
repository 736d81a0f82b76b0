// Package health tells whether Kubernetes objects are ready, what they still
// wait for, and why they fail.
package health

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// State is how far an object has come.
type State int

// The states.
const (
	Ready   State = iota
	Waiting       // it may become ready
	Failed        // it can't become ready without a change
)

// Verdict is what an object's own status says of it.
type Verdict struct {
	State
	Why string // of what is not ready, in a few words
}

// Facts are what a verdict needs beside the object.
type Facts struct {
	// Managers are the field managers that apply the objects ("trueup").
	Managers []string
	// Lazy tells that a storage class binds claims when a pod uses them first.
	Lazy func(class string) bool
	// Reports tells that the object's kind has a status of its own.
	Reports bool
	// Young tells that the object changed only just now, so that a controller
	// may not have seen it yet.
	Young bool
}

// Assess judges an object by its own fields.
func Assess(u *unstructured.Unstructured, f Facts) Verdict {
	if u.GetDeletionTimestamp() != nil {
		return waiting("it is being deleted")
	}
	if v := unseen(u, f); v.State != Ready {
		return v
	}
	gk := u.GroupVersionKind().GroupKind()
	if judge := judges[gk]; judge != nil {
		if v, decided := judge(u, f); decided {
			return v
		}
	}
	return byLibrary(u)
}

// judges know what the library does not, or sees in another way. One that does
// not decide leaves it to the library.
var judges = map[schema.GroupKind]func(*unstructured.Unstructured, Facts) (Verdict, bool){
	{Group: "apps", Kind: "Deployment"}:                     deployment,
	{Group: "apps", Kind: "StatefulSet"}:                    statefulSet,
	{Group: "apps", Kind: "DaemonSet"}:                      daemonSet,
	{Group: "batch", Kind: "Job"}:                           job,
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}: autoscaler,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:   apiService,
	{Kind: "Pod"}:                   pod,
	{Kind: "Service"}:               service,
	{Kind: "Namespace"}:             namespace,
	{Kind: "PersistentVolume"}:      volume,
	{Kind: "PersistentVolumeClaim"}: claim,
	{Kind: "ReplicationController"}: replicationController,
}

func waiting(format string, args ...any) Verdict {
	return Verdict{Waiting, clean(fmt.Sprintf(format, args...), maxRaw)}
}

func failed(format string, args ...any) Verdict {
	return Verdict{Failed, clean(fmt.Sprintf(format, args...), maxRaw)}
}

// byLibrary is kstatus' opinion, in trueup's words.
func byLibrary(u *unstructured.Unstructured) Verdict {
	r, err := status.Compute(u)
	if err != nil {
		return waiting("its status can't be read: %s", err)
	}
	text := wording(r.Message)
	if text == "" {
		text = readyCondition(u)
	}
	switch r.Status {
	case status.CurrentStatus:
		return Verdict{}
	case status.FailedStatus:
		return failed("%s", text)
	}
	return waiting("%s", text)
}

// counted are the library's words for counts of pods.
var counted = map[string]string{"Replicas": "there", "Updated": "updated", "updated": "updated", "Available": "available", "Ready": "ready",
	"Current": "scheduled", "current": "there", "Labelled": "labelled"}

// wording makes "1 of 3 pods updated" of "Updated: 1/3".
func wording(message string) string {
	word, count, ok := strings.Cut(message, ": ")
	have, want, slash := strings.Cut(count, "/")
	switch {
	case ok && word == "Pending termination":
		return count + " old pods have still to end"
	case ok && slash && counted[word] != "" && isNumber(have) && isNumber(want):
		return fmt.Sprintf("%s of %s pods %s", have, want, counted[word])
	}
	return message
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// readyCondition says what the Ready condition gives as a reason.
func readyCondition(u *unstructured.Unstructured) string {
	for _, c := range conditionsOf(u) {
		if c.Type == "Ready" {
			return c.text()
		}
	}
	return "not ready"
}

// unseen finds objects whose controller has not looked at them since they
// changed: what their status says is about the past.
func unseen(u *unstructured.Unstructured, f Facts) Verdict {
	generation := u.GetGeneration()
	if seen, ok := number(u, "status", "observedGeneration"); ok {
		if seen < generation {
			return waiting("its controller has not seen generation %d yet", generation)
		}
		return Verdict{}
	}
	if builtIn(u.GroupVersionKind().Group) {
		return Verdict{}
	}
	said := false
	for _, c := range conditionsOf(u) {
		if c.Generation == 0 {
			continue
		}
		said = true
		if c.Generation < generation && (c.Type == "Ready" || c.Type == "Available") {
			return waiting("its condition %s is about generation %d, not %d", c.Type, c.Generation, generation)
		}
	}
	if !said && f.Reports && f.Young && reported(u).Before(changed(u, f.Managers)) {
		return waiting("its controller has not reported since the change")
	}
	return Verdict{}
}

// builtIn tells the groups that the API server and its controllers know
// themselves.
func builtIn(group string) bool {
	switch group {
	case "", "apps", "batch", "autoscaling", "policy", "extensions", "apiextensions.k8s.io", "apiregistration.k8s.io",
		"admissionregistration.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io",
		"discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io",
		"node.k8s.io", "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io":
		return true
	}
	return false
}
