package argocd

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// application makes the targets of an Application: one for each source that
// gives manifests.
func (c *converter) application(o *handover.Object) {
	c.annotations(o)
	o.Ignore("operation", "each")
	spec := o.At("spec")
	spec.Ignore("info")
	project := cmp.Or(spec.At("project").Text(), "default")
	dest := spec.At("destination")
	cl := c.cluster(o, dest)
	if n := spec.At("revisionHistoryLimit"); n.Has() {
		n.Ignore()
		c.out.Differs(o, n.Path(), "how many runs are kept is set for the whole server", "see limits.keepRuns")
	}
	sources := c.sources(o)
	if c.onlyDefinitions(o) {
		spec.Ignore()
		return
	}
	a := &app{Object: o, cluster: cl, namespace: dest.At("namespace").Text(), project: project, refs: map[string]*handover.Fields{}}
	var give []*handover.Fields
	for _, s := range sources {
		if ref := s.At("ref").Text(); ref != "" {
			a.refs[ref] = s
		}
		if s.At("path").Has() || s.At("chart").Has() || !s.At("ref").Has() {
			give = append(give, s)
		} else {
			s.Ignore("repoURL", "targetRevision", "name")
		}
	}
	a.sync = c.syncPolicy(a)
	a.ignore = c.ignoreDifferences(o)
	for i, s := range give {
		name := o.GetName()
		if i > 0 {
			name += "-" + cmp.Or(s.At("name").Text(), strconv.Itoa(i+1))
		}
		s.Ignore("name")
		c.source(a, s, name)
	}
	if len(give) > 1 {
		c.out.Differs(o, "spec.sources", fmt.Sprintf("it has %d sources of manifests; each becomes a target", len(give)), "where two of them give the same object, keep it in one: a target does not overwrite another's")
	}
}

// app is an Application on its way.
type app struct {
	*handover.Object
	cluster   *cluster
	namespace string
	project   string
	refs      map[string]*handover.Fields // sources that others take values from
	sync      sync
	ignore    []handover.Ignore
}

// sources gives the sources, however they are written.
func (c *converter) sources(o *handover.Object) []*handover.Fields {
	spec := o.At("spec")
	if h := spec.At("sourceHydrator"); h.Has() {
		h.Ignore("syncSource", "hydrateTo")
		c.out.Differs(o, h.Path(), "trueup renders by itself: the dry source is taken, and no branch with rendered manifests is written", "let trueup follow the dry source, as it is written")
		return []*handover.Fields{h.At("drySource")}
	}
	if list := spec.At("sources").Items(); len(list) > 0 {
		return list
	}
	return []*handover.Fields{spec.At("source")}
}

// target begins a target for an Application's source in a repository.
func (c *converter) target(a *app, r *handover.Repository, name string) (*handover.Target, *handover.Environment) {
	names := c.targetNames[r.Name]
	if names == nil {
		names = handover.Names{}
		c.targetNames[r.Name] = names
	}
	if strings.Contains(name, "{") { // of a set: one target for each directory
		name = notInNames.ReplaceAllString(strings.ReplaceAll(name, "{each}", "{dir}"), "-")
		names[name] = true
	} else {
		name = names.Take(name, a.GetNamespace()+"-"+name)
	}
	way := way{cluster: a.cluster, drift: a.sync.drift, manual: a.sync.manual}
	way.windows, way.of = c.windows(a)
	env := c.environment(way)
	t := &handover.Target{Name: name, Each: text(a.Object.Object["each"]), Environment: env.Name, Repository: r.Name, Mode: a.sync.mode, From: []*handover.Object{a.Object}}
	t.Spec.CreateNamespace = a.sync.createNamespace
	t.Spec.Namespace, t.Spec.IgnoreDifferences = a.namespace, slices.Clone(a.ignore)
	c.account(a, t, env)
	r.Targets = append(r.Targets, t)
	c.targets[a.Key()] = append(c.targets[a.Key()], t)
	return t, env
}

// notInNames is what the name of a target for each directory may not have.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9._{}-]+`)

// account is the service account that the project deploys as to the
// destination.
func (c *converter) account(a *app, t *handover.Target, env *handover.Environment) {
	p := c.set.Find(group, "AppProject", a.GetNamespace(), a.project)
	if p == nil {
		return
	}
	for _, d := range p.At("spec", "destinationServiceAccounts").Items() {
		sa := d.At("defaultServiceAccount").Text()
		if !globMatch(d.At("server").Text(), a.cluster.server) || !globMatch(d.At("namespace").Text(), a.namespace) || sa == "" {
			continue
		}
		ns, name, ok := strings.Cut(sa, ":")
		if !ok {
			ns, name = a.namespace, sa
		}
		t.Spec.ServiceAccount = ns + "/" + name
		env.Connect.ServiceAccounts = append(env.Connect.ServiceAccounts, t.Spec.ServiceAccount)
		return
	}
}

// onlyDefinitions tells that an Application applies Argo CD's own objects
// alone, and needs no target.
func (c *converter) onlyDefinitions(o *handover.Object) bool {
	own, others, known := c.split(o)
	if !known || len(own) == 0 || len(others) > 0 {
		return false
	}
	c.out.Differs(o, "", fmt.Sprintf("it applies Argo CD's own objects alone (%d); no target is made of it", len(own)), "remove its directory from Git once Argo CD is gone")
	return true
}

// waves carries the order over in which an Application applies others: those
// of a wave wait for those of the one before.
func (c *converter) waves() {
	byParent := map[string][]*handover.Object{}
	for _, o := range c.set.Of(group, "Application") {
		if p := c.parent(o); p != nil && p.Is(group, "Application") {
			byParent[p.Key()] = append(byParent[p.Key()], o)
		}
	}
	for _, o := range append(c.set.Of(group, "Application"), c.made...) {
		if w := o.At("metadata", "annotations", waveAnnotation); w.Has() && w.Text() != "0" && c.parent(o) == nil {
			c.out.Lost(o, w.Path(), "targets have no waves, and what applies this Application is not known", "say with dependsOn which targets come first")
		}
	}
	for _, parent := range sortedKeys(byParent) {
		all := byParent[parent]
		for _, o := range all {
			w := wave(o)
			o.At("metadata", "annotations").Ignore(waveAnnotation)
			before, found := 0, false
			for _, x := range all {
				if n := wave(x); n < w && (!found || n > before) {
					before, found = n, true
				}
			}
			if found {
				c.waitFor(o, all, before)
			}
		}
	}
}

const waveAnnotation = "argocd.argoproj.io/sync-wave"

func wave(o *handover.Object) int {
	n, err := strconv.Atoi(o.GetAnnotations()[waveAnnotation])
	if err != nil {
		return 0
	}
	return n
}

func (c *converter) waitFor(o *handover.Object, all []*handover.Object, wanted int) {
	for _, t := range c.targets[o.Key()] {
		for _, x := range all {
			if wave(x) != wanted {
				continue
			}
			for _, first := range c.targets[x.Key()] {
				name := first.Name
				if first.Repository != t.Repository {
					name = first.Repository + "/" + name
				}
				if !slices.Contains(t.DependsOn, name) {
					t.DependsOn = append(t.DependsOn, name)
				}
			}
		}
		slices.Sort(t.DependsOn)
	}
}
