package kubernetes_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

func other(text string) string { return strings.ReplaceAll(text, "app: web", "app: other") }

// TestImmutableFieldIsAReplace that has to be allowed.
func TestImmutableFieldIsAReplace(t *testing.T) {
	for name, c := range map[string]struct {
		connect func(*kubernetes.Connect)
		text    string
		free    bool
	}{
		"by nobody":     {text: other(web("1", "1"))},
		"by the kind":   {text: other(web("1", "1")), free: true, connect: func(c *kubernetes.Connect) { c.Recreate = []string{"Deployment.apps"} }},
		"by annotation": {text: other(web("1", "1", `trueup.dev/recreate: allowed`)), free: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, c.connect)
			b.sync(web("1", "1"))
			was := b.Get("apps/v1", "Deployment", "shop", "web").GetUID()
			p := b.plan(c.text)
			ch := b.only(p, webAddress, plan.Replace)
			if (ch.Conflict == "") != c.free {
				t.Errorf("held by %q, noted %q", ch.Conflict, ch.Note)
			}
			contains(t, ch.Conflict+ch.Note, "immutable")
			contains(t, string(ch.Before), `"app":"web"`)
			contains(t, string(ch.After), `"app":"other"`)
			if im := p.Impact()["object"]; im.Replace != 1 || im.Update != 0 {
				t.Errorf("the impact is %+v", im)
			}
			b.mustApply(approved(p), c.text)
			if b.Get("apps/v1", "Deployment", "shop", "web").GetUID() == was {
				t.Error("it is still the same object")
			}
		})
	}
}

// TestOneRefusedObjectStopsNoOther: all that the server refuses is told at
// once, with its place, and the rest is applied.
func TestOneRefusedObjectStopsNoOther(t *testing.T) {
	b := newBed(t, nil)
	b.Admit(func(r kubefake.Request, u *unstructured.Unstructured) error {
		if u.GetLabels()["bad"] != "" {
			return kubefake.Refused("guard.example.com", "labels may not be bad")
		}
		return nil
	})
	bad := func(name string) string {
		return strings.Replace(configMap(name, "v1"), "metadata:", "metadata:\n  labels: {bad: really}", 1)
	}
	docs := []string{bad("one"), configMap("two", "v1"), bad("three")}
	p := b.plan(docs...)
	if len(p.Changes) != 3 || len(p.Warnings) != 2 {
		t.Fatalf("%s%v", written(p), p.Warnings)
	}
	for _, w := range p.Warnings {
		contains(t, w.Error(), "app/all.yaml:", "labels may not be bad", "ConfigMap/shop/")
	}
	res, err := b.apply(p, docs...)
	if err != nil {
		t.Fatal(err)
	}
	got := map[plan.Address]plan.Outcome{}
	for _, r := range res {
		got[r.Address] = r.Outcome
	}
	if got["ConfigMap/shop/one"] != plan.Failed || got["ConfigMap/shop/two"] != plan.Applied || got["ConfigMap/shop/three"] != plan.Failed {
		t.Errorf("%v", got)
	}
	if b.Get("v1", "ConfigMap", "shop", "two") == nil {
		t.Error("the healthy object was not written")
	}
}

// TestRefusedThoughUnchanged: a rule that came later refuses what was applied
// before; nothing is to be done, so nothing is planned.
func TestRefusedThoughUnchanged(t *testing.T) {
	b := newBed(t, nil)
	b.sync(configMap("one", "v1"))
	b.now = b.now.Add(24 * time.Hour)
	b.Admit(func(kubefake.Request, *unstructured.Unstructured) error {
		return kubefake.Refused("guard.example.com", "nothing any more")
	})
	if p := b.plan(configMap("one", "v1")); !p.Empty() {
		t.Errorf("%s", written(p))
	}
}

