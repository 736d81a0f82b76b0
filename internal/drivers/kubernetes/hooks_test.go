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
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

const (
	preSync  = "argocd.argoproj.io/hook: PreSync"
	inSync   = "argocd.argoproj.io/hook: Sync"
	postSync = "argocd.argoproj.io/hook: PostSync"
	syncFail = "argocd.argoproj.io/hook: SyncFail"
	fails    = "kubetest/fail: Broken"
)

func policy(p string) string { return "argocd.argoproj.io/hook-delete-policy: " + p }

// slow makes Jobs run until end is called.
func (r *rig) slow() (end func(name string, failed bool)) {
	r.Settle(func(u *unstructured.Unstructured) {
		if u.GetKind() != "Job" {
			kubefake.Settled(u)
		}
	})
	return func(name string, failed bool) {
		r.Edit("kube-controller-manager", "batch/v1", "Job", "shop", name, "status", func(u *unstructured.Unstructured) {
			kind := "Complete"
			if failed {
				kind = "Failed"
			}
			_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{"type": kind, "status": "True", "reason": "Test", "message": "as told"}}, "status", "conditions")
		})
	}
}

func (r *rig) created(name string) int {
	return r.Count(func(q kubefake.Request) bool {
		return q.Verb == "create" && q.Resource.Resource == "jobs" && strings.Contains(string(q.Body), `"name":"`+name+`"`)
	})
}

func TestHooksRunAroundTheirSync(t *testing.T) {
	r := newRig(t)
	docs := []string{job("after", postSync), job("between", inSync), deployment("api", "1"), job("before", preSync), settings("late", "1", "trueup.dev/wave: 2")}
	out := r.good(docs...)
	if c := out.plan.Changes; len(c) != 5 || !strings.Contains(show(out.plan), "PreSync") {
		t.Errorf("the plan does not show the hooks:\n%s", show(out.plan))
	}
	all := strings.Join(r.written(), " ")
	want := "create jobs/ apply deployments/api create jobs/ apply configmaps/late create jobs/"
	if all != want {
		t.Errorf("%s", all)
	}
	if r.created("before") != 1 || r.created("between") != 1 || r.created("after") != 1 {
		t.Error("not every hook ran once")
	}
	// Drift runs no hooks, neither does a plan without a change.
	r.Edit("kubectl-edit", "apps/v1", "Deployment", "shop", "api", "", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(7), "spec", "replicas")
		_ = unstructured.SetNestedField(u.Object, "paused", "spec", "template", "spec", "containers")
		_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{"name": "c", "image": "other"}}, "spec", "template", "spec", "containers")
	})
	if out := r.good(docs...); len(out.results) != 1 {
		t.Errorf("drift:\n%s", show(out.plan))
	}
	// A new state runs them again, in the place of the old ones.
	r.Forget()
	docs[2] = deployment("api", "2")
	r.good(docs...)
	r.before("delete jobs/before", "apply deployments/api")
	r.before("apply deployments/api", "delete jobs/after")
	if r.created("before") != 1 || r.created("after") != 1 {
		t.Error("the hooks did not run for the new state")
	}
}

func TestAHookThatLeavesGitIsPruned(t *testing.T) {
	r := newRig(t)
	r.good(settings("a", "1"), job("gone", postSync, policy("HookSucceeded")), job("left", postSync))
	if r.there("batch/v1", "Job", "gone") || !r.there("batch/v1", "Job", "left") {
		t.Error("the delete policies are not kept to")
	}
	p := r.plan(settings("a", "1"))
	if text := show(p); !strings.Contains(text, "forget Job.batch/shop/gone") || !strings.Contains(text, "delete Job.batch/shop/left") || len(p.Changes) != 2 {
		t.Errorf("%s", text)
	}
	r.good(settings("a", "1"))
	if r.there("batch/v1", "Job", "left") || len(r.owned) != 1 {
		t.Errorf("%v", r.owned)
	}
}

