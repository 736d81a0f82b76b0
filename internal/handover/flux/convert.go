// Package flux reads the objects of Flux and writes trueup's configuration for
// them, with the steps that take the objects of production out of Flux's hands
// into trueup's.
package flux

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

// The API groups of Flux.
const (
	kustomizeGroup    = "kustomize.toolkit.fluxcd.io"
	helmGroup         = "helm.toolkit.fluxcd.io"
	sourceGroup       = "source.toolkit.fluxcd.io"
	imageGroup        = "image.toolkit.fluxcd.io"
	notificationGroup = "notification.toolkit.fluxcd.io"
)

// Groups are the API groups whose objects are read.
var Groups = []string{kustomizeGroup, helmGroup, sourceGroup, imageGroup, notificationGroup}

// Kinds are the kinds to read from a cluster, by group. Secrets are not among
// them: what they hold is never asked for.
var Kinds = map[string][]string{
	kustomizeGroup:    {"Kustomization"},
	helmGroup:         {"HelmRelease"},
	sourceGroup:       {"GitRepository", "HelmRepository", "HelmChart", "OCIRepository", "Bucket", "ExternalArtifact"},
	imageGroup:        {"ImageRepository", "ImagePolicy", "ImageUpdateAutomation"},
	notificationGroup: {"Receiver", "Alert", "Provider"},
}

// namespace is Flux's own, where a file leaves it out.
const namespace = "flux-system"

// Mine tells whether an object is one of Flux.
func Mine(o *handover.Object) bool { return strings.HasSuffix(o.Group(), ".toolkit.fluxcd.io") }

// Applies tells whether an object applies others: these are what moves.
func Applies(o *handover.Object) bool {
	return o.Is(kustomizeGroup, "Kustomization") || o.Is(helmGroup, "HelmRelease")
}

// Also names the ConfigMaps that values come from.
func Also(set *handover.Set) []manifest.Ref {
	var out []manifest.Ref
	for _, o := range set.Of(helmGroup, "HelmRelease") {
		from, _, _ := unstructured.NestedSlice(o.Object, "spec", "valuesFrom")
		for _, f := range from {
			m, _ := f.(map[string]any)
			if name, _ := m["name"].(string); m["kind"] == "ConfigMap" && name != "" {
				out = append(out, manifest.Ref{Kind: "ConfigMap", Namespace: o.GetNamespace(), Name: name})
			}
		}
	}
	return out
}

// Keep leaves Secrets out: nothing in them is needed.
func Keep(o *handover.Object) bool { return !o.Is("", "Secret") }

type converter struct {
	handover.Options
	set *handover.Set
	out *handover.Result

	repositories map[string]*handover.Repository // by SameRepository and what is followed
	sources      map[string]*handover.Repository // by namespace/name of the GitRepository
	names        handover.Names
	environments map[string]*handover.Environment
	targets      map[string]*handover.Target // by kind and namespace/name
	targetNames  map[string]handover.Names   // by repository
	paths        map[string]bool             // repository, environment and path that a target has
}

// Convert makes trueup's configuration of the objects of Flux. What else is
// among the objects helps to tell Flux's own from what it deploys.
func Convert(set *handover.Set, o handover.Options) *handover.Result {
	o.Environment = cmp.Or(o.Environment, "kubernetes")
	o.Dir = cmp.Or(o.Dir, "trueup")
	c := &converter{Options: o, set: set, out: &handover.Result{},
		repositories: map[string]*handover.Repository{}, sources: map[string]*handover.Repository{}, names: handover.Names{},
		environments: map[string]*handover.Environment{}, targets: map[string]*handover.Target{},
		targetNames: map[string]handover.Names{}, paths: map[string]bool{}}
	for _, x := range set.All {
		if Mine(x) && x.GetNamespace() == "" {
			x.SetNamespace(namespace)
			c.out.Differs(x, "metadata.namespace", "the file names no namespace", "it is taken for "+namespace+"; set it in the file if it is another")
		}
	}
	c.gitRepositories()
	for _, k := range set.Of(kustomizeGroup, "Kustomization") {
		c.kustomization(k)
	}
	for _, h := range set.Of(helmGroup, "HelmRelease") {
		c.helmRelease(h)
	}
	c.dependencies()
	c.imageAutomation()
	c.notifications()
	c.rest()
	c.dropUnused()
	set.Leftover(c.out, Mine)
	c.out.Finish()
	return c.out
}

// dropUnused leaves repositories out from which nothing is applied.
func (c *converter) dropUnused() {
	c.out.Repositories = slices.DeleteFunc(c.out.Repositories, func(r *handover.Repository) bool { return len(r.Targets) == 0 })
}

// labels and annotations that Flux and kubectl set, and that mean nothing for
// a target.
func (c *converter) metadata(o *handover.Object) {
	m := o.At("metadata")
	m.Ignore("labels")
	for _, k := range m.At("annotations").Keys() {
		if strings.HasPrefix(k, "kubectl.kubernetes.io/") || strings.HasPrefix(k, "reconcile.fluxcd.io/") || strings.HasSuffix(k, "fluxcd.io/reconcile") ||
			strings.HasPrefix(k, "meta.helm.sh/") {
			m.At("annotations").Ignore(k)
		}
	}
}

// rest notes objects that nothing was made of.
func (c *converter) rest() {
	for _, o := range c.set.All {
		if !Mine(o) {
			continue
		}
		c.metadata(o)
		switch o.GetKind() {
		case "Kustomization", "HelmRelease", "GitRepository", "HelmRepository", "HelmChart", "OCIRepository",
			"ImageRepository", "ImagePolicy", "ImageUpdateAutomation", "Receiver", "Alert", "Provider":
		case "Bucket":
			o.At("spec").Ignore()
			c.out.Lost(o, "", "trueup reads Git repositories and OCI artefacts, no buckets", "keep the manifests in a Git repository, or push them as an OCI artefact")
		default:
			o.At("spec").Ignore()
			c.out.Lost(o, "", "trueup has no counterpart for a "+o.GetKind(), "look at what it is used for")
		}
	}
}

// key names an object by kind, namespace and name.
func key(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }
