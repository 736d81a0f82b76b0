// Package argocd reads the objects of Argo CD and writes trueup's
// configuration for them, with the steps that take the objects of production
// out of Argo CD's hands into trueup's.
package argocd

import (
	"cmp"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

// The API group of Argo CD, and of other tools of the Argo project.
const group = "argoproj.io"

// namespace is Argo CD's own, where a file leaves it out.
const namespace = "argocd"

// kinds are those of Argo CD in the group.
var kinds = []string{"Application", "ApplicationSet", "AppProject"}

// Kinds are the kinds to read from a cluster, by group.
var Kinds = map[string][]string{group: kinds, "": {"Secret"}}

// secretType is the label of the Secrets that hold repositories and clusters.
const secretType = "argocd.argoproj.io/secret-type"

// Selectors narrow what is read.
var Selectors = map[string]string{"Secret": secretType + " in (repository,repo-creds,cluster)"}

// configMaps hold the settings of Argo CD.
var configMaps = []string{"argocd-cm", "argocd-rbac-cm", "argocd-ssh-known-hosts-cm", "argocd-notifications-cm", "argocd-cmd-params-cm", "argocd-gpg-keys-cm", "argocd-tls-certs-cm"}

// Also names the settings of the Argo CDs whose projects were found.
func Also(set *handover.Set) []manifest.Ref {
	var out []manifest.Ref
	for _, p := range set.Of(group, "AppProject") {
		for _, n := range configMaps {
			if r := (manifest.Ref{Kind: "ConfigMap", Namespace: p.GetNamespace(), Name: n}); !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// Mine tells whether an object is one of Argo CD.
func Mine(o *handover.Object) bool {
	switch {
	case o.Group() == group:
		return slices.Contains(kinds, o.GetKind())
	case o.Is("", "ConfigMap"):
		return slices.Contains(configMaps, o.GetName())
	}
	return o.Is("", "Secret")
}

// Applies tells whether an object applies others: these are what moves.
func Applies(o *handover.Object) bool {
	return o.Is(group, "Application") || o.Is(group, "ApplicationSet")
}

type converter struct {
	handover.Options
	set *handover.Set
	out *handover.Result

	clusters     []*cluster
	repositories map[string]*handover.Repository // by SameRepository and what is followed
	names        handover.Names
	environments map[string]*handover.Environment // by name and windows
	envNames     handover.Names
	targets      map[string][]*handover.Target // by namespace/name of the Application
	targetNames  map[string]handover.Names     // by repository
	paths        map[string]bool               // repository, environment and path that a target has
	made         []*handover.Object            // Applications that were expanded from sets
	settings     settings
}

// Convert makes trueup's configuration of the objects of Argo CD. What else is
// among the objects helps to tell Argo CD's own from what it deploys.
func Convert(set *handover.Set, o handover.Options) *handover.Result {
	o.Environment = cmp.Or(o.Environment, "kubernetes")
	o.Dir = cmp.Or(o.Dir, "trueup")
	c := &converter{Options: o, set: set, out: &handover.Result{}, repositories: map[string]*handover.Repository{}, names: handover.Names{}, envNames: handover.Names{},
		environments: map[string]*handover.Environment{}, targets: map[string][]*handover.Target{},
		targetNames: map[string]handover.Names{}, paths: map[string]bool{}}
	for _, x := range set.All {
		if Mine(x) && x.GetNamespace() == "" {
			x.SetNamespace(namespace)
			c.out.Differs(x, "metadata.namespace", "the file names no namespace", "it is taken for "+namespace+"; set it in the file if it is another")
		}
	}
	c.findClusters()
	c.readSettings()
	generated := c.applicationSets()
	for _, a := range set.Of(group, "Application") {
		if !generated[a.Key()] {
			c.application(a)
		} else {
			a.Ignore()
		}
	}
	c.waves()
	for _, p := range set.Of(group, "AppProject") {
		c.project(p)
	}
	c.accounts()
	c.out.Repositories = slices.DeleteFunc(c.out.Repositories, func(r *handover.Repository) bool { return len(r.Targets) == 0 })
	(&handover.Set{All: c.made}).Leftover(c.out, Mine)
	for _, s := range set.Of("", "Secret") {
		s.Ignore()
	}
	set.Leftover(c.out, Mine)
	c.out.Finish()
	return c.out
}

// notes that mean nothing to a target are passed over; others are told.
func (c *converter) annotations(o *handover.Object) {
	m := o.At("metadata")
	m.Ignore("labels")
	a := m.At("annotations")
	for _, k := range a.Keys() {
		switch {
		case strings.HasPrefix(k, "kubectl.kubernetes.io/"), k == "argocd.argoproj.io/tracking-id", k == "argocd.argoproj.io/refresh", k == "argocd.argoproj.io/hydrate",
			strings.HasPrefix(k, "meta.helm.sh/"), strings.HasPrefix(k, "argocd.argoproj.io/application-set-"), strings.HasPrefix(k, "notified.notifications.argoproj.io"):
			a.Ignore(k)
		case strings.HasPrefix(k, "notifications.argoproj.io/"):
			a.Ignore(k)
			c.out.Lost(o, a.At(k).Path(), "notifications are routed in server.yaml", "add a route under notify")
		case strings.HasPrefix(k, "argocd-image-updater.argoproj.io/"):
			a.Ignore(k)
			c.out.Lost(o, a.At(k).Path(), "trueup proposes new images as pull requests", "set image updates up for the target")
		case strings.HasPrefix(k, "link.argocd.argoproj.io/"), k == "argocd.argoproj.io/sync-options", k == "argocd.argoproj.io/compare-options":
			a.Ignore(k)
			c.out.Differs(o, a.At(k).Path(), "it is about how Argo CD shows or applies its own object", "nothing")
		}
	}
}
