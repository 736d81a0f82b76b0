package health

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// pod that stands alone: one that failed stays so, for nobody makes another. A
// crash, an image that can't be pulled and a node that is full may pass.
func pod(u *unstructured.Unstructured, _ Facts) (Verdict, bool) {
	switch str(u, "status", "phase") {
	case "Succeeded":
		return Verdict{}, true
	case "Failed":
		return failed("%s", podTrouble(u)), true
	case "Running":
		if c, ok := find(u, "Ready"); ok && c.Status == "True" {
			return Verdict{}, true
		}
	}
	return waiting("%s", podTrouble(u)), true
}

// podTrouble says what keeps a pod from being ready.
func podTrouble(u *unstructured.Unstructured) string {
	var out []string
	if reason, message := str(u, "status", "reason"), str(u, "status", "message"); reason+message != "" {
		out = append(out, strings.Trim(reason+": "+message, ": "))
	}
	if c, ok := find(u, "PodScheduled"); ok && c.Status == "False" {
		out = append(out, "not scheduled: "+c.text())
	}
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		states, _, _ := unstructured.NestedSlice(u.Object, "status", list)
		for _, x := range states {
			if m, ok := x.(map[string]any); ok {
				if t := containerTrouble(&unstructured.Unstructured{Object: m}, list == "initContainerStatuses"); t != "" {
					out = append(out, t)
				}
			}
		}
	}
	if len(out) == 0 {
		phase := str(u, "status", "phase")
		switch phase {
		case "":
			return "nobody has taken it up yet"
		case "Running":
			return "it runs and is not ready"
		}
		return "it is " + strings.ToLower(phase)
	}
	return strings.Join(out, "; ")
}

// containerTrouble says why a container does not run as it should, and how it
// ended last.
func containerTrouble(c *unstructured.Unstructured, initial bool) string {
	name := "container " + str(c, "name")
	if initial {
		name = "init " + name
	}
	var out []string
	if reason := str(c, "state", "waiting", "reason"); reason != "" && reason != "ContainerCreating" && reason != "PodInitializing" {
		out = append(out, joined(reason, str(c, "state", "waiting", "message")))
	}
	for _, state := range []string{"state", "lastState"} {
		code, ended := number(c, state, "terminated", "exitCode")
		if !ended || code == 0 {
			continue
		}
		text := fmt.Sprintf("ended with %d", code)
		if reason := str(c, state, "terminated", "reason"); reason != "" && reason != "Error" {
			text += " (" + reason + ")"
		}
		out = append(out, joined(text, str(c, state, "terminated", "message")))
		break
	}
	if len(out) == 0 {
		return ""
	}
	if n := count(c, 0, "restartCount"); n > 0 {
		out = append(out, fmt.Sprintf("%d restarts", n))
	}
	return name + ": " + strings.Join(out, ", ")
}

// joined puts a reason and its message together.
func joined(reason, message string) string {
	if message == "" {
		return reason
	}
	return reason + ": " + message
}
