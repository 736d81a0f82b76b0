package kubernetes_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
	"trueup.dev/trueup/internal/plan"
)

var stays = settings("stays", "1") // so that the target always asks for something

func annotate(u *unstructured.Unstructured, key, value string) {
	notes := u.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	if notes[key] = value; value == "" {
		delete(notes, key)
	}
	u.SetAnnotations(notes)
}

// TestWhatIsKeptIsGivenUp: the annotation counts on the live object and on what
// was last applied.
func TestWhatIsKeptIsGivenUp(t *testing.T) {
	r := newRig(t)
	r.good(stays, settings("git", "1", "trueup.dev/prune: disabled"), settings("helm", "1", "helm.sh/resource-policy: keep"), settings("live", "1"), settings("gone", "1"))
	r.Edit("kubectl", "v1", "ConfigMap", "shop", "git", "", func(u *unstructured.Unstructured) { annotate(u, "trueup.dev/prune", "") })
	r.Edit("kubectl", "v1", "ConfigMap", "shop", "live", "", func(u *unstructured.Unstructured) {
		annotate(u, "argocd.argoproj.io/sync-options", "Prune=false")
	})
	out := r.good(stays)
	text := show(out.plan)
	for _, want := range []string{"forget ConfigMap/shop/git", "forget ConfigMap/shop/helm", "forget ConfigMap/shop/live", "delete ConfigMap/shop/gone"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if !r.there("v1", "ConfigMap", "git") || !r.there("v1", "ConfigMap", "helm") || !r.there("v1", "ConfigMap", "live") || r.there("v1", "ConfigMap", "gone") || len(r.owned) != 1 {
		t.Errorf("%v", r.owned)
	}
}

func TestKeptByADestroy(t *testing.T) {
	r := newRig(t)
	r.good(settings("git", "1", "argocd.argoproj.io/sync-options: Delete=false"), settings("gone", "1"))
	r.mode = plan.Destroy
	out := r.sync()
	if out.err != nil || len(r.owned) != 0 || !r.there("v1", "ConfigMap", "git") || r.there("v1", "ConfigMap", "gone") {
		t.Errorf("%v, %v", out.err, r.owned)
	}
}

func TestConfirm(t *testing.T) {
	r := newRig(t)
	r.good(stays, settings("a", "1", "argocd.argoproj.io/sync-options: Prune=confirm"))
	p := r.plan(stays)
	if len(p.Changes) != 1 || !strings.Contains(p.Changes[0].Conflict, "has to be confirmed") || p.Changes[0].Impact[0].Delete != 1 {
		t.Fatalf("%s", show(p))
	}
	r.good(stays) // the rig approves
	if r.there("v1", "ConfigMap", "a") {
		t.Error("it is still there")
	}
}

// TestAForeignObjectSavesItsNamespace until somebody approves.
func TestAForeignObjectSavesItsNamespace(t *testing.T) {
	r := newRig(t)
	inLab := strings.Replace(settings("inside", "1"), "namespace: shop", "namespace: lab", 1)
	r.good(stays, namespaceLab, inLab, widgets, widget("ours"))
	// What belongs to something else, and what every namespace has, is no loss.
	part := strings.Replace(settings("part", "1"), "  namespace: shop", "  namespace: lab\n  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: inside, uid: "+string(r.Get("v1", "ConfigMap", "lab", "inside").GetUID())+"}]", 1)
	r.Set("kubectl", part)
	r.Set("kubectl", strings.Replace(settings("kube-root-ca.crt", "1"), "namespace: shop", "namespace: lab", 1))
	if p := r.plan(stays); strings.Contains(show(p), "takes along") {
		t.Errorf("what the plan deletes itself counts, or what goes by itself:\n%s", show(p))
	}
	r.Set("kubectl", strings.Replace(settings("theirs", "1"), "namespace: shop", "namespace: lab", 1))
	r.Set("kubectl", widget("theirs"))
	for _, c := range r.plan(stays).Changes {
		want := map[plan.Address]string{"Namespace/lab": "ConfigMap/lab/theirs", "CustomResourceDefinition.apiextensions.k8s.io/widgets.acme.example.com": "Widget.acme.example.com/shop/theirs"}[c.Address]
		if want == "" && c.Conflict != "" || want != "" && !strings.HasSuffix(c.Conflict, "by itself: "+want) {
			t.Errorf("%s: %q", c.Address, c.Conflict)
		}
	}
	// What is kept inside is not to go with its namespace either.
	r.Unset("v1", "ConfigMap", "lab", "theirs")
	r.Edit("kubectl", "v1", "ConfigMap", "lab", "inside", "", func(u *unstructured.Unstructured) { annotate(u, "trueup.dev/prune", "disabled") })
	if text := show(r.plan(stays)); !strings.Contains(text, "ConfigMap/lab/inside\"") {
		t.Errorf("%s", text)
	}
	r.Deny(func(q kubefake.Request) error {
		if q.Verb == "list" && q.Resource.Resource == "secrets" {
			return kubefake.Status(403, "Forbidden", "no secrets for you")
		}
		return nil
	})
	if text := show(r.plan(stays)); !strings.Contains(text, "can't be told what would be deleted with it") {
		t.Errorf("%s", text)
	}
}

func hold(r *rig, name string) (release func()) {
	edit := func(list []string) {
		r.Edit("controller", "v1", "ConfigMap", "shop", name, "", func(u *unstructured.Unstructured) { u.SetFinalizers(list) })
	}
	edit([]string{"acme.example.com/hold"})
	return func() { edit(nil) }
}

// TestAFinalizerThatNeverEnds: it is told, nothing of it is taken off, and the
// next run looks again.
func TestAFinalizerThatNeverEnds(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Gone = 300 * time.Millisecond
	r.good(stays, settings("a", "1"), settings("b", "1"))
	release := hold(r, "a")
	for range 2 {
		out := r.sync(stays)
		out.is(t, "ConfigMap/shop/a", plan.Unknown, "still there after 300ms: it waits for its finalizers acme.example.com/hold; deleted at 20")
		if !r.owned[plan.Key{Address: "ConfigMap/shop/a"}].Pending {
			t.Errorf("%+v", r.owned)
		}
		if f := r.Get("v1", "ConfigMap", "shop", "a").GetFinalizers(); len(f) != 1 {
			t.Fatalf("a finalizer of others was taken off: %v", f)
		}
	}
	if r.there("v1", "ConfigMap", "b") {
		t.Error("another object did not go")
	}
	release()
	r.good(stays)
	if len(r.owned) != 1 {
		t.Errorf("%v", r.owned)
	}
}

// TestACustomResourceThatHangsKeepsItsController.
func TestACustomResourceThatHangsKeepsItsController(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Gone = 300 * time.Millisecond
	r.good(stays, widgets, widget("one"), deployment("operator", "1"))
	r.Edit("operator", "acme.example.com/v1", "Widget", "shop", "one", "", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"acme.example.com/hold"}) })
	out := r.sync(stays)
	out.is(t, "Widget.acme.example.com/shop/one", plan.Unknown, "acme.example.com/hold")
	out.is(t, "Deployment.apps/shop/operator", plan.Skipped, "Widget.acme.example.com/shop/one has to be gone first")
	out.is(t, "CustomResourceDefinition.apiextensions.k8s.io/widgets.acme.example.com", plan.Skipped, "has to be gone first")
	if !r.there("apps/v1", "Deployment", "operator") {
		t.Error("the controller is gone")
	}
	r.Edit("operator", "acme.example.com/v1", "Widget", "shop", "one", "", func(u *unstructured.Unstructured) { u.SetFinalizers(nil) })
	r.good(stays)
}

