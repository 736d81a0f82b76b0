package argocd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

func finalizer(name string) bool { return strings.Contains(name, "argocd.argoproj.io") }

func resource(o *handover.Object) string {
	return handover.Resource(o.GroupVersionKind().GroupKind())
}

// Steps is the way of the objects out of Argo CD's hands.
func Steps(set *handover.Set, r *handover.Result, w handover.Way) []handover.Step {
	all := ParentsFirst(set)
	steps := []handover.Step{stop(all, w), unlock(all, w)}
	steps = append(steps, w.Adopt(r, "Argo CD")...)
	steps = append(steps, w.Checked("Argo CD"), remove(set, all, w))
	if s := unmark(set, w); len(s.Commands) > 0 {
		steps = append(steps, s)
	}
	if w.Whole {
		steps = append(steps, uninstall(all, w))
	}
	return append(steps, handover.Step{Title: "Remove the old definitions from Git",
		Why: "Delete the files of Applications, ApplicationSets and AppProjects from the repositories, so that nobody applies them again. trueup needs none of them."})
}

// stop turns everything off that Argo CD does by itself, parents first: what
// makes or applies other definitions would bring them back.
func stop(all []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Stop", Why: "Argo CD no longer syncs by itself, and ApplicationSets no longer change or delete the Applications that they made, nor put a finalizer on them. What applies definitions of Argo CD comes first, because it would undo the rest."}
	for _, o := range all {
		patch := map[string]any{"operation": nil, "spec": map[string]any{"syncPolicy": map[string]any{"automated": nil}}}
		if o.GetKind() == "ApplicationSet" {
			patch = map[string]any{"spec": map[string]any{"syncPolicy": map[string]any{"preserveResourcesOnDeletion": true, "applicationsSync": "create-only"}}}
		}
		s.Commands = append(s.Commands, w.Patch(resource(o), o.GetNamespace(), o.GetName(), patch))
	}
	return s
}

// unlock takes the finalizers off by which a deletion would take everything
// with it.
func unlock(all []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Take the finalizers off", Why: "Without resources-finalizer.argocd.argoproj.io, deleting an Application deletes the Application and leaves what it applied; its hooks for deletions don't run either."}
	if !w.Live {
		s.Why += " These commands take all finalizers off: the files don't say whether there are others."
	}
	for _, o := range all {
		_, rest := o.Finalizers(finalizer)
		s.Commands = append(s.Commands, w.Patch(resource(o), o.GetNamespace(), o.GetName(), handover.Finalizers(rest)))
	}
	return s
}

// remove deletes the definitions. A set that is deleted would take its
// Applications with it, so that they are let go first.
func remove(set *handover.Set, all []*handover.Object, w handover.Way) handover.Step {
	s := handover.Step{Title: "Delete the old definitions", Why: "Only after the check has ended with success. ApplicationSets go first and leave their Applications; then these. One that has a finalizer of somebody else waits for them."}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *handover.Object) int { return -cmp.Compare(a.GetKind(), b.GetKind()) })
	if w.Whole {
		for _, p := range set.Of(group, "AppProject") {
			if p.GetName() != "default" {
				all = append(all, p)
			}
		}
	}
	for _, o := range all {
		s.Commands = append(s.Commands, w.Delete(resource(o), o.GetNamespace(), o.GetName()))
	}
	return s
}

