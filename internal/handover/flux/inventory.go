package flux

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/object"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

// Inventory gives what Flux says that an object has applied. The second value
// tells whether it says so at all: a file has no status, and an older
// helm-controller keeps no inventory.
func Inventory(o *handover.Object) ([]manifest.Ref, bool) {
	status, _ := o.Object["status"].(map[string]any)
	inventory, _ := status["inventory"].(map[string]any)
	if inventory == nil {
		return nil, false
	}
	entries, _ := inventory["entries"].([]any)
	var out []manifest.Ref
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		id, _ := entry["id"].(string)
		m, err := object.ParseObjMetadata(id)
		if err != nil {
			continue
		}
		out = append(out, manifest.Ref{Group: m.GroupKind.Group, Kind: m.GroupKind.Kind, Namespace: m.Namespace, Name: m.Name})
	}
	return out, true
}

// parts of Flux's installation, as `flux install` names them.
var controllers = []string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller",
	"image-reflector-controller", "image-automation-controller", "source-watcher", "webhook-receiver", "allow-egress", "allow-scraping", "allow-webhooks"}

// Own tells whether an object is Flux's: a definition, or a part of its
// installation. It goes with Flux and needs no other owner.
func Own(r manifest.Ref) bool {
	switch {
	case strings.HasSuffix(r.Group, ".toolkit.fluxcd.io"):
		return true
	case r.Kind == "CustomResourceDefinition":
		return strings.HasSuffix(r.Name, ".toolkit.fluxcd.io")
	case r.Kind == "Namespace":
		return r.Name == namespace
	case strings.HasPrefix(r.Kind, "ClusterRole"):
		return strings.HasSuffix(r.Name, "-"+namespace) && slices.ContainsFunc([]string{"crd-controller", "cluster-reconciler", "flux-edit", "flux-view"},
			func(p string) bool { return r.Name == p+"-"+namespace })
	case r.Namespace == namespace:
		return slices.Contains(controllers, r.Name) || r.Kind == "ResourceQuota" && strings.HasPrefix(r.Name, "critical-pods-")
	}
	return false
}

// split takes the objects that a Kustomization applies apart into Flux's own
// and the others, by its inventory or by the files below its path. Known tells
// whether that could be found out.
func (c *converter) split(o *handover.Object, dir string) (own, others []string, known bool) {
	add := func(r manifest.Ref) {
		if Own(r) {
			own = append(own, r.String())
		} else {
			others = append(others, r.String())
		}
	}
	if inv, ok := Inventory(o); ok {
		for _, r := range inv {
			add(r)
		}
		return own, others, len(inv) > 0
	}
	for _, x := range c.set.All {
		if below(x, dir) && x.Group() != "kustomize.config.k8s.io" {
			add(manifest.RefOf(x.Unstructured))
		}
	}
	return own, others, len(own)+len(others) > 0
}

// onlyDefinitions tells that a Kustomization applies nothing but Flux's own
// objects. It needs no target.
func (c *converter) onlyDefinitions(o *handover.Object, r *handover.Repository, dir string) bool {
	own, others, known := c.split(o, dir)
	if !known || len(own) == 0 || len(others) > 0 {
		return false
	}
	c.out.Differs(o, "", fmt.Sprintf("%s applies Flux's own objects alone (%d); no target is made of it", dir, len(own)), "remove the directory from Git once Flux is gone")
	if r.Files == nil {
		r.Files = map[string]string{}
	}
	return true
}

// withoutOwn is a patch that leaves Flux's own objects out of what a directory
// gives: trueup would go on applying them.
func withoutOwn() map[string]any {
	return map[string]any{"target": map[string]any{"group": `.*\.toolkit\.fluxcd\.io`},
		"patch": "$patch: delete\napiVersion: v1\nkind: Any\nmetadata:\n  name: any\n"}
}

// mixed tells whether a path has definitions of Flux beside objects of
// production, and notes what is done about it.
func (c *converter) mixed(o *handover.Object, dir string) bool {
	own, _, known := c.split(o, dir)
	if !known || len(own) == 0 {
		return false
	}
	slices.Sort(own)
	shown := own
	if len(shown) > 5 {
		shown = append(slices.Clone(shown[:5]), fmt.Sprintf("and %d more", len(own)-5))
	}
	c.out.Differs(o, "spec.path", fmt.Sprintf("%s holds objects of Flux beside those of production: %s", dir, strings.Join(shown, ", ")),
		"a patch leaves them out; once Flux is gone, delete their files, and then the patch")
	return true
}
