package argocd

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

const (
	localServer = "https://kubernetes.default.svc"
	localName   = "in-cluster"
)

// cluster is one that Argo CD deploys to.
type cluster struct {
	name, server, environment string
	labels, annotations       map[string]string
	project                   string
	local                     bool
	told                      bool // what it needs was noted
}

// findClusters lists the clusters: those of Secrets, and the one that Argo CD
// runs in.
func (c *converter) findClusters() {
	names := handover.Names{c.Environment: true}
	local := &cluster{name: localName, server: localServer, environment: c.Environment, local: true}
	c.clusters = append(c.clusters, local)
	for _, o := range c.set.Of("", "Secret") {
		if o.GetLabels()[secretType] != "cluster" {
			continue
		}
		data := o.At("stringData")
		name, server := data.At("name").Text(), strings.TrimRight(data.At("server").Text(), "/")
		data.Ignore("config", "shard")
		for _, f := range []string{"namespaces", "clusterResources"} {
			if v := data.At(f); v.Text() != "" {
				c.out.Lost(o, f, "what of a cluster may be used is up to the grants of its environment", "narrow allow.scope of the environment")
			}
		}
		x := &cluster{name: cmp.Or(name, server), server: server, labels: o.GetLabels(), annotations: o.GetAnnotations(), project: data.At("project").Text()}
		if server == localServer {
			*local = cluster{name: x.name, server: server, environment: c.Environment, labels: x.labels, annotations: x.annotations, local: true}
		} else {
			x.environment = names.Take(clusterName(x.name))
			c.clusters = append(c.clusters, x)
		}
		o.At("metadata").Ignore()
		o.Ignore("type")
	}
}

// clusterName makes a name of a cluster's name or address.
func clusterName(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return text
}

// cluster finds the destination of an Application.
func (c *converter) cluster(o *handover.Object, dest *handover.Fields) *cluster {
	server, name := strings.TrimRight(dest.At("server").Text(), "/"), dest.At("name").Text()
	for _, x := range c.clusters {
		if server != "" && x.server == server || name != "" && x.name == name {
			return x
		}
	}
	switch name {
	case localName:
		return c.clusters[0]
	case "":
		if server == "" {
			c.out.Lost(o, dest.Path(), "it names no cluster", "the environment "+c.Environment+" is taken")
			return c.clusters[0]
		}
	}
	x := &cluster{name: cmp.Or(name, server), server: server, environment: handover.Clean(clusterName(cmp.Or(name, server)))}
	c.clusters = append(c.clusters, x)
	return x
}

// way is one view of a cluster: what decides which policy holds.
type way struct {
	cluster *cluster
	drift   string // correct or report
	manual  bool   // a person starts every sync
	windows []string
	of      string // whose windows they are
}

// environment gives the environment for a way into a cluster. Argo CD decides
// for each Application what trueup decides for an environment, so that one
// cluster may be several of them.
func (c *converter) environment(w way) *handover.Environment {
	name := w.cluster.environment
	switch {
	case w.manual:
		name += "-manual"
	case w.drift == "report":
		name += "-report"
	}
	k := name + " " + strings.Join(w.windows, ", ")
	if env := c.environments[k]; env != nil {
		return env
	}
	if len(w.windows) > 0 {
		name = c.envNames.Take(name + "-" + w.of)
	} else {
		c.envNames[name] = true
	}
	ref, file := handover.SecretFile(w.cluster.environment, "kubeconfig")
	env := &handover.Environment{Name: name, Driver: "kubernetes", Policy: name, Connect: handover.Connect{Kubeconfig: ref, Managers: slices.Clone(managers)}}
	c.environments[k] = env
	c.out.Environments = append(c.out.Environments, env)
	p := &handover.Policy{Name: name, Drift: w.drift, Windows: w.windows, DriftInterval: c.settings.interval}
	if w.manual {
		p.Approve = []handover.Approval{{By: []string{"team:operators"}, Count: 1}}
		c.out.Fill("policy "+name, "approve", "Applications without automated sync are applied when a person says so", "put those who may into the team operators, in server.yaml under users, or name others under approve of the policy "+name)
	}
	c.out.Policies = append(c.out.Policies, p)
	if !w.cluster.told {
		w.cluster.told = true
		c.out.Fill("cluster "+w.cluster.name, "", "trueup needs a way in",
			"put a kubeconfig with a token or a client certificate into "+file+" beside server.yaml; where trueup runs in that cluster, write connect: { inCluster: true } in its place")
	}
	return env
}

// managers are the field managers of Argo CD: what they own is taken over when
// trueup adopts an object. People with kubectl are among them, so that their
// edits stay drift.
var managers = []string{"kubectl*", "argocd-controller", "argocd-application-controller", "before-first-apply"}

// sortedKeys gives the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