// TestANamespaceStaysAsLongAsSomethingOfOursHangsInIt, and a definition.
func TestANamespaceStaysAsLongAsSomethingOfOursHangsInIt(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Gone = 300 * time.Millisecond
	inLab := strings.Replace(settings("inside", "1"), "namespace: shop", "namespace: lab", 1)
	r.good(stays, namespaceLab, inLab)
	r.Edit("controller", "v1", "ConfigMap", "lab", "inside", "", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"acme.example.com/hold"}) })
	out := r.sync(stays)
	out.is(t, "ConfigMap/lab/inside", plan.Unknown, "acme.example.com/hold")
	out.is(t, "Namespace/lab", plan.Skipped, "ConfigMap/lab/inside has to be gone first")
	if r.Get("v1", "Namespace", "", "lab").GetDeletionTimestamp() != nil {
		t.Error("the namespace is being deleted")
	}
}

// TestWhatIsBeingDeletedIsMadeAnew when it is gone.
func TestWhatIsBeingDeletedIsMadeAnew(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Gone = 300 * time.Millisecond
	r.good(stays, settings("a", "1"))
	release := hold(r, "a")
	was := r.Get("v1", "ConfigMap", "shop", "a").GetUID()
	session := r.client()
	if err := session.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	out := r.sync(stays, settings("a", "1"))
	out.is(t, "ConfigMap/shop/a", plan.Unknown, "acme.example.com/hold")
	p := r.plan(stays, settings("a", "1"))
	if len(p.Changes) != 1 || p.Changes[0].Action != plan.Create || !strings.Contains(p.Changes[0].Note, "made anew when it is gone") {
		t.Fatalf("%s", show(p))
	}
	r.spec.Wait.Gone = 5 * time.Second
	time.AfterFunc(100*time.Millisecond, release)
	r.apply(t.Context(), p, stays, settings("a", "1")).is(t, "ConfigMap/shop/a", plan.Applied, "")
	if now := r.Get("v1", "ConfigMap", "shop", "a"); now == nil || now.GetUID() == was {
		t.Error("it was not made anew")
	}
	r.good(stays, settings("a", "1"))
}

