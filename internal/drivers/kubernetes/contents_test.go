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

// TestAPartOfWhatStaysIsNoPart: an owner that lies outside of the namespace
// does not go with it.
func TestAPartOfWhatStaysIsNoPart(t *testing.T) {
	r := newRig(t)
	inLab := func(name string) string {
		return strings.Replace(settings(name, "1"), "namespace: shop", "namespace: lab", 1)
	}
	r.good(stays, namespaceLab, inLab("ours"))
	owned := func(name, kind, owner, uid string) string {
		return strings.Replace(inLab(name), "  namespace: lab", "  namespace: lab\n  ownerReferences: [{apiVersion: v1, kind: "+kind+", name: "+owner+", uid: "+uid+"}]", 1)
	}
	r.Set("kubectl", owned("part", "ConfigMap", "ours", string(r.Get("v1", "ConfigMap", "lab", "ours").GetUID())))
	if text := show(r.plan(stays)); strings.Contains(text, "takes along") {
		t.Errorf("%s", text)
	}
	r.Set("kubectl", owned("tenant", "Node", "n1", "1-2-3"))
	if text := show(r.plan(stays)); !strings.Contains(text, "by itself: ConfigMap/lab/tenant\"") {
		t.Errorf("%s", text)
	}
}

// TestPartsThatFollowLater hold no namespace up.
func TestPartsThatFollowLater(t *testing.T) {
	r := newRig(t)
	inLab := func(name string) string {
		return strings.Replace(settings(name, "1"), "namespace: shop", "namespace: lab", 1)
	}
	r.good(stays, namespaceLab, inLab("ours"))
	uid := string(r.Get("v1", "ConfigMap", "lab", "ours").GetUID())
	r.Set("kubectl", strings.Replace(inLab("part"), "  namespace: lab", "  namespace: lab\n  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: ours, uid: "+uid+"}]", 1))
	if out := r.sync(stays); out.err != nil || r.Get("v1", "Namespace", "", "lab") != nil {
		t.Errorf("%v %v", out.err, out.results)
	}
}
