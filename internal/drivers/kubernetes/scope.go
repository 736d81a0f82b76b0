package kubernetes

import (
	"slices"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Scope narrows a cluster to some objects. The empty scope is all of it.
type Scope struct {
	// Namespaces are globs of the namespaces inside.
	Namespaces []string `yaml:"namespaces,omitempty" json:"namespaces,omitempty" strict:"one"`
	// Kinds are globs of the kinds inside: ConfigMap, Deployment.apps,
	// "*.monitoring.coreos.com", "*". Kinds of the whole cluster are inside only
	// if they are named in full.
	Kinds []string `yaml:"kinds,omitempty" json:"kinds,omitempty" strict:"one"`
	// Names are globs of the objects' names inside.
	Names []string `yaml:"names,omitempty" json:"names,omitempty" strict:"one"`
}

// Validate reports mistakes.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	checkGlobs(&d, "namespaces", s.Namespaces, "team-a-*")
	checkGlobs(&d, "kinds", s.Kinds, "Deployment.apps")
	checkGlobs(&d, "names", s.Names, "web-*")
	return d
}

// Contains tells whether an object lies inside.
func (s *Scope) Contains(k plan.Key, _ string) bool {
	if s == nil || len(s.Namespaces)+len(s.Kinds)+len(s.Names) == 0 {
		return true
	}
	r, err := manifest.ParseAddress(k.Address)
	if err != nil {
		return false
	}
	if len(s.Names) > 0 && !matches(s.Names, r.Name) {
		return false
	}
	kind := kindName(r)
	if r.Namespace != "" {
		return (len(s.Namespaces) == 0 || matches(s.Namespaces, r.Namespace)) && (len(s.Kinds) == 0 || matches(s.Kinds, kind))
	}
	// A namespace is inside its own: whoever may use team-a-* may not make
	// team-b.
	if kind == "Namespace" && len(s.Namespaces) > 0 && !matches(s.Namespaces, r.Name) {
		return false
	}
	return slices.Contains(s.Kinds, kind)
}

// kindName is a kind as scopes and settings name it: Deployment.apps.
func kindName(r manifest.Ref) string {
	if r.Group == "" {
		return r.Kind
	}
	return r.Kind + "." + r.Group
}
