package flux

import (
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

func finalizer(name string) bool { return strings.HasSuffix(name, "fluxcd.io") }

func resource(o *handover.Object) string {
	return handover.Resource(o.GroupVersionKind().GroupKind())
}

// Steps is the way of the objects out of Flux's hands.
func Steps(set *handover.Set, r *handover.Result, w handover.Way) []handover.Step {
	kustomizations, releases := ParentsFirst(set), set.Of(helmGroup, "HelmRelease")
	both := append(slices.Clone(kustomizations), releases...)
	steps := []handover.Step{stop(set, both, w), harmless(kustomizations, w)}
	if w.Whole {
		steps = append(steps, freeze(w), unlock(both, w))
	}
	steps = append(steps, w.Adopt(r, "Flux")...)
	steps = append(steps, w.Checked("Flux"), remove(set, both, w))
	if s := unlabel(kustomizations, w); len(s.Commands) > 0 {
		steps = append(steps, s)
	}
	if w.Whole {
		steps = append(steps, uninstall(w))
	}
	return append(steps, handover.Step{Title: "Remove the old definitions from Git",
		Why: "Delete the files of Flux's objects from the repositories, so that nobody applies them again. trueup needs none of them."})
}

// stop suspends, parents first: what applies other definitions would bring
// them back.
func stop(set *handover.Set, both []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Suspend", Why: "Flux stops applying, correcting and pruning. What applies definitions of Flux comes first, because it would undo the rest. A suspended HelmRelease is not uninstalled when it is deleted."}
	for _, o := range append(slices.Clone(both), set.Of(imageGroup, "ImageUpdateAutomation")...) {
		s.Commands = append(s.Commands, w.Patch(resource(o), o.GetNamespace(), o.GetName(), map[string]any{"spec": map[string]any{"suspend": true}}))
	}
	return s
}

// harmless turns off what a deletion would do.
func harmless(kustomizations []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Make deleting the definitions harmless", Why: "With prune off and the deletion policy Orphan, a Kustomization that is deleted leaves its objects where they are."}
	for _, o := range kustomizations {
		s.Commands = append(s.Commands, w.Patch(resource(o), o.GetNamespace(), o.GetName(),
			map[string]any{"spec": map[string]any{"prune": false, "deletionPolicy": "Orphan"}}))
	}
	return s
}

// freeze stops the controllers: they would put their finalizers back.
func freeze(w handover.Way) handover.Step {
	names := "kustomize-controller helm-controller"
	return handover.Step{Title: "Stop the controllers", Why: "They put their finalizers back, also on what is suspended.",
		Commands: []string{
			w.Kubectl + " -n " + namespace + " scale deployment " + names + " --replicas=0",
			w.Kubectl + " -n " + namespace + " rollout status deployment/kustomize-controller --timeout=2m",
			w.Kubectl + " -n " + namespace + " rollout status deployment/helm-controller --timeout=2m"}}
}

// unlock takes the finalizers off, so that nothing of Flux is asked when a
// definition is deleted.
func unlock(both []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Take the finalizers off", Why: "Deleting a definition then deletes the definition, and nothing else is asked to act on it."}
	if !w.Live {
		s.Why += " These commands take all finalizers off: the files don't say whether there are others."
	}
	for _, o := range both {
		_, rest := o.Finalizers(finalizer)
		s.Commands = append(s.Commands, w.Patch(resource(o), o.GetNamespace(), o.GetName(), handover.Finalizers(rest)))
	}
	return s
}

// remove deletes the definitions: first those that apply, then those that they
// used.
func remove(set *handover.Set, both []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Delete the old definitions", Why: "Only after the check has ended with success. One that has a finalizer of somebody else waits for them."}
	slices.Reverse(both) // children first
	rest := set.Of(imageGroup, "ImageUpdateAutomation")
	if w.Whole {
		for _, group := range []string{imageGroup, notificationGroup, sourceGroup} {
			for _, kind := range Kinds[group] {
				if kind != "ImageUpdateAutomation" {
					rest = append(rest, set.Of(group, kind)...)
				}
			}
		}
	}
	for _, o := range append(both, rest...) {
		s.Commands = append(s.Commands, w.Delete(resource(o), o.GetNamespace(), o.GetName()))
	}
	return s
}

// unlabel takes the labels off by which Flux knew its objects. They are in no
// repository, so that trueup leaves them alone.
func unlabel(kustomizations []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Take Flux's labels off", Why: "They say that Flux applies the objects. With them goes the last that its field manager owns."}
	name, ns := kustomizeGroup+"/name", kustomizeGroup+"/namespace"
	for _, o := range kustomizations {
		refs, _ := Inventory(o)
		var kinds []string
		for _, r := range refs {
			if !Own(r) {
				kinds = append(kinds, handover.Resource(r.GroupKind()))
			}
		}
		slices.Sort(kinds)
		if kinds = slices.Compact(kinds); len(kinds) > 0 {
			s.Commands = append(s.Commands, fmt.Sprintf("%s label %s -A -l %s=%s,%s=%s %s- %s-", w.Kubectl, strings.Join(kinds, ","), name, o.GetName(), ns, o.GetNamespace(), name, ns))
		}
	}
	return s
}

func uninstall(w handover.Way) handover.Step {
	label := " -l app.kubernetes.io/part-of=flux"
	return handover.Step{Title: "Uninstall Flux", Why: "By the label that `flux install` sets, and only what it installs: the namespace " + namespace + " stays, with the Secrets in it. `flux uninstall` does the same.",
		Commands: []string{
			w.Kubectl + " -n " + namespace + " delete deployments,services,networkpolicies,serviceaccounts,resourcequotas" + label,
			w.Kubectl + " delete clusterroles,clusterrolebindings" + label,
			w.Kubectl + " delete customresourcedefinitions" + label}}
}

// ParentsFirst orders Kustomizations: what applies another comes before it.
func ParentsFirst(set *handover.Set) []*handover.Object {
	c := &converter{set: set}
	var out []*handover.Object
	done := map[*handover.Object]bool{}
	var visit func(o *handover.Object, depth int)
	visit = func(o *handover.Object, depth int) {
		if done[o] || depth > 1000 {
			return
		}
		done[o] = true
		if p := c.parent(o); p != nil && p != o {
			visit(p, depth+1)
		}
		out = append(out, o)
	}
	for _, o := range set.Of(kustomizeGroup, "Kustomization") {
		visit(o, 0)
	}
	return out
}
