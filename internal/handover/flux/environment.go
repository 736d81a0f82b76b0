package flux

import (
	"cmp"
	"slices"

	"trueup.dev/trueup/internal/handover"
)

// managers are the field managers of Flux's controllers: what they own is
// taken over when trueup adopts an object. People with kubectl are among
// them, so that their edits stay drift.
var managers = []string{"kubectl*", "kustomize-controller", "helm-controller", "helm", "before-first-apply"}

// environment gives the environment of a Kustomization or HelmRelease: one for
// each cluster, and one more where drift is reported and not corrected.
func (c *converter) environment(o *handover.Object, drift string) *handover.Environment {
	cluster := c.cluster(o)
	name := cluster
	if drift == "report" {
		name += "-report"
	}
	env := c.environments[name]
	if env == nil {
		ref, file := handover.SecretFile(cluster, "kubeconfig")
		env = &handover.Environment{Name: name, Driver: "kubernetes", Policy: name, Connect: handover.Connect{Kubeconfig: ref, Managers: slices.Clone(managers)}}
		c.environments[name] = env
		c.out.Environments = append(c.out.Environments, env)
		c.out.Policies = append(c.out.Policies, &handover.Policy{Name: name, Drift: drift})
		c.out.Fill("cluster "+cluster, "", "trueup needs a way in",
			"put a kubeconfig with a token or a client certificate into "+file+" beside server.yaml; where trueup runs in that cluster, write connect: { inCluster: true } in its place")
	}
	c.interval(o, name)
	return env
}

// cluster names the cluster that an object is applied to.
func (c *converter) cluster(o *handover.Object) string {
	k := o.At("spec", "kubeConfig")
	if !k.Has() {
		return c.Environment
	}
	secret, config := k.At("secretRef", "name").Text(), k.At("configMapRef", "name").Text()
	k.At("secretRef").Ignore("key")
	if secret != "" {
		c.out.Fill(handover.Name("Secret", o.GetNamespace(), secret), "", "secrets are not copied",
			"it holds the kubeconfig of the environment "+handover.Clean(secret)+": its content is what server.yaml's file for that cluster needs")
	} else {
		c.out.Lost(o, "spec.kubeConfig.configMapRef", "trueup logs in by a kubeconfig, not by the identity of a cloud provider", "write a kubeconfig with a token for that cluster; one that runs a program needs allowExec")
	}
	return handover.Clean(cmp.Or(secret, config, c.Environment))
}

// interval lets drift be looked for as often as the busiest object asked.
func (c *converter) interval(o *handover.Object, policy string) {
	d := handover.Duration(o.At("spec", "interval").Duration())
	for _, p := range c.out.Policies {
		if p.Name != policy || d == 0 {
			continue
		}
		if p.DriftInterval != 0 && p.DriftInterval != d {
			c.out.Differs(o, "spec.interval", "drift is looked for at the interval of the environment's policy", "the shortest one is written; an environment of its own may have another")
		}
		if p.DriftInterval == 0 || d < p.DriftInterval {
			p.DriftInterval = d
		}
	}
}

// place puts a target into a repository: its name there, its environment, and
// the grant that lets it be applied.
func (c *converter) place(t *handover.Target, o *handover.Object, r *handover.Repository, env *handover.Environment) {
	names := c.targetNames[r.Name]
	if names == nil {
		names = handover.Names{}
		c.targetNames[r.Name] = names
	}
	t.Name = names.Take(o.GetName(), o.GetNamespace()+"-"+o.GetName(), o.GetNamespace()+"-"+o.GetName()+"-"+o.GetKind())
	t.Environment, t.Repository = env.Name, r.Name
	t.From = append(t.From, o)
	r.Targets = append(r.Targets, t)
	c.targets[key(o.GetKind(), o.GetNamespace(), o.GetName())] = t
}

// account carries the service account over that a target acts as.
func (c *converter) account(o *handover.Object, t *handover.Target, env *handover.Environment) {
	sa := o.At("spec", "serviceAccountName").Text()
	if sa == "" {
		return
	}
	t.Spec.ServiceAccount = o.GetNamespace() + "/" + sa
	env.Connect.ServiceAccounts = append(env.Connect.ServiceAccounts, t.Spec.ServiceAccount)
}

// dependencies turns dependsOn into names of targets, once all are there.
func (c *converter) dependencies() {
	for _, kind := range []string{"Kustomization", "HelmRelease"} {
		group := map[string]string{"Kustomization": kustomizeGroup, "HelmRelease": helmGroup}[kind]
		for _, o := range c.set.Of(group, kind) {
			t := c.targets[key(kind, o.GetNamespace(), o.GetName())]
			for _, d := range o.At("spec", "dependsOn").Items() {
				c.dependency(o, t, kind, d)
			}
		}
	}
}

func (c *converter) dependency(o *handover.Object, t *handover.Target, kind string, d *handover.Fields) {
	ns, name := cmp.Or(d.At("namespace").Text(), o.GetNamespace()), d.At("name").Text()
	if e := d.At("readyExpr"); e.Has() {
		e.Ignore()
		c.out.Lost(o, e.Path(), "a target waits until another was applied and is healthy, not for an expression", "put the expression into a health check of "+name)
	}
	other := c.targets[key(kind, ns, name)]
	switch {
	case t == nil:
	case other == nil:
		c.out.Lost(o, d.Path(), "there is no target for "+handover.Name(kind, ns, name), "add dependsOn by hand when it has one")
	case other.Repository != t.Repository:
		t.DependsOn = append(t.DependsOn, other.Repository+"/"+other.Name)
	default:
		t.DependsOn = append(t.DependsOn, other.Name)
	}
}
