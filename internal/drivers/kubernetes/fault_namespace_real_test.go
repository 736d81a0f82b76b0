//go:build real

package kubernetes_test

import (
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// lab is a namespace that belongs to the target itself.
func (s *site) lab() (name, doc string) {
	name = s.ns + "-lab"
	s.t.Cleanup(func() { _, _ = cluster.Run("delete", "namespace", name, "--ignore-not-found", "--wait=false") })
	return name, "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}"
}

func inNamespaceOf(ns, doc string) string {
	return strings.Replace(doc, "namespace: shop", "namespace: "+ns, 1)
}

func TestNamespaceDeletedByHand(t *testing.T) {
	s := newSite(t)
	lab, ns := s.lab()
	docs := []string{ns, inNamespaceOf(lab, settings("a", "one")), inNamespaceOf(lab, deployment("web", "1")), settings("other", "one")}
	s.good(docs...)
	cluster.Kubectl(t, "delete", "namespace", lab)
	p := s.plan(docs...)
	if len(p.Changes) != 3 {
		t.Errorf("the namespace and what was in it are to be made anew:\n%s", show(p))
	}
	for _, c := range p.Changes {
		if c.Action != plan.Create || c.Reason != plan.ByDrift {
			t.Errorf("%s %s by %s", c.Action, c.Address, c.Reason)
		}
	}
	s.good(docs...)
	if got := cluster.Kubectl(t, "-n", lab, "get", "configmap", "a", "-o", "jsonpath={.data.value}"); got != "one" {
		t.Errorf("a is %q", got)
	}
}

// A namespace that is being deleted and does not end: nothing can be made in
// it, the rest goes on, and it ends in bounded time.
func TestNamespaceThatTerminates(t *testing.T) {
	s := newSite(t)
	lab, ns := s.lab()
	docs := []string{ns, inNamespaceOf(lab, settings("a", "one")), settings("other", "one")}
	s.good(docs...)
	hold := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hold, namespace: " + lab + ", finalizers: [example.com/never]}"
	if _, err := cluster.RunIn(hold, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	release := func() {
		_, _ = cluster.Run("-n", lab, "patch", "configmap", "hold", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
	defer release()
	cluster.Kubectl(t, "delete", "namespace", lab, "--wait=false")
	eventually(t, "what is in the namespace is gone", func() bool {
		out, _ := cluster.Run("-n", lab, "get", "configmap", "a", "--ignore-not-found", "-o", "name")
		return out == ""
	})
	next := []string{docs[0], docs[1], settings("other", "two")}
	p := s.plan(next...)
	begin := time.Now()
	out := s.apply(t.Context(), p, next...)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := s.value("other"); got != "two" {
		t.Errorf("the rest did not go on: other is %q\n%s%v", got, show(p), out.err)
	}
	for a, r := range out.results {
		if strings.Contains(string(a), lab) && (r.Outcome == plan.Applied || r.Error == "") {
			t.Errorf("%s is %s: %s", a, r.Outcome, r.Error)
		}
	}
	if r := out.results[plan.Address("Namespace/"+lab)]; !strings.Contains(r.Error, "deleted") || !strings.Contains(r.Error, "example.com/never") {
		t.Errorf("what it waits for is not said: %s", r.Error)
	}
	release()
	eventually(t, "the namespace is gone", func() bool {
		out, _ := cluster.Run("get", "namespace", lab, "--ignore-not-found", "-o", "name")
		return out == ""
	})
	s.good(next...)
}

// A finalizer that nobody takes off: the deletion is reported as one that goes
// on, in bounded time, and the object stays ours until it is gone.
func TestFinalizerThatNeverEnds(t *testing.T) {
	s := newSite(t)
	keep := strings.Replace(settings("stuck", "one"), "  namespace: shop\n", "  namespace: shop\n  finalizers: [example.com/never]\n", 1)
	s.good(keep, settings("a", "one"), settings("gone", "one"))
	release := func() {
		_, _ = cluster.Run("-n", s.ns, "patch", "configmap", "stuck", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
	defer release()
	begin := time.Now()
	out := s.sync(settings("a", "one"))
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	out.is(t, s.address("ConfigMap", "gone"), plan.Applied, "")
	stuck := s.address("ConfigMap", "stuck")
	if r := out.results[stuck]; r.Outcome == plan.Applied || !strings.Contains(r.Error, "example.com/never") {
		t.Errorf("%s: %s", r.Outcome, r.Error)
	}
	if _, owned := s.owned[plan.Key{Address: stuck}]; !owned {
		t.Error("what is still there is owned no more")
	}
	// Asked for again while it goes: it can't be had before it is gone.
	out = s.sync(keep, settings("a", "one"))
	if r := out.results[stuck]; r.Outcome == plan.Applied {
		t.Errorf("an object that is being deleted was taken for one that stays: %+v", r)
	}
	release()
	eventually(t, "it is gone", func() bool { return s.value("stuck") == "" })
	s.good(settings("a", "one"))
	if _, owned := s.owned[plan.Key{Address: stuck}]; owned {
		t.Error("what is gone is still owned")
	}
}
