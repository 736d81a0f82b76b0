package kubernetes_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// TestOneCommitWithAllItNeeds: a namespace, a definition, objects of both, and
// an ordinary one.
func TestOneCommitWithAllItNeeds(t *testing.T) {
	r := newRig(t)
	inLab := strings.Replace(settings("inside", "1"), "namespace: shop", "namespace: lab", 1)
	docs := []string{widget("one"), inLab, deployment("api", "1"), settings("first", "1"), widgets, namespaceLab}
	r.good(docs...)
	for _, w := range []string{"configmaps/inside", "deployments/api", "widgets/one"} {
		r.before("apply namespaces/lab", "apply "+w)
		r.before("apply customresourcedefinitions/widgets.acme.example.com", "apply "+w)
	}
	r.before("apply configmaps/first", "apply deployments/api")
	r.before("apply deployments/api", "apply widgets/one")
	r.Forget()
	r.good(docs[3])
	r.before("delete widgets/one", "delete deployments/api")
	r.before("delete deployments/api", "delete customresourcedefinitions/widgets.acme.example.com")
	r.before("delete customresourcedefinitions/widgets.acme.example.com", "delete namespaces/lab")
	r.before("delete configmaps/inside", "delete namespaces/lab")
}

func TestWhatNeedsAFailedObjectIsSkipped(t *testing.T) {
	r := newRig(t)
	r.Deny(func(q kubefake.Request) error {
		if kubefake.Writes(q) && (q.Name == "lab" || q.Name == "widgets.acme.example.com") {
			return kubefake.Refused("guard.example.com", "not this one")
		}
		return nil
	})
	r.Set("kubectl", settings("old", "1"))
	r.good(settings("old", "1"))
	inLab := strings.Replace(settings("inside", "1"), "namespace: shop", "namespace: lab", 1)
	out := r.sync(widget("one"), inLab, deployment("api", "1"), widgets, namespaceLab)
	out.is(t, "Namespace/lab", plan.Failed, "not this one")
	out.is(t, "ConfigMap/lab/inside", plan.Skipped, "its namespace lab could not be made")
	out.is(t, "Widget.acme.example.com/shop/one", plan.Skipped, "the definition of its kind")
	out.is(t, "Deployment.apps/shop/api", plan.Applied, "")
	out.is(t, "ConfigMap/shop/old", plan.Skipped, "nothing is deleted after a failure")
	if !r.there("v1", "ConfigMap", "old") {
		t.Error("something was deleted after a failure")
	}
}

func TestWavesComeOneAfterTheOther(t *testing.T) {
	r := newRig(t)
	docs := []string{settings("third", "1", "argocd.argoproj.io/sync-wave: 5"), deployment("second", "1"), settings("first", "1", "trueup.dev/wave: -1")}
	r.good(docs...)
	r.before("apply configmaps/first", "apply deployments/second")
	r.before("apply deployments/second", "apply configmaps/third")
	r.Forget()
	r.good(settings("other", "1"))
	r.before("delete configmaps/third", "delete deployments/second")
	r.before("delete deployments/second", "delete configmaps/first")
}

// TestAWaveWaitsForTheOneBefore also where that is not written any more.
func TestAWaveWaitsForTheOneBefore(t *testing.T) {
	r := newRig(t)
	r.good(settings("old", "1"))
	sick := deployment("api", "1", "kubetest/fail: ImagePullBackOff")
	later := settings("later", "1", "trueup.dev/wave: 1")
	r.spec.Wait.Healthy = 300 * time.Millisecond
	for range 2 {
		out := r.sync(sick, later)
		out.is(t, "ConfigMap/shop/later", plan.Skipped, "before wave 1")
		out.is(t, "ConfigMap/shop/old", plan.Skipped, "nothing is deleted after a failure")
		if r.there("v1", "ConfigMap", "later") {
			t.Fatal("the wave began")
		}
	}
	r.spec.Wait.Healthy = 20 * time.Second
	out := r.good(deployment("api", "1"), later)
	if !strings.Contains(out.log, "changes done") && r.there("v1", "ConfigMap", "old") {
		t.Error("the old object is still there")
	}
}