// TestANamespaceThatIsBeingDeleted says so, and comes back if it is ours.
func TestANamespaceThatIsBeingDeleted(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Gone = 300 * time.Millisecond
	release := hold(r, r.set("held"))
	if err := r.namespaces().Delete(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	p := r.plan(settings("a", "1"))
	if !strings.Contains(show(p), "its namespace shop is being deleted") {
		t.Errorf("%s", show(p))
	}
	r.apply(t.Context(), p, settings("a", "1")).is(t, "ConfigMap/shop/a", plan.Failed, "its namespace shop is being deleted, so nothing can be made in it until it is gone")
	shop := strings.ReplaceAll(namespaceLab, "lab", "shop")
	out := r.sync(shop, settings("a", "1"))
	out.is(t, "Namespace/shop", plan.Unknown, "still there")
	out.is(t, "ConfigMap/shop/a", plan.Skipped, "its namespace shop could not be made")
	r.spec.Wait.Gone = 5 * time.Second
	time.AfterFunc(100*time.Millisecond, release)
	r.good(shop, settings("a", "1"))
}

// TestRecreate deletes and creates where that is allowed.
func TestRecreate(t *testing.T) {
	r := newRig(t)
	changed := func(annotations ...string) string {
		return strings.Replace(job("run", annotations...), "c:1", "c:2", 1)
	}
	r.good(stays, job("run"))
	was := r.Get("batch/v1", "Job", "shop", "run").GetUID()
	if p := r.plan(stays, changed()); p.Changes[0].Action != plan.Replace || !strings.Contains(p.Changes[0].Conflict, "trueup.dev/recreate: allowed") {
		t.Errorf("%s", show(p))
	}
	p := r.plan(stays, changed("argocd.argoproj.io/sync-options: Force=true,Replace=true"))
	if p.Changes[0].Action != plan.Replace || p.Changes[0].Conflict != "" {
		t.Errorf("%s", show(p))
	}
	// Killed between the two: it stays ours, and the next run makes it.
	ctx, cancel := context.WithCancel(t.Context())
	undo := r.Deny(func(q kubefake.Request) error {
		if q.Verb == "apply" && !q.DryRun && q.Name == "run" {
			cancel()
			return kubefake.Status(500, "InternalError", "the process is gone by then")
		}
		return nil
	})
	docs := []string{stays, changed("trueup.dev/recreate: allowed")}
	out := r.apply(ctx, r.plan(docs...), docs...)
	out.is(t, "Job.batch/shop/run", plan.Unknown, "")
	undo()
	if r.there("batch/v1", "Job", "run") || !r.owned[plan.Key{Address: "Job.batch/shop/run"}].Pending {
		t.Errorf("%v", r.owned)
	}
	r.good(docs...)
	if now := r.Get("batch/v1", "Job", "shop", "run"); now == nil || now.GetUID() == was {
		t.Error("it was not made anew")
	}
	// What must not be deleted is not deleted to be made anew either.
	r.good(stays, changed("trueup.dev/recreate: allowed", "trueup.dev/prune: disabled"))
	again := strings.Replace(job("run", "trueup.dev/recreate: allowed", "trueup.dev/prune: disabled"), "c:1", "c:3", 1)
	if p := r.plan(stays, again); p.Changes[0].Action != plan.Replace || !strings.Contains(p.Changes[0].Conflict, "although it says trueup.dev/prune: disabled") {
		t.Errorf("%s", show(p))
	}
}

// TestOnlyTheObjectThatWasSeenIsDeleted: another one of the same name is not.
func TestOnlyTheObjectThatWasSeenIsDeleted(t *testing.T) {
	r := newRig(t)
	r.good(stays, settings("a", "1"))
	p := r.plan(stays)
	r.Unset("v1", "ConfigMap", "shop", "a")
	r.Set("kubectl", settings("a", "1"))
	if out := r.apply(t.Context(), p, stays); !errors.Is(out.err, driver.ErrStale) || !r.there("v1", "ConfigMap", "a") {
		t.Errorf("%v", out.err)
	}
}

func TestHowObjectsAreDeleted(t *testing.T) {
	r := newRig(t)
	r.good(stays, settings("plain", "1"), deployment("api", "1"), deployment("orphaning", "1", "trueup.dev/delete-propagation: orphan"))
	r.Forget()
	r.good(stays)
	how := map[string]string{"plain": "Background", "api": "Foreground", "orphaning": "Orphan"}
	for _, q := range r.Requests() {
		if q.Verb == "delete" && !strings.Contains(string(q.Body), how[q.Name]) {
			t.Errorf("%s: %s", q.Name, q.Body)
		}
		if q.Verb == "delete" && !strings.Contains(string(q.Body), `"uid"`) {
			t.Errorf("%s is deleted whoever it is", q.Name)
		}
	}
}

// TestWhatIsIgnoredIsLeftToOthers, in comparisons and in applies.
func TestWhatIsIgnoredIsLeftToOthers(t *testing.T) {
	r := newRig(t)
	scaled := func(n, image string) string {
		return strings.Replace(deployment("api", image), "spec:\n", "spec:\n  replicas: "+n+"\n", 1)
	}
	replicas := func() int64 {
		n, _, _ := unstructured.NestedInt64(r.Get("apps/v1", "Deployment", "shop", "api").Object, "spec", "replicas")
		return n
	}
	r.spec.IgnoreDifferences = replicasOf("Deployment")
	r.good(scaled("3", "1"))
	if replicas() != 3 {
		t.Fatalf("a new object has %d replicas", replicas())
	}
	// Nobody took it over: another value in Git changes nothing, nor is it lost.
	r.sync(scaled("4", "2"))
	if replicas() != 3 {
		t.Errorf("it has %d replicas", replicas())
	}
	r.Edit("autoscaler", "apps/v1", "Deployment", "shop", "api", "", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(9), "spec", "replicas")
	})
	if p := r.plan(scaled("4", "2")); !p.Empty() {
		t.Errorf("%s", show(p))
	}
	r.good(scaled("4", "3"))
	if replicas() != 9 {
		t.Errorf("it has %d replicas", replicas())
	}
	r.spec.IgnoreDifferences = []ignore.Rule{{Managers: []string{"autoscaler"}}}
	r.good(scaled("5", "4"))
	if replicas() != 9 {
		t.Errorf("it has %d replicas", replicas())
	}
	r.spec.IgnoreDifferences = []ignore.Rule{{Expressions: []string{`live.spec.nothing`}}}
	if p := r.plan(scaled("5", "5")); !strings.Contains(show(p), "no such key") {
		t.Errorf("%s", show(p))
	}
}

