//go:build real

// Package wellknown_test applies charts and manifests that people really run,
// from the Go modules of their projects, to a real API server: the plan after
// the apply is empty, kubectl sees what was asked for and finds no difference,
// and what is destroyed is gone.
package wellknown_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/kubetest"
	"trueup.dev/trueup/internal/servertest/manifests"
)

// leftOut are sets that are not applied here, and why. How all of them render
// is tested where they are rendered.
var leftOut = map[string]string{
	"metrics-server":         "it asks for policy/v1beta1, which Kubernetes 1.25 dropped",
	"kueue-chart":            "kueue has the same objects",
	"jobset":                 "jobset-chart has the same objects",
	"external-dns":           "external-dns-chart has the same objects",
	"node-feature-discovery": "node-feature-discovery-chart has the same objects",
	"cloud-provider-aws":     "cloud-provider-aws-chart has the same objects",
	"cert-manager":           "cluster-api needs it",
	"istio-base-chart":       "istiod-chart needs it",
}

func TestPlanAfterApplyIsEmpty(t *testing.T) {
	for _, set := range manifests.All {
		if why := leftOut[set.Name]; why != "" {
			t.Logf("%s is left out: %s", set.Name, why)
			continue
		}
		t.Run(set.Name, func(t *testing.T) {
			// A cluster for each: some bring admission webhooks that nobody answers.
			cluster := kubetest.Start(t)
			if set.Needs != "" {
				needed, ok := manifests.Get(set.Needs)
				if !ok {
					t.Fatalf("there is no set %q", set.Needs)
				}
				under := newCase(t, cluster, needed)
				under.apply()
				defer under.destroy()
			}
			c := newCase(t, cluster, set)
			c.apply()
			if p := c.plan(plan.Apply); !p.Empty() {
				t.Errorf("the plan after the apply is not empty:\n%s", listed(p))
			}
			c.fresh()
			if p := c.plan(plan.Apply); !p.Empty() {
				t.Errorf("the plan in a new session is not empty:\n%s", listed(p))
			}
			c.kubectlAgrees()
			c.destroy()
		})
	}
}

// instance is one set as a target.
type instance struct {
	*testing.T
	cluster *kubetest.Cluster
	set     manifests.Set
	session driver.Session
	in      driver.Input
}

func newCase(t *testing.T, cluster *kubetest.Cluster, set manifests.Set) *instance {
	t.Helper()
	root, err := set.Root()
	if err != nil {
		t.Fatal(err)
	}
	spec := &kubernetes.Spec{Spec: render.Spec{Render: render.Format(set.Format), Namespace: set.Namespace, Include: set.Include}, CreateNamespace: set.Namespace != ""}
	if set.Format == "helm" {
		spec.Helm = &render.HelmSpec{ReleaseName: "known", Values: set.Values}
	}
	c := &instance{T: t, cluster: cluster, set: set, in: driver.Input{Target: set.Name, Tree: os.DirFS(root), Path: set.Dir, Spec: spec, Scope: &kubernetes.Scope{},
		Inventory: driver.Inventory{}, Now: time.Now()}}
	c.fresh()
	return c
}

// fresh opens a session that remembers nothing.
func (c *instance) fresh() {
	c.Helper()
	env := driver.Environment{Name: "cluster", Connect: &kubernetes.Connect{Kubeconfig: "file:kubeconfig"}, HashKey: []byte("0123456789abcdef"),
		Secret: func(context.Context, secret.Ref) (secret.Value, error) {
			b, err := os.ReadFile(c.cluster.Kubeconfig)
			return secret.New(string(b)), err
		}}
	s, err := kubernetes.New().Open(c.Context(), env, driver.Write)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = s.Close() })
	c.session = s
}

func (c *instance) plan(mode plan.Mode) *plan.Plan {
	c.Helper()
	c.in.Mode, c.in.Prepared = mode, nil
	p, err := c.session.Plan(c.Context(), c.in)
	if err != nil {
		c.Fatal(err)
	}
	p.Target, p.Mode = c.in.Target, mode
	for _, s := range p.Scopes {
		if s.Unknown != "" {
			c.Fatal(s.Unknown)
		}
	}
	return p
}