func TestAWaveIsSkippedAfterAFailure(t *testing.T) {
	r := newRig(t)
	r.Deny(func(q kubefake.Request) error {
		if kubefake.Writes(q) && q.Name == "bad" {
			return kubefake.Refused("guard.example.com", "not this one")
		}
		return nil
	})
	out := r.sync(settings("bad", "1"), settings("good", "1"), settings("later", "1", "trueup.dev/wave: 1"))
	out.is(t, "ConfigMap/shop/bad", plan.Failed, "not this one")
	out.is(t, "ConfigMap/shop/good", plan.Applied, "")
	out.is(t, "ConfigMap/shop/later", plan.Skipped, "an earlier one failed")
}

// TestALogSaysWhatIsWaitedFor: a run that waits says so.
func TestALogSaysWhatIsWaitedFor(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Healthy = 300 * time.Millisecond
	out := r.sync(deployment("api", "1", "kubetest/fail: ImagePullBackOff"), settings("later", "1", "trueup.dev/wave: 1"))
	if !strings.Contains(out.results["ConfigMap/shop/later"].Error, "Deployment.apps/shop/api") {
		t.Errorf("%+v", out.results)
	}
	r.Settle(nil)
	out = r.sync(deployment("api", "2"), settings("later", "1", "trueup.dev/wave: 1"))
	if !strings.Contains(out.log, "before wave 1: waiting: 0 of 1 ready; Deployment.apps/shop/api") {
		t.Errorf("the log does not say it:\n%s", out.log)
	}
}

func TestCancelledWhileItWaits(t *testing.T) {
	r := newRig(t)
	r.spec.Wait.Healthy = time.Minute
	r.Settle(nil)
	docs := []string{deployment("api", "1"), settings("later", "1", "trueup.dev/wave: 1")}
	p := r.plan(docs...)
	ctx, cancel := context.WithCancel(t.Context())
	r.Settle(func(u *unstructured.Unstructured) {
		if u.GetKind() == "Deployment" {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
	})
	out := r.apply(ctx, p, docs...)
	if out.err == nil {
		t.Error("a cancelled apply ended without an error")
	}
	out.is(t, "Deployment.apps/shop/api", plan.Applied, "")
	out.is(t, "ConfigMap/shop/later", plan.Skipped, "")
	if r.there("v1", "ConfigMap", "later") {
		t.Error("the wave began")
	}
	r.Settle(kubefake.Settled)
	r.Edit("x", "apps/v1", "Deployment", "shop", "api", "", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"x": "y"}) })
	r.good(docs...)
}

// TestCreateNamespace makes what is missing, and never takes what is there.
func TestCreateNamespace(t *testing.T) {
	r := newRig(t)
	r.spec.CreateNamespace, r.spec.Namespace = true, "shop"
	r.good(settings("a", "1"))
	if len(r.owned) != 1 {
		t.Errorf("a namespace that was there is owned: %v", r.owned)
	}
	r.namespace, r.spec.Namespace = "fresh", "fresh"
	r.owned = driver.Inventory{}
	r.good(settings("a", "1"))
	if len(r.owned) != 2 || r.Get("v1", "Namespace", "", "fresh") == nil {
		t.Errorf("%v", r.owned)
	}
	// Taken out of the spec, it does not go with what is in it.
	r.spec.CreateNamespace = false
	if p := r.plan(settings("a", "1")); len(p.Changes) != 1 || p.Changes[0].Action != plan.Delete || !strings.Contains(p.Changes[0].Conflict, "ConfigMap/fresh/a") {
		t.Errorf("%s", show(p))
	}
	r.mode = plan.Destroy
	if out := r.sync(); out.err != nil || len(r.owned) != 0 || r.Get("v1", "Namespace", "", "fresh") != nil {
		t.Errorf("%v, %v", out.err, r.owned)
	}
}
