package argocd

import (
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

// Inventory gives what Argo CD says that an Application has. The second value
// tells whether it says so at all: a file has no status.
func Inventory(o *handover.Object) ([]manifest.Ref, bool) {
	status, _ := o.Object["status"].(map[string]any)
	list, ok := status["resources"].([]any)
	if !ok {
		return nil, false
	}
	var out []manifest.Ref
	for _, e := range list {
		r, _ := e.(map[string]any)
		if r["hook"] == true {
			continue
		}
		ref := manifest.Ref{Group: text(r["group"]), Kind: text(r["kind"]), Namespace: text(r["namespace"]), Name: text(r["name"])}
		if ref.Kind != "" && ref.Name != "" {
			out = append(out, ref)
		}
	}
	return out, true
}

// Own tells whether an object is Argo CD's: a definition, or a part of its
// installation. It goes with Argo CD and needs no other owner.
func Own(r manifest.Ref) bool {
	switch {
	case r.Group == group:
		return slices.Contains(kinds, r.Kind)
	case r.Kind == "CustomResourceDefinition":
		return slices.Contains([]string{"applications.argoproj.io", "applicationsets.argoproj.io", "appprojects.argoproj.io"}, r.Name)
	case r.Kind == "Namespace":
		return r.Name == namespace
	case strings.HasPrefix(r.Kind, "ClusterRole"):
		return strings.HasPrefix(r.Name, "argocd-")
	}
	return r.Namespace == namespace && strings.HasPrefix(r.Name, "argocd-")
}

// split takes the objects of an Application apart into Argo CD's own and the
// others, by its status or by the files below its path. Known tells whether
// that could be found out.
func (c *converter) split(o *handover.Object) (own, others []string, known bool) {
	add := func(r manifest.Ref) {
		if Own(r) {
			own = append(own, r.String())
		} else {
			others = append(others, r.String())
		}
	}
	if refs, ok := Inventory(o); ok {
		for _, r := range refs {
			add(r)
		}
		return own, others, len(refs) > 0
	}
	spec, _ := o.Object["spec"].(map[string]any)
	source, _ := spec["source"].(map[string]any)
	dir, ok := handover.InTree(text(source["path"]))
	for _, x := range c.set.All {
		if ok && below(x, dir) && x.Group() != "kustomize.config.k8s.io" {
			add(manifest.RefOf(x.Unstructured))
		}
	}
	return own, others, len(own)+len(others) > 0
}

// withoutDefinitions sees to it that a target does not go on applying
// definitions of Argo CD that lie beside objects of production.
func (c *converter) withoutDefinitions(a *app, t *handover.Target, r *handover.Repository) {
	own, _, known := c.split(a.Object)
	if !known || len(own) == 0 {
		return
	}
	slices.Sort(own)
	shown := own
	if len(shown) > 5 {
		shown = append(slices.Clone(shown[:5]), fmt.Sprintf("and %d more", len(own)-5))
	}
	why := "it applies objects of Argo CD beside those of production: " + strings.Join(shown, ", ")
	if t.Spec.Helm != nil || t.Spec.Jsonnet != nil || t.Each != "" {
		c.out.Fill(a.String(), "spec.source.path", why, "take them out of the chart or program, then remove suspend from the target "+t.Name)
		t.Hold("it would go on applying objects of Argo CD")
		return
	}
	over := handover.Overlay{Base: t.Path, Patches: []any{map[string]any{"target": map[string]any{"group": `argoproj\.io`, "kind": strings.Join(kinds, "|")},
		"patch": "$patch: delete\napiVersion: v1\nkind: Any\nmetadata:\n  name: any\n"}}}
	if old := r.Files[t.Path+"/kustomization.yaml"]; old != "" { // an overlay is there already: one more over it
		dir := t.Path + "-production"
		r.Write(dir+"/kustomization.yaml", over.File(dir))
		t.Input(glob(t.Path))
		t.Path = dir
	} else {
		c.overlay(t, r, over)
	}
	t.Spec.Render, t.Spec.Include, t.Spec.Exclude = "kustomize", nil, nil
	c.base(a, r, over.Base)
	c.out.Differs(a.Object, "spec.source.path", why, "a patch leaves them out; once Argo CD is gone, delete their files, and then the patch")
}

// base sees to it that a directory can be the base of an overlay.
func (c *converter) base(a *app, r *handover.Repository, dir string) {
	tree := c.Tree(r.URL)
	if tree == nil {
		c.out.Differs(a.Object, "spec.source.path", "an overlay needs a kustomization.yaml below it",
			fmt.Sprintf("if %s has none, write one with its manifests under resources, or import again with --checkout", dir))
		return
	}
	if handover.Kustomized(tree, dir) || r.Files[dir+"/kustomization.yaml"] != "" {
		return
	}
	r.Write(dir+"/kustomization.yaml", handover.YAML(map[string]any{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": handover.Plain(tree, dir)}))
}
