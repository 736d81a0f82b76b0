//go:build real

package kubernetes_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/kubetest"
)

// A controller of somebody's own that owns a field, and a person with kubectl.
func TestFieldsOfOthers(t *testing.T) {
	s := newSite(t)
	s.good(settings("a", "one"), deployment("web", "1"))
	// A person's edit is drift.
	s.kubectl("", "patch", "configmap", "a", "--type=merge", "-p", `{"data":{"value":"by hand"}}`)
	p := s.plan(settings("a", "one"), deployment("web", "1"))
	if len(p.Changes) != 1 || p.Changes[0].Reason != plan.ByDrift || p.Changes[0].Conflict != "" || !strings.Contains(p.Changes[0].Note, ".data.value is owned by kubectl-patch") {
		t.Errorf("a person's edit:\n%s", show(p))
	}
	s.good(settings("a", "one"), deployment("web", "1"))
	if got := s.value("a"); got != "one" {
		t.Errorf("a is %q", got)
	}
	// A field that is not asked for is others' own.
	s.kubectl("", "scale", "deployment", "web", "--replicas=3")
	if p := s.plan(settings("a", "one"), deployment("web", "1")); !p.Empty() {
		t.Errorf("replicas are not asked for, and differ:\n%s", show(p))
	}
	// One that is asked for, and that a controller of somebody's owns, is held.
	s.kubectl(inNamespaceOf(s.ns, settings("a", "by a controller")), "apply", "--server-side", "--force-conflicts", "--field-manager=their-controller", "-f", "-")
	next := []string{settings("a", "two"), deployment("web", "2")}
	p = s.plan(next...)
	var held plan.Change
	for _, c := range p.Changes {
		if c.Address == s.address("ConfigMap", "a") {
			held = c
		}
	}
	if !strings.Contains(held.Conflict, "their-controller") {
		t.Errorf("not held:\n%s", show(p))
	}
	out := s.apply(t.Context(), p, next...)
	out.is(t, held.Address, plan.Skipped, "their-controller")
	out.is(t, s.address("Deployment.apps", "web"), plan.Applied, "")
	if got := s.value("a"); got != "by a controller" {
		t.Errorf("a is %q", got)
	}
	if got := s.kubectl("", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("the deployment has %s replicas", got)
	}
	// By policy it is taken.
	s.change = func(c *kubernetes.Connect) { c.Conflicts = kubernetes.Force }
	s.drop()
	s.good(next...)
	if got := s.value("a"); got != "two" {
		t.Errorf("a is %q", got)
	}
}

// One commit brings a definition and an object of its kind.
func TestDefinitionAndItsObjectInOneCommit(t *testing.T) {
	s := newSite(t)
	group := s.ns + ".example.com"
	swap := strings.NewReplacer("acme.example.com", group, "Widget", "Gadget", "widget", "gadget")
	t.Cleanup(func() {
		_, _ = cluster.Run("delete", "crd", "gadgets."+group, "--ignore-not-found", "--wait=false")
	})
	docs := []string{swap.Replace(widget("one")), swap.Replace(widgets), settings("a", "one")}
	p := s.plan(docs...)
	for _, c := range p.Changes {
		if c.Address == plan.Address("Gadget."+group+"/"+s.ns+"/one") && !strings.Contains(c.Note, "known after apply") {
			t.Errorf("%s: %q", c.Address, c.Note)
		}
	}
	s.good(docs...)
	if got := s.kubectl("", "get", "gadgets."+group, "one", "-o", "jsonpath={.spec.size}"); got != "1" {
		t.Errorf("its size is %q", got)
	}
	s.good(settings("a", "one"))
	if out, _ := cluster.Run("get", "crd", "gadgets."+group, "--ignore-not-found", "-o", "name"); out != "" {
		t.Errorf("%s is still there", out)
	}
}

// The address leads to another cluster by now, one with the same certificates:
// set up anew, or restored elsewhere. Nothing of it is taken for ours.
func TestAnotherClusterAtTheSameAddress(t *testing.T) {
	s := newSite(t)
	docs := []string{settings("a", "one"), settings("b", "one")}
	s.good(docs...)
	p := s.plan(settings("a", "two"))
	realm := p.Scopes[0].Realm
	before := s.fingerprint(docs...)
	cluster.Stop()
	defer func() {
		if err := cluster.Again(); err != nil {
			t.Fatal(err)
		}
		s.drop()
		s.good(docs...)
	}()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "pki"), os.DirFS(filepath.Join(cluster.Dir, "pki"))); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(cluster.URL)
	if err != nil {
		t.Fatal(err)
	}
	other, err := kubetest.StartIn(dir, "-api-only", "-port", at.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	for _, text := range []string{"apiVersion: v1\nkind: Namespace\nmetadata: {name: " + s.ns + "}", inNamespaceOf(s.ns, settings("a", "theirs"))} {
		if _, err := other.RunIn(text, "create", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	if now := s.fingerprint(docs...); now == before || before == "" {
		t.Errorf("the fingerprint was %q and is %q with the new cluster", before, now)
	}
	eventually(t, "the session notices", func() bool {
		_, err = s.try(settings("a", "two"))
		return err == nil || strings.Contains(err.Error(), "another cluster")
	})
	if !errors.Is(err, driver.ErrUnreachable) {
		t.Fatalf("it is taken for the same cluster, or the session is not given up: %v", err)
	}
	out := s.apply(t.Context(), p, settings("a", "two"))
	if !errors.Is(out.err, driver.ErrStale) {
		t.Errorf("a plan for the old cluster is applied to the new one: %v", out.err)
	}
	for a, r := range out.results {
		if r.Outcome != plan.Skipped {
			t.Errorf("%s is %s: %s", a, r.Outcome, r.Error)
		}
	}
	if now := s.plan(docs...); now.Scopes[0].Realm == realm {
		t.Errorf("the new cluster has the old one's realm %s", realm)
	}
	got, err := other.Run("-n", s.ns, "get", "configmap", "a", "-o", "jsonpath={.data.value}")
	if err != nil || got != "theirs" {
		t.Errorf("a of the other cluster is %q, %v", got, err)
	}
}