// TestARenameDeletesTheOldObject, and so minds what spares it.
func TestARenameDeletesTheOldObject(t *testing.T) {
	r := newRig(t)
	r.previously = map[plan.Address]plan.Address{"ConfigMap/shop/old": "ConfigMap/shop/new", "PersistentVolumeClaim/shop/old": "PersistentVolumeClaim/shop/new"}
	r.good(stays, settings("old", "1", "trueup.dev/prune: disabled"), claim("old"))
	p := r.plan(stays, settings("new", "1"), claim("new"))
	if len(p.Changes) != 2 || !strings.Contains(p.Changes[0].Conflict, "trueup.dev/prune: disabled") || !strings.Contains(p.Changes[1].Conflict, "what it holds goes with it") {
		t.Errorf("%s", show(p))
	}
	for _, c := range p.Changes {
		if c.Action != plan.Rename || len(c.Impact) != 1 || c.Impact[0].Replace != 1 {
			t.Errorf("%+v", c)
		}
	}
}

func claim(name string) string {
	return doc("v1", "PersistentVolumeClaim", name, "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}")
}

// TestADefinitionTakesObjectsOfOwnersAlong: that something else made them does
// not bring them back.
func TestADefinitionTakesObjectsOfOwnersAlong(t *testing.T) {
	r := newRig(t)
	r.good(stays, widgets)
	r.Set("kubectl", strings.Replace(widget("made"), "  namespace: shop", "  namespace: shop\n  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: shop, uid: 1-2-3}]", 1))
	if text := show(r.plan(stays)); !strings.Contains(text, "by itself: Widget.acme.example.com/shop/made") {
		t.Errorf("%s", text)
	}
}

// TestKeptAfterThePlan: between a plan and its approval somebody may have asked
// for the object to be kept.
func TestKeptAfterThePlan(t *testing.T) {
	r := newRig(t)
	r.good(stays, settings("a", "1"))
	p := r.plan(stays)
	r.Edit("kubectl", "v1", "ConfigMap", "shop", "a", "", func(u *unstructured.Unstructured) { annotate(u, "trueup.dev/prune", "disabled") })
	r.apply(t.Context(), p, stays)
	if !r.there("v1", "ConfigMap", "a") {
		t.Error("it was deleted, although it says that it is to be kept")
	}
}