func TestAHookThatFailsStopsTheSync(t *testing.T) {
	r := newRig(t)
	r.good(settings("old", "1"))
	docs := []string{job("migrate", preSync, fails, policy("HookFailed")), settings("new", "1"), job("after", postSync), job("alarm", syncFail), job("both", "argocd.argoproj.io/hook: PostSync,SyncFail")}
	out := r.sync(docs...)
	out.is(t, "Job.batch/shop/migrate", plan.Unknown, "the PreSync hook did not succeed: 0 of 1 ready; Job.batch/shop/migrate: it failed")
	out.is(t, "ConfigMap/shop/new", plan.Skipped, "nothing is written after a hook failed")
	out.is(t, "ConfigMap/shop/old", plan.Skipped, "nothing is deleted")
	out.is(t, "Job.batch/shop/after", plan.Unknown, "hooks don't run after a failure")
	out.is(t, "Job.batch/shop/alarm", plan.Unknown, "the hook ran")
	out.is(t, "Job.batch/shop/both", plan.Unknown, "the hook ran")
	if r.there("v1", "ConfigMap", "new") || !r.there("v1", "ConfigMap", "old") || r.there("batch/v1", "Job", "after") || r.there("batch/v1", "Job", "migrate") {
		t.Error("the environment is not as it should be")
	}
	if !r.there("batch/v1", "Job", "alarm") || !r.there("batch/v1", "Job", "both") {
		t.Error("the hooks for a failure did not run")
	}
	// It is tried again, also when nothing else is left to do.
	docs[0] = job("migrate", preSync)
	r.good(docs...)
	if !r.there("v1", "ConfigMap", "new") || !r.there("batch/v1", "Job", "after") {
		t.Error("the second sync did not come to its end")
	}
}

// TestAFailedPostSyncIsNoSuccess: all objects are there, but the plan is not
// empty until the hook has succeeded.
func TestAFailedPostSyncIsNoSuccess(t *testing.T) {
	r := newRig(t)
	docs := []string{settings("a", "1"), job("check", postSync, fails)}
	for range 2 {
		out := r.sync(docs...)
		out.is(t, "Job.batch/shop/check", plan.Unknown, "did not succeed")
		p := r.plan(docs...)
		if len(p.Changes) != 1 || p.Changes[0].Action != plan.Create || p.Changes[0].Address != "Job.batch/shop/check" {
			t.Fatalf("%s", show(p))
		}
	}
	// Mended in Git alone.
	r.good(settings("a", "1"), job("check", postSync))
}

func TestPostSyncWaitsForHealth(t *testing.T) {
	r := newRig(t)
	docs := []string{deployment("api", "1", "kubetest/fail: ImagePullBackOff"), job("check", postSync)}
	r.spec.Wait.Healthy = 300 * time.Millisecond
	out := r.sync(docs...)
	out.is(t, "Deployment.apps/shop/api", plan.Applied, "")
	out.is(t, "Job.batch/shop/check", plan.Unknown, "Deployment.apps/shop/api")
	if r.there("batch/v1", "Job", "check") {
		t.Error("the hook ran")
	}
	r.spec.Wait.Healthy = 20 * time.Second
	r.good(deployment("api", "1"), job("check", postSync))
}

