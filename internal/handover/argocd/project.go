package argocd

import (
	"slices"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// project carries over what a project says beside its restrictions, which are
// in the grants already.
func (c *converter) project(p *handover.Object) {
	c.annotations(p)
	spec := p.At("spec")
	spec.Ignore("description", "sourceRepos", "permitOnlyProjectScopedClusters")
	if n := spec.At("sourceNamespaces"); len(n.Items()) > 0 {
		n.Ignore()
		c.out.Differs(p, n.Path(), "targets stand in repositories, not in the cluster", "the grants say which repository may use which environment")
	}
	if o := spec.At("orphanedResources"); o.Has() {
		o.Ignore()
		c.out.Differs(p, o.Path(), "objects that no target owns are counted as unmanaged in plans", "nothing")
	}
	if k := spec.At("signatureKeys"); len(k.Items()) > 0 {
		c.signatures(p, k)
	}
	c.roles(p)
	// What only windows and accounts of other Applications ask for is read as
	// well.
	for _, f := range []string{"destinations", "syncWindows", "destinationServiceAccounts", "clusterResourceWhitelist", "clusterResourceBlacklist", "namespaceResourceWhitelist", "namespaceResourceBlacklist"} {
		spec.Ignore(f)
	}
}

// granted is what the project of an Application may use of its cluster; nil is
// all of it.
func (c *converter) granted(a *app) *handover.Scope {
	p := c.set.Find(group, "AppProject", a.GetNamespace(), a.project)
	if p == nil {
		return nil
	}
	return c.scope(p, a.cluster)
}

func projectOf(a *handover.Object) string {
	spec, _ := a.Object["spec"].(map[string]any)
	if p := text(spec["project"]); p != "" {
		return p
	}
	return "default"
}

// scope is what a project may use of a cluster; nil is all of it.
func (c *converter) scope(p *handover.Object, cl *cluster) *handover.Scope {
	out := &handover.Scope{}
	any, all := false, false
	for _, d := range p.At("spec", "destinations").Items() {
		server, name, ns := d.At("server").Text(), d.At("name").Text(), d.At("namespace").Text()
		if strings.HasPrefix(ns, "!") || strings.HasPrefix(server, "!") || strings.HasPrefix(name, "!") {
			c.out.Lost(p, d.Path(), "a scope says what is inside, not what is not", "write the namespaces that are inside under allow.scope")
			continue
		}
		if server != "" && !globMatch(server, cl.server) || name != "" && !globMatch(name, cl.name) {
			continue
		}
		any = true
		if ns == "*" {
			all = true
		} else if ns != "" && !slices.Contains(out.Namespaces, ns) {
			out.Namespaces = append(out.Namespaces, ns)
		}
	}
	if !any {
		return nil
	}
	if all {
		out.Namespaces = nil
	}
	slices.Sort(out.Namespaces)
	c.scopeKinds(p, out, all)
	if len(out.Namespaces)+len(out.Kinds) == 0 {
		return nil
	}
	return out
}

// scopeKinds sets the kinds of a scope. Kinds of the whole cluster are inside
// only if they are named in full.
func (c *converter) scopeKinds(p *handover.Object, s *handover.Scope, all bool) {
	spec := p.At("spec")
	spaced := []string{"*"}
	if list := spec.At("namespaceResourceWhitelist").Items(); len(list) > 0 {
		spaced = nil
		for _, k := range list {
			g, kind := k.At("group").Text(), k.At("kind").Text()
			if g == "" && kind == "*" {
				c.out.Lost(p, k.Path(), "kinds without a group can't be granted without the others", "list them under allow.scope.kinds")
				continue
			}
			spaced = append(spaced, kindGlobs(g, kind)...)
		}
		if len(spaced) == 0 { // an empty list would grant all
			spaced = []string{"Fill.in"}
		}
	}
	for _, f := range []string{"namespaceResourceBlacklist", "clusterResourceBlacklist"} {
		if v := spec.At(f); len(v.Items()) > 0 {
			c.out.Lost(p, v.Path(), "a scope says what is inside, not what is not", "list the kinds that are inside under allow.scope, or let the cluster's own RBAC refuse them")
			v.Ignore()
		}
	}
	var whole []string
	everything := false
	for _, k := range spec.At("clusterResourceWhitelist").Items() {
		g, kind := k.At("group").Text(), k.At("kind").Text()
		k.Ignore("name")
		switch {
		case g == "*" && kind == "*":
			everything = true
		case strings.Contains(g+kind, "*"):
			c.out.Lost(p, k.Path(), "kinds of the whole cluster are granted by name", "list them in full under allow.scope.kinds")
		default:
			whole = append(whole, kindName(g, kind))
		}
	}
	open := slices.Equal(spaced, []string{"*"})
	switch {
	case everything && open && all:
		return // all of it
	case everything:
		whole = append(whole, c.clusterKinds(p)...)
		c.out.Differs(p, "spec.clusterResourceWhitelist", "kinds of the whole cluster are granted by name", "those in use are written; add others to allow.scope.kinds")
	}
	if open && len(whole) == 0 && len(s.Namespaces) > 0 {
		return // what is in the namespaces
	}
	slices.Sort(whole)
	s.Kinds = append(spaced, slices.Compact(whole)...)
}

// clusterKinds lists the kinds without a namespace that the Applications of a
// project have.
func (c *converter) clusterKinds(p *handover.Object) []string {
	out := []string{"Namespace"}
	for _, a := range c.set.Of(group, "Application") {
		if projectOf(a) != p.GetName() {
			continue
		}
		refs, _ := Inventory(a)
		for _, r := range refs {
			if r.Namespace == "" && !slices.Contains(out, kindName(r.Group, r.Kind)) {
				out = append(out, kindName(r.Group, r.Kind))
			}
		}
	}
	return out
}

func kindName(group, kind string) string {
	if group == "" {
		return kind
	}
	return kind + "." + group
}

// kindGlobs writes a pair of group and kind as globs of trueup.
func kindGlobs(group, kind string) []string {
	if group == "*" && kind != "*" {
		return []string{kind, kind + ".*"}
	}
	if group == "*" {
		return []string{"*"}
	}
	return []string{kindName(group, kind)}
}

// signatures lets only signed commits of the project's repositories count.
func (c *converter) signatures(p *handover.Object, keys *handover.Fields) {
	var ids []string
	for _, k := range keys.Items() {
		ids = append(ids, k.At("keyID").Text())
	}
	for _, r := range c.out.Repositories {
		for _, t := range r.Targets {
			if r.Signatures == nil && len(t.From) > 0 && projectOf(t.From[0]) == p.GetName() {
				_, file := handover.SecretFile(r.Name, "signers.asc")
				r.Signatures = &handover.Signatures{Require: "commits", GPG: []string{file}}
				c.out.Fill(p.String(), keys.Path(), "keys are not copied", "put the public keys "+strings.Join(ids, ", ")+" into "+file+" beside server.yaml")
			}
		}
	}
}