// unmark takes off the annotations by which Argo CD knew its objects. They are
// in no repository, so that trueup leaves them alone.
func unmark(set *handover.Set, w handover.Way) handover.Step {
	s := handover.Step{Title: "Take Argo CD's annotations off", Why: "They say that Argo CD applies the objects, and what it applied last; with them goes the last that its field manager owns. A label app.kubernetes.io/instance may come from Git as well: where it does not, it can go by hand."}
	type place struct{ kind, namespace string }
	names := map[place][]string{}
	var order []place
	for _, a := range set.Of(group, "Application") {
		refs, _ := Inventory(a)
		slices.SortFunc(refs, manifest.Ref.Compare)
		for _, r := range refs {
			if Own(r) {
				continue
			}
			p := place{handover.Resource(r.GroupKind()), r.Namespace}
			if names[p] == nil {
				order = append(order, p)
			}
			if !slices.Contains(names[p], r.Name) {
				names[p] = append(names[p], handover.Quote(r.Name))
			}
		}
	}
	for _, p := range order {
		in := ""
		if p.namespace != "" {
			in = " -n " + handover.Quote(p.namespace)
		}
		for chunk := range slices.Chunk(names[p], 50) {
			s.Commands = append(s.Commands, fmt.Sprintf("%s%s annotate %s %s argocd.argoproj.io/tracking-id- argocd.argoproj.io/installation-id- kubectl.kubernetes.io/last-applied-configuration-", w.Kubectl, in, p.kind, strings.Join(chunk, " ")))
		}
	}
	return s
}

func uninstall(all []*handover.Object, w handover.Way) handover.Step {
	ns := namespace
	if len(all) > 0 {
		ns = all[0].GetNamespace()
	}
	label := " -l app.kubernetes.io/part-of=argocd"
	return handover.Step{Title: "Uninstall Argo CD", Why: "By the label of its own manifests, and only what they install: the namespace " + ns + " stays, with the Secrets in it. Where Helm installed it, uninstall that release.",
		Commands: []string{
			w.Kubectl + " -n " + ns + " delete deployments,statefulsets,services,networkpolicies,serviceaccounts,roles,rolebindings" + label,
			w.Kubectl + " delete clusterroles,clusterrolebindings" + label,
			w.Kubectl + " delete customresourcedefinitions" + label}}
}

// ParentsFirst orders Applications and sets: what makes or applies another
// comes before it.
func ParentsFirst(set *handover.Set) []*handover.Object {
	var out []*handover.Object
	done := map[*handover.Object]bool{}
	var visit func(o *handover.Object, depth int)
	visit = func(o *handover.Object, depth int) {
		if done[o] || depth > 1000 {
			return
		}
		done[o] = true
		if p := parent(set, o); p != nil && p != o {
			visit(p, depth+1)
		}
		out = append(out, o)
	}
	for _, kind := range []string{"ApplicationSet", "Application"} {
		for _, o := range set.Of(group, kind) {
			visit(o, 0)
		}
	}
	return out
}

// Safe tells whether deleting a definition leaves alone what it applied, as
// Argo CD's controllers behave. Ok is false for objects that apply nothing.
func Safe(o *handover.Object) (d handover.Definition, ok bool) {
	d = handover.Definition{Object: o.String()}
	spec, _ := o.Object["spec"].(map[string]any)
	policy, _ := spec["syncPolicy"].(map[string]any)
	theirs, _ := o.Finalizers(finalizer)
	switch {
	case o.Is(group, "Application"):
		d.Holds, _ = Inventory(o)
		if policy["automated"] != nil && !disabled(policy["automated"]) {
			d.Why = append(d.Why, "it syncs by itself")
		}
		if len(theirs) > 0 {
			d.Why = append(d.Why, "deleting it deletes what it applied: it has the finalizer "+strings.Join(theirs, ", "))
		}
	case o.Is(group, "ApplicationSet"):
		if policy["applicationsSync"] != "create-only" {
			d.Why = append(d.Why, "it changes the Applications that it made")
		}
		if policy["preserveResourcesOnDeletion"] != true {
			d.Why = append(d.Why, "the Applications that it makes have a finalizer")
		}
		if len(theirs) > 0 {
			d.Why = append(d.Why, "it has the finalizer "+strings.Join(theirs, ", "))
		}
	default:
		return d, false
	}
	if d.Safe = len(d.Why) == 0; d.Safe {
		d.Why = []string{"stopped, no finalizer"}
	}
	if o.GetDeletionTimestamp() != nil {
		d.Why = append(d.Why, "it is being deleted")
	}
	return d, true
}

func disabled(automated any) bool {
	m, _ := automated.(map[string]any)
	return m["enabled"] == false
}