// carryOut applies a plan, of which everything has to succeed.
func (c *instance) carryOut(p *plan.Plan) {
	c.Helper()
	j := drivertest.NewJournal(c.in.Inventory, p)
	err := c.session.Apply(c.Context(), c.in, p, j)
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied {
			c.Errorf("%s %s: %s: %s", r.Action, r.Key, r.Outcome, r.Error)
		}
	}
	if err != nil || c.Failed() {
		c.Fatal(err)
	}
	c.in.Inventory = j.Inventory()
}

func (c *instance) apply() { c.carryOut(c.plan(plan.Apply)) }

// destroy removes everything, and looks that it is gone.
func (c *instance) destroy() {
	c.Helper()
	p := c.plan(plan.Destroy)
	for i := range p.Changes {
		p.Changes[i].Conflict = "" // somebody approved: with an API that nobody serves it can't be told what goes with a namespace
	}
	c.carryOut(p)
	for i := range p.Changes {
		// What a chart wants to be kept is given up.
		k, kept := p.Changes[i].Key, p.Changes[i].Action == plan.Forget
		if out, err := c.get(k.Address); err != nil || kept == (strings.TrimSpace(out) == "") && !c.madeAnew(k.Address) {
			c.Errorf("%s: %s: kubectl sees %q, %v", p.Changes[i].Action, k, out, err)
		}
	}
}

// madeAnew tells that a cluster role is there again because the controller of
// aggregated roles, which applies them, has not yet heard that it went.
func (c *instance) madeAnew(a plan.Address) bool {
	c.Helper()
	name, ok := strings.CutPrefix(string(a), "ClusterRole.rbac.authorization.k8s.io/")
	if !ok {
		return false
	}
	return c.cluster.Kubectl(c, "get", "clusterrole", name, "-o", "jsonpath={.metadata.managedFields[*].manager}") == "clusterrole-aggregation-controller"
}

func (c *instance) get(a plan.Address) (string, error) {
	ref, err := manifest.ParseAddress(a)
	if err != nil {
		return "", err
	}
	args := []string{"get", "--ignore-not-found", "-o", "name", strings.TrimSuffix(ref.Kind+"."+ref.Group, "."), ref.Name}
	if ref.Group == "" {
		args[4] = ref.Kind
	}
	if ref.Namespace != "" {
		args = append(args, "-n", ref.Namespace)
	}
	return c.cluster.Run(args...)
}

// kubectlAgrees looks with kubectl: every object is there, and a server-side
// apply of the rendered objects in our name would change nothing.
func (c *instance) kubectlAgrees() {
	c.Helper()
	for k := range c.in.Inventory {
		if out, err := c.get(k.Address); err != nil || strings.TrimSpace(out) == "" {
			c.Errorf("kubectl does not see %s: %s %v", k, out, err)
		}
	}
	res, err := render.Render(c.Context(), render.Input{Tree: c.in.Tree, Path: c.in.Path, Spec: c.in.Spec.(*kubernetes.Spec).Spec})
	if err != nil {
		c.Fatal(err)
	}
	var placed, rest strings.Builder // kubectl takes a namespace only for objects that name none
	for i := range res.Objects {
		o := &res.Objects[i]
		if o.GetAnnotations()["helm.sh/hook"] != "" {
			continue
		}
		if _, aggregated := o.Object["aggregationRule"]; aggregated {
			delete(o.Object, "rules") // a controller's
		}
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			c.Fatal(err)
		}
		to := &rest
		if o.GetNamespace() != "" {
			to = &placed
		}
		fmt.Fprintf(to, "---\n%s", b)
	}
	c.diff(placed.String())
	c.diff(rest.String(), "-n", cmp.Or(c.set.Namespace, "default"))
}

func (c *instance) diff(docs string, args ...string) {
	c.Helper()
	if docs == "" {
		return
	}
	args = append([]string{"diff", "--server-side", "--field-manager=trueup", "-f", "-"}, args...)
	if out, err := c.cluster.RunIn(docs, args...); err != nil {
		c.Errorf("kubectl diff: %v\n%.2000s", err, out)
	}
}

func listed(p *plan.Plan) string {
	var b strings.Builder
	for i := range p.Changes {
		c := &p.Changes[i]
		fmt.Fprintf(&b, "%s %s %s %s %s\n  %.600s\n  %.600s\n", c.Action, c.Key, c.Reason, c.Note, c.Conflict, c.Before, c.After)
	}
	return b.String()
}