func TestRefusalsShowNoSecret(t *testing.T) {
	const canary = "canary-3141"
	text := "apiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\nstringData: {password: " + canary + "}\n"
	b := newBed(t, nil)
	b.Deny(func(r kubefake.Request) error {
		if r.Verb == "apply" {
			return kubefake.Refused("guard.example.com", "password "+canary+" ("+string(r.Body)+") is weak")
		}
		return nil
	})
	p := b.plan(text)
	res, err := b.apply(p, text)
	if err != nil || len(res) != 1 || res[0].Outcome != plan.Failed {
		t.Fatalf("%v, %+v", err, res)
	}
	if err := p.Mask(nil); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{written(p), p.Warnings[0].Error(), res[0].Error} {
		contains(t, in, "refuses it")
		if strings.Contains(in, canary) || strings.Contains(in, "Y2FuYXJ5LTMxNDE") {
			t.Errorf("the secret shows in %s", in)
		}
	}
}

// TestWhatADryRunCantTell is known after the apply.
func TestWhatADryRunCantTell(t *testing.T) {
	b := newBed(t, nil)
	undo := b.Deny(func(r kubefake.Request) error {
		if r.DryRun && r.Resource.Resource == "configmaps" {
			return kubefake.NoDryRun("sideeffects.example.com")
		}
		return nil
	})
	p := b.plan(configMap("one", "v1"))
	c := b.only(p, "ConfigMap/shop/one", plan.Create)
	if !c.Simulated {
		t.Error("it is not simulated")
	}
	contains(t, c.Note, "known after apply", "webhook")
	b.mustApply(p, configMap("one", "v1"))
	undo()

	const there = "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n"
	inLab := configMapIn("lab", "two", "v1")
	docs := []string{configMap("one", "v1"), inLab, there}
	p = b.plan(docs...)
	if len(p.Changes) != 2 || !p.Changes[0].Simulated || p.Changes[1].Simulated {
		t.Fatalf("%s", written(p))
	}
	contains(t, p.Changes[0].Note, "namespace comes with the same commit")
	b.mustApply(p, docs...)
}

// TestMissingNamespace is told with the place that asks for it.
func TestMissingNamespace(t *testing.T) {
	b := newBed(t, nil)
	p := b.plan(configMap("one", "v1"), configMapIn("nowhere", "two", "v1"))
	if len(p.Changes) != 2 || len(p.Warnings) != 1 {
		t.Fatalf("%s%v", written(p), p.Warnings)
	}
	contains(t, p.Warnings[0].Error(), "app/all.yaml", "nowhere")
}

// TestMissingKind heals by itself once the kind is there.
func TestMissingKind(t *testing.T) {
	b := newBed(t, nil)
	b.spec.Wait.Kinds = 50 * time.Millisecond
	gadget := "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: one, namespace: shop}\nspec: {size: 1}\n"
	p := b.plan(configMap("one", "v1"), gadget)
	if len(p.Changes) != 2 || len(p.Warnings) != 1 {
		t.Fatalf("%s%v", written(p), p.Warnings)
	}
	contains(t, p.Warnings[0].Error(), "app/all.yaml", "Gadget", "example.com/v1")
	if _, err := b.apply(p, configMap("one", "v1"), gadget); err != nil {
		t.Fatal(err)
	}
	b.Set("kubectl", gadgets)
	time.Sleep(1100 * time.Millisecond) // what is missing is asked for again after a second
	b.sync(configMap("one", "v1"), gadget)
}

const gadgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
  group: example.com
  names: {kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}]