// TestAHookIsNeverBegunTwice: killed while it ran, the next process waits for
// it.
func TestAHookIsNeverBegunTwice(t *testing.T) {
	r := newRig(t)
	end := r.slow()
	docs := []string{settings("a", "1"), job("migrate", preSync, policy("BeforeHookCreation,HookFailed"))}
	ctx, cancel := context.WithCancel(t.Context())
	p := r.plan(docs...)
	r.Admit(func(q kubefake.Request, u *unstructured.Unstructured) error {
		if q.Verb == "create" && u.GetKind() == "Job" {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		return nil
	})
	out := r.apply(ctx, p, docs...)
	if out.err == nil {
		t.Error("a cancelled apply ended without an error")
	}
	out.is(t, "Job.batch/shop/migrate", plan.Unknown, "")
	if !r.owned[plan.Key{Address: "Job.batch/shop/migrate"}].Pending {
		t.Errorf("%+v", r.owned)
	}
	r.open()
	p = r.plan(docs...)
	time.AfterFunc(300*time.Millisecond, func() { end("migrate", false) })
	out = r.apply(t.Context(), p, docs...)
	out.is(t, "Job.batch/shop/migrate", plan.Applied, "")
	if n := r.created("migrate"); n != 1 || !strings.Contains(out.log, "already running for this state") {
		t.Errorf("%d Jobs were made:\n%s", n, out.log)
	}
	if p := r.plan(docs...); !p.Empty() {
		t.Errorf("%s", show(p))
	}
}

// TestALostAnswerMakesNoSecondHook: the Job was made, but nobody heard of it.
func TestALostAnswerMakesNoSecondHook(t *testing.T) {
	r := newRig(t)
	lost := false
	r.Lose(func(q kubefake.Request) kubefake.Loss {
		if q.Verb == "create" && q.Resource.Resource == "jobs" && !lost {
			lost = true
			return kubefake.ResetAnswer
		}
		return kubefake.Kept
	})
	r.good(settings("a", "1"), job("migrate", preSync))
	if n := r.created("migrate"); n != 1 || !lost {
		t.Errorf("%d Jobs were made, lost: %v", n, lost)
	}
}

// TestAHookOfAnEarlierStateIsWaitedFor before its successor is made.
func TestAHookOfAnEarlierStateIsWaitedFor(t *testing.T) {
	r := newRig(t)
	end := r.slow()
	r.spec.Wait.Hooks = 1200 * time.Millisecond
	out := r.sync(settings("a", "1"), job("migrate", preSync, policy("HookFailed")))
	out.is(t, "Job.batch/shop/migrate", plan.Unknown, "it has not started yet")
	first := r.Get("batch/v1", "Job", "shop", "migrate").GetUID()
	r.spec.Wait.Hooks = 10 * time.Second
	time.AfterFunc(300*time.Millisecond, func() {
		if r.Get("batch/v1", "Job", "shop", "migrate").GetUID() != first {
			t.Error("the running hook was replaced")
		}
		end("migrate", true)
		r.Settle(kubefake.Settled)
	})
	r.good(settings("a", "2"), job("migrate", preSync))
	if r.Get("batch/v1", "Job", "shop", "migrate").GetUID() == first || r.created("migrate") != 2 {
		t.Error("the hook did not run for the new state")
	}
}

func TestAHookNeverReplacesWhatIsNotAHook(t *testing.T) {
	r := newRig(t)
	r.Set("kubectl", job("migrate"))
	was := r.Get("batch/v1", "Job", "shop", "migrate").GetUID()
	docs := []string{settings("a", "1"), job("migrate", preSync)}
	for range 2 {
		p := r.plan(docs...)
		if !strings.Contains(show(p), "that is no hook of this target") {
			t.Errorf("%s", show(p))
		}
		out := r.apply(t.Context(), p, docs...)
		out.is(t, "Job.batch/shop/migrate", plan.Unknown, "that is no hook of this target")
	}
	if r.Get("batch/v1", "Job", "shop", "migrate").GetUID() != was {
		t.Error("it was replaced")
	}
	// What another tool left as a hook is taken over.
	r.Set("argocd-controller", job("left", postSync))
	r.good(settings("a", "1"), job("left", postSync))
}

func TestHelmHooks(t *testing.T) {
	r := newRig(t)
	docs := func(value string) []string {
		return []string{settings("a", value), job("install", "helm.sh/hook: post-install"), job("upgrade", "helm.sh/hook: pre-upgrade"), job("test", "helm.sh/hook: test"),
			doc("v1", "ServiceAccount", "runner", "", "helm.sh/hook: pre-install,pre-upgrade", "helm.sh/hook-weight: -5", "helm.sh/hook-delete-policy: hook-succeeded"),
			job("always", "helm.sh/hook: pre-install,pre-upgrade")}
	}
	// A first apply that failed on its way still is the first one.
	undo := r.Deny(func(q kubefake.Request) error {
		if kubefake.Writes(q) && q.Name == "b" {
			return kubefake.Refused("guard.example.com", "not this one")
		}
		return nil
	})
	out := r.sync(append(docs("1"), settings("b", "1"))...)
	out.is(t, "Job.batch/shop/always", plan.Applied, "")
	out.is(t, "Job.batch/shop/install", plan.Unknown, "after a failure")
	if r.there("v1", "ServiceAccount", "runner") {
		t.Error("the account of the hooks was not deleted")
	}
	undo()
	r.good(append(docs("1"), settings("b", "1"))...)
	if r.created("always") != 1 || r.created("install") != 1 || r.created("upgrade") != 0 || r.created("test") != 0 {
		t.Errorf("%v", r.written())
	}
	r.Forget()
	r.good(append(docs("2"), settings("b", "1"))...)
	if r.created("always") != 1 || r.created("install") != 0 || r.created("upgrade") != 1 {
		t.Errorf("%v", r.written())
	}
	if !r.there("batch/v1", "Job", "install") {
		t.Error("what the first apply's hook left was pruned")
	}
	var order []string
	for _, q := range r.Requests() {
		if kubefake.Writes(q) && q.Resource.Resource == "serviceaccounts" {
			order = append(order, q.Verb)
		}
	}
	if len(order) != 2 || order[1] != "delete" {
		t.Errorf("%v", order)
	}
}

// TestAnAdoptionRunsNoHooks, and what is there is no first install.
func TestAnAdoptionRunsNoHooks(t *testing.T) {
	r := newRig(t)
	r.Set("helm", settings("a", "1"))
	docs := []string{settings("a", "1"), job("migrate", preSync), job("install", "helm.sh/hook: pre-install")}
	r.good(docs...)
	r.good(settings("a", "2"), docs[1], docs[2])
	if r.created("install") != 0 || r.created("migrate") != 1 {
		t.Errorf("%v", r.written())
	}
}

func TestWhatIsSkippedStays(t *testing.T) {
	r := newRig(t)
	r.good(settings("a", "1"), settings("b", "1"))
	r.good(settings("a", "1"), settings("b", "2", "argocd.argoproj.io/hook: Skip"))
	if !r.there("v1", "ConfigMap", "b") || len(r.owned) != 2 {
		t.Error("an object that is skipped was removed or given up")
	}
	r.good(settings("a", "1"), settings("b", "2"))
}

// TestAJobThatTakesItselfAwayIsSeen to its end.
func TestAJobThatTakesItselfAwayIsSeen(t *testing.T) {
	r := newRig(t)
	text := strings.Replace(job("quick", postSync), "spec: {", "spec: {ttlSecondsAfterFinished: 0, ", 1)
	r.good(settings("a", "1"), text)
	if ttl, _, _ := unstructured.NestedInt64(r.Get("batch/v1", "Job", "shop", "quick").Object, "spec", "ttlSecondsAfterFinished"); ttl < 60 {
		t.Errorf("it goes after %d s", ttl)
	}
}

func TestAHookOutsideTheScopeIsRefused(t *testing.T) {
	r := newRig(t)
	in := r.input(job("x", preSync))
	in.Tree = r.input(strings.Replace(job("x", preSync), "namespace: shop", "namespace: kube-system", 1)).Tree
	in.Scope = scopeOf("shop")
	if _, err := r.session.Plan(t.Context(), in); err == nil || !strings.Contains(err.Error(), "outside the target's scope") {
		t.Errorf("%v", err)
	}
}

func TestAHookWithoutANameGetsOne(t *testing.T) {
	r := newRig(t)
	text := strings.Replace(job("migrate-", preSync), "  name: ", "  generateName: ", 1)
	r.good(settings("a", "1"), text)
	r.good(settings("a", "2"), text)
	if r.created("migrate-hook") != 2 || !r.there("batch/v1", "Job", "migrate-hook") {
		t.Errorf("%v", r.written())
	}
}

// TestKilledBeforeAHook: all objects are written, and the process is gone
// before the hook behind them begins. It is not forgotten.
func TestKilledBeforeAHook(t *testing.T) {
	r := newRig(t)
	docs := []string{settings("a", "1"), job("check", postSync)}
	calls := 0
	r.journal = func(j *drivertest.Journal) {
		j.OnPending = func([]plan.Key) error {
			if calls++; calls == 2 {
				return errors.New("killed")
			}
			return nil
		}
	}
	if out := r.sync(docs...); out.err == nil || !r.there("v1", "ConfigMap", "a") || r.created("check") != 0 {
		t.Fatalf("%v, %v", out.err, r.written())
	}
	r.journal = nil
	r.open()
	r.good(docs...)
	if r.created("check") != 1 {
		t.Error("the hook was forgotten")
	}
}

// TestTwoTargetsWithOneHook: the name is taken.
func TestTwoTargetsWithOneHook(t *testing.T) {
	r := newRig(t)
	r.good(settings("a", "1"), job("migrate", preSync))
	was := r.Get("batch/v1", "Job", "shop", "migrate").GetUID()
	other := &rig{r.Server, r.target}
	other.id, other.owned = "other", driver.Inventory{}
	docs := []string{settings("b", "1"), job("migrate", preSync)}
	other.sync(docs...).is(t, "Job.batch/shop/migrate", plan.Unknown, "that is no hook of this target")
	if r.Get("batch/v1", "Job", "shop", "migrate").GetUID() != was {
		t.Error("the other target's hook was replaced")
	}
}
