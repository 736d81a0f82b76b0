package kubernetes_test

import (
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

func TestScope(t *testing.T) {
	for _, c := range []struct {
		scope   kubernetes.Scope
		address plan.Address
		inside  bool
	}{
		{kubernetes.Scope{}, "ClusterRole.rbac.authorization.k8s.io/x", true},
		{kubernetes.Scope{}, "ConfigMap/any/x", true},
		{kubernetes.Scope{Namespaces: []string{"shop", "team-*"}}, "ConfigMap/shop/x", true},
		{kubernetes.Scope{Namespaces: []string{"shop", "team-*"}}, "ConfigMap/team-a/x", true},
		{kubernetes.Scope{Namespaces: []string{"shop", "team-*"}}, "ConfigMap/other/x", false},
		{kubernetes.Scope{Namespaces: []string{"*"}}, "ClusterRole.rbac.authorization.k8s.io/x", false},
		{kubernetes.Scope{Namespaces: []string{"*"}}, "Namespace/shop", false},
		{kubernetes.Scope{Kinds: []string{"*"}}, "Deployment.apps/shop/x", true},
		{kubernetes.Scope{Kinds: []string{"*"}}, "ClusterRole.rbac.authorization.k8s.io/x", false},
		{kubernetes.Scope{Kinds: []string{"*.apps"}}, "Deployment.apps/shop/x", true},
		{kubernetes.Scope{Kinds: []string{"*.apps"}}, "ConfigMap/shop/x", false},
		{kubernetes.Scope{Kinds: []string{"Deployment"}}, "Deployment.apps/shop/x", false},
		{kubernetes.Scope{Kinds: []string{"*", "ClusterRole.rbac.authorization.k8s.io"}}, "ClusterRole.rbac.authorization.k8s.io/x", true},
		{kubernetes.Scope{Kinds: []string{"*", "Namespace"}, Namespaces: []string{"team-*"}}, "Namespace/team-a", true},
		{kubernetes.Scope{Kinds: []string{"*", "Namespace"}, Namespaces: []string{"team-*"}}, "Namespace/shop", false},
		{kubernetes.Scope{Names: []string{"web-*"}}, "ConfigMap/shop/web-1", true},
		{kubernetes.Scope{Names: []string{"web-*"}}, "ConfigMap/shop/db", false},
		{kubernetes.Scope{Names: []string{"web-*"}}, "Namespace/web-1", false},
		{kubernetes.Scope{Namespaces: []string{"shop"}}, "nonsense", false},
	} {
		if got := c.scope.Contains(plan.Key{Address: c.address}, ""); got != c.inside {
			t.Errorf("%+v contains %s: %v", c.scope, c.address, got)
		}
	}
}

// TestScopeHoldsForDeletions: what lies outside is neither asked for nor
// removed.
func TestScopeHoldsForDeletions(t *testing.T) {
	b := newBed(t, nil)
	b.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n")
	b.sync(configMap("one", "v1"), configMapIn("lab", "two", "v1"))
	b.scope = kubernetes.Scope{Namespaces: []string{"shop"}}
	p := b.plan(configMap("one", "v1"))
	if c := b.only(p, "ConfigMap/lab/two", plan.Forget); !strings.Contains(c.Note, "outside") {
		t.Errorf("the note is %q", c.Note)
	}
	b.mustApply(p, configMap("one", "v1"))
	if b.Get("v1", "ConfigMap", "lab", "two") == nil {
		t.Error("an object outside the scope was removed")
	}
	_, err := b.session.Plan(t.Context(), b.input(configMap("one", "v1"), configMapIn("lab", "two", "v1")))
	if err == nil || !strings.Contains(err.Error(), "outside the target's scope") {
		t.Errorf("asking for an object outside gives %v", err)
	}
}

func TestConnectNamesItsMistakes(t *testing.T) {
	for field, c := range map[string]kubernetes.Connect{
		"kubeconfig":            {},
		"inCluster":             {Kubeconfig: "mem:k", InCluster: true},
		"as.user":               {InCluster: true, As: &kubernetes.As{}},
		"as":                    {InCluster: true, As: &kubernetes.As{User: "x"}, ServiceAccounts: []string{"a/*"}},
		"serviceAccounts[0]":    {InCluster: true, ServiceAccounts: []string{"shop"}},
		"requireServiceAccount": {InCluster: true, RequireServiceAccount: true},
		"conflicts":             {InCluster: true, Conflicts: "fight"},
		"managers[0]":           {InCluster: true, Managers: []string{"["}},
		"recreate[0]":           {InCluster: true, Recreate: []string{""}},
		"sops.types[0]":         {InCluster: true, SOPS: &kubernetes.SOPS{Types: []string{"gpg"}}},
		"sources[0].url":        {InCluster: true, Sources: []registry.Source{{URL: "ftp://x"}}},
		"timeout":               {InCluster: true, Timeout: -time.Second},
		"qps":                   {InCluster: true, QPS: -1},
		"watch":                 {InCluster: true, Attention: kubernetes.Attention{Watch: "maybe"}},
	} {
		d := c.Validate()
		if len(d) != 1 || d[0].Field != field {
			t.Errorf("%s: %v", field, d)
		}
	}
	good := kubernetes.Connect{Kubeconfig: "mem:k", ServiceAccounts: []string{"shop/*"}, RequireServiceAccount: true, Conflicts: kubernetes.Force, Recreate: []string{"Job.batch"}}
	if d := good.Validate(); len(d) != 0 {
		t.Errorf("%v", d)
	}
	all := kubernetes.Connect{Conflicts: "x", QPS: -1}
	if d := all.Validate(); len(d) != 3 {
		t.Errorf("all at once: %v", d)
	}
}

// TestServiceAccounts: every request of a target is made as its service
// account, and only as one that the operator allows.
func TestServiceAccounts(t *testing.T) {
	b := newBed(t, func(c *kubernetes.Connect) {
		c.ServiceAccounts, c.RequireServiceAccount = []string{"shop/deploy*"}, true
	})
	for account, says := range map[string]string{"": "asks every target", "shop/admin": "does not allow shop/admin", "kube-system/deployer": "does not allow"} {
		b.spec.ServiceAccount = account
		if _, err := b.session.Plan(t.Context(), b.input(configMap("one", "v1"))); !driver.IsPermanent(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", account, err)
		}
	}
	b.spec.ServiceAccount = "shop/deployer"
	b.Forget()
	b.sync(configMap("one", "v1"))
	if n := b.Count(func(r kubefake.Request) bool {
		return r.Resource.Resource == "configmaps" && r.User != "system:serviceaccount:shop:deployer"
	}); n != 0 {
		t.Errorf("%d requests were made as somebody else", n)
	}
	if n := b.Count(func(r kubefake.Request) bool { return r.User == "system:serviceaccount:shop:deployer" }); n == 0 {
		t.Error("nobody was impersonated")
	}
}