`

// TestDefinitionAndObjectInOneCommit: the object is planned as known after the
// apply.
func TestDefinitionAndObjectInOneCommit(t *testing.T) {
	b := newBed(t, nil)
	gadget := "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: one, namespace: shop}\nspec: {size: 1}\n"
	p := b.plan(gadget, gadgets)
	var c plan.Change
	for i := range p.Changes {
		if strings.HasPrefix(string(p.Changes[i].Address), "Gadget") {
			c = p.Changes[i]
		}
	}
	if c.Address != "Gadget.example.com/shop/one" || !c.Simulated {
		t.Fatalf("%s", written(p))
	}
	b.mustApply(p, gadget, gadgets)
}

// TestPlansAfterAnApplyCostNoDryRun, and one that was reverted is found.
func TestPlansAfterAnApplyCostNoDryRun(t *testing.T) {
	b := newBed(t, nil)
	docs := []string{web("1", "1"), configMap("one", "v1"), configMap("two", "v1")}
	b.sync(docs...)
	b.Edit("kube-controller-manager", "apps/v1", "Deployment", "shop", "web", "status", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(1), "status", "readyReplicas")
	})
	b.Forget()
	if p := b.plan(docs...); !p.Empty() {
		t.Fatalf("%s", written(p))
	}
	if n := b.Count(kubefake.DryRuns); n != 0 {
		t.Errorf("%d dry runs although nothing moved", n)
	}
	b.now = b.now.Add(24 * time.Hour)
	b.plan(docs...)
	if n := b.Count(kubefake.DryRuns); n != 3 {
		t.Errorf("%d dry runs after a day", n)
	}
}

// TestRevertedByAWebhook: an admission hook takes the change back when it is
// applied for good; reading back finds that.
func TestRevertedByAWebhook(t *testing.T) {
	b := newBed(t, nil)
	b.sync(configMap("one", "v1"))
	b.Admit(func(r kubefake.Request, u *unstructured.Unstructured) error {
		if u.GetName() == "one" && !r.DryRun {
			_ = unstructured.SetNestedField(u.Object, "v1", "data", "value")
		}
		return nil
	})
	p := b.plan(configMap("one", "v2"))
	if _, err := b.apply(p, configMap("one", "v2")); err != nil {
		t.Fatal(err)
	}
	b.only(b.plan(configMap("one", "v2")), "ConfigMap/shop/one", plan.Update)
}

// TestAVolumeIsNotReplacedByItsAnnotation: the repository can't allow what
// loses data.
func TestAVolumeIsNotReplacedByItsAnnotation(t *testing.T) {
	r := newRig(t)
	claim := func(size string) string {
		return doc("v1", "PersistentVolumeClaim", "data", "spec: {accessModes: [ReadWriteOnce], storageClassName: "+size+", resources: {requests: {storage: 1Gi}}}",
			"trueup.dev/recreate: allowed", "argocd.argoproj.io/ignore-healthcheck: true")
	}
	r.good(claim("a"))
	r.Admit(func(q kubefake.Request, u *unstructured.Unstructured) error {
		if class, _, _ := unstructured.NestedString(u.Object, "spec", "storageClassName"); class == "b" && u.GetName() == "data" {
			return kubefake.Status(422, "Invalid", "spec.storageClassName: field is immutable")
		}
		return nil
	})
	p := r.plan(claim("b"))
	if len(p.Changes) != 1 || p.Changes[0].Action != plan.Replace || p.Changes[0].Conflict == "" {
		t.Errorf("%s", show(p))
	}
}

// TestStatusThatIsWrittenAllTheTime: a controller writes all the while; the
// plan is the same.
func TestStatusThatIsWrittenAllTheTime(t *testing.T) {
	b := newBed(t, nil)
	b.sync(web("1", "1"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			b.Edit("kube-controller-manager", "apps/v1", "Deployment", "shop", "web", "status", func(u *unstructured.Unstructured) {
				_ = unstructured.SetNestedField(u.Object, n, "status", "observedGeneration")
			})
		}
	}()
	defer func() { close(stop); <-done }()
	for range 3 {
		b.now = b.now.Add(24 * time.Hour)
		if p := b.plan(web("1", "1")); !p.Empty() {
			t.Fatalf("%s", written(p))
		}
		b.only(b.plan(web("1", "2")), webAddress, plan.Update)
	}
}
