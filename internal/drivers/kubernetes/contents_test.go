package kubernetes_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

// TestWhatCameIntoANamespaceAfterThePlan is not deleted along with it.
func TestWhatCameIntoANamespaceAfterThePlan(t *testing.T) {
	r := newRig(t)
	inLab := func(name string) string {
		return strings.Replace(settings(name, "1"), "namespace: shop", "namespace: lab", 1)
	}
	r.good(stays, namespaceLab, inLab("ours"), widgets)
	r.Set("kubectl", inLab("seen"))
	p := r.plan(stays)
	r.Set("kubectl", inLab("unseen"))
	r.Set("kubectl", widget("unseen"))
	out := r.apply(t.Context(), p, stays)
	if r.Get("v1", "ConfigMap", "lab", "unseen") == nil || r.Get("acme.example.com/v1", "Widget", "shop", "unseen") == nil {
		t.Errorf("what nobody saw was deleted: %v", out.results)
	}
	for _, a := range []plan.Address{"Namespace/lab", "CustomResourceDefinition.apiextensions.k8s.io/widgets.acme.example.com"} {
		if !strings.Contains(out.results[a].Error, "/unseen") {
			t.Errorf("%s: %+v", a, out.results[a])
		}
	}
	r.Unset("v1", "ConfigMap", "lab", "unseen")
	r.Unset("acme.example.com/v1", "Widget", "shop", "unseen")
	if out := r.sync(stays); out.err != nil || r.Get("v1", "Namespace", "", "lab") != nil {
		t.Errorf("what was approved does not go: %v %v", out.err, out.results)
	}
}
