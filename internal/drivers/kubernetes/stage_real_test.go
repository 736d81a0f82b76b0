//go:build real

package kubernetes_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

// real is a target in a namespace of its own on a real server.
type real struct{ target }

func newReal(t *testing.T) *real {
	t.Parallel()
	r := &real{target{t: t, kubeconfig: kubeconfig(t), mode: plan.Apply, owned: driver.Inventory{}, namespace: cluster.Namespace(t)}}
	r.spec.Wait = kubernetes.Wait{Healthy: 20 * time.Second, Hooks: 20 * time.Second, Gone: 20 * time.Second, Kinds: 10 * time.Second}
	r.open()
	return r
}

func (r *real) kubectl(args ...string) string {
	r.t.Helper()
	return strings.TrimSpace(cluster.Kubectl(r.t, append([]string{"-n", r.namespace}, args...)...))
}

// have tells what kubectl sees, "" for nothing.
func (r *real) have(what, path string) string {
	r.t.Helper()
	return r.kubectl("get", what, "--ignore-not-found", "-o", "jsonpath={"+path+"}")
}

func (r *real) has(what string) bool { return r.have(what, ".metadata.uid") != "" }

// version is the resource version at which an object was created last.
func (r *real) version(what string) int {
	r.t.Helper()
	n, err := strconv.Atoi(r.have(what, ".metadata.resourceVersion"))
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	return n
}

func (r *real) address(a string) plan.Address {
	return plan.Address(strings.ReplaceAll(a, "/shop/", "/"+r.namespace+"/"))
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

func TestRealDefinitionAndObjectInOneCommit(t *testing.T) {
	r := newReal(t)
	lab := r.namespace + "-lab"
	inLab := strings.Replace(settings("inside", "1"), "namespace: shop", "namespace: "+lab, 1)
	docs := []string{widget("one"), inLab, deployment("api", "1"), widgets, strings.ReplaceAll(namespaceLab, "lab", lab)}
	r.good(docs...)
	if r.have("widget/one", ".spec.size") != "1" || cluster.Kubectl(t, "-n", lab, "get", "configmap", "inside", "-o", "name") == "" {
		t.Error("something is missing")
	}
	out := r.good(stays)
	if len(out.results) != 6 || cluster.Kubectl(t, "get", "crd,namespace", "--ignore-not-found", "widgets.acme.example.com", lab) != "" {
		t.Errorf("something is left: %v", out.results)
	}
}

func TestRealWavesComeInOrder(t *testing.T) {
	r := newReal(t)
	r.good(settings("third", "1", "argocd.argoproj.io/sync-wave: 5"), deployment("second", "1"), settings("first", "1", "trueup.dev/wave: -1"))
	first, third := r.version("configmap/first"), r.version("configmap/third")
	pods := strings.Fields(r.have("pods", ".items[*].metadata.resourceVersion"))
	if len(pods) != 1 {
		t.Fatalf("%v", pods)
	}
	if ready, err := strconv.Atoi(pods[0]); err != nil || first >= ready || ready >= third {
		t.Errorf("the waves are at %d, %s (its pod is ready) and %d", first, pods[0], third)
	}
}

func TestRealWaveThatFails(t *testing.T) {
	r := newReal(t)
	r.spec.Wait.Healthy = 3 * time.Second
	sick := strings.Replace(deployment("api", "1"), "labels: {app: api}}\n    spec", "labels: {app: api}, annotations: {kubetest/fail: ImagePullBackOff}}\n    spec", 1)
	out := r.sync(sick, settings("later", "1", "trueup.dev/wave: 1"))
	out.is(t, r.address("Deployment.apps/shop/api"), plan.Applied, "")
	out.is(t, r.address("ConfigMap/shop/later"), plan.Skipped, "ImagePullBackOff")
	if r.has("configmap/later") || !strings.Contains(out.log, "before wave 1: waiting: 0 of 1 ready") {
		t.Errorf("%s", out.log)
	}
	r.spec.Wait.Healthy = 20 * time.Second
	r.good(deployment("api", "2"), settings("later", "1", "trueup.dev/wave: 1"))
	if !r.has("configmap/later") {
		t.Error("the wave did not begin")
	}
}

// ends has the pods of a Job end with a code.
func ends(text, code string) string {
	return strings.Replace(text, "template: {spec", "backoffLimit: 0, template: {metadata: {annotations: {kubetest/exit: '"+code+"'}}, spec", 1)
}

// runs has the pods of a Job run until they are told to end.
func runs(text string) string {
	return strings.Replace(text, "template: {spec", "template: {metadata: {annotations: {kubetest/fail: ContainerCreating}}, spec", 1)
}

func (r *real) end(job string) {
	var pod string
	until(r.t, "the pod of "+job+" is there", func() bool {
		pod = r.kubectl("get", "pods", "-l", "job-name="+job, "-o", "name")
		return pod != "" && !strings.Contains(pod, "\n")
	})
	r.kubectl("patch", pod, "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Succeeded"}}`)
}

func TestRealHooks(t *testing.T) {
	r := newReal(t)
	docs := []string{job("before", preSync), job("after", postSync, policy("HookSucceeded")), deployment("api", "1"),
		doc("v1", "Pod", "between", "spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c}]}", inSync, "kubetest/exit: 0")}
	r.good(docs...)
	if r.have("job/before", ".status.succeeded") != "1" || r.has("job/after") || r.have("pod/between", ".status.phase") != "Succeeded" {
		t.Error("the hooks did not run, or are not deleted")
	}
	if r.version("job/before") >= r.version("pod/between") {
		t.Error("the hooks ran in the wrong order")
	}
	uid := r.have("job/before", ".metadata.uid")
	if out := r.good(docs...); len(out.results) != 0 || r.have("job/before", ".metadata.uid") != uid {
		t.Error("hooks ran although nothing changed")
	}
	docs[2] = deployment("api", "2")
	r.good(docs...)
	if now := r.have("job/before", ".metadata.uid"); now == uid || now == "" {
		t.Error("the hook did not run for a new state")
	}
}

func TestRealHookThatFails(t *testing.T) {
	r := newReal(t)
	docs := []string{ends(job("migrate", preSync), "3"), settings("a", "1"), job("alarm", syncFail)}
	out := r.sync(docs...)
	out.is(t, r.address("Job.batch/shop/migrate"), plan.Unknown, "BackoffLimitExceeded")
	out.is(t, r.address("ConfigMap/shop/a"), plan.Skipped, "after a hook failed")
	if r.has("configmap/a") || r.have("job/alarm", ".status.succeeded") != "1" || r.have("job/migrate", ".status.failed") != "1" {
		t.Error("the sync did not stop, or the hook for it did not run")
	}
	docs[0] = ends(job("migrate", preSync, policy("HookFailed")), "4")
	r.sync(docs...).is(t, r.address("Job.batch/shop/migrate"), plan.Unknown, "failed")
	until(t, "the failed hook is deleted", func() bool { return !r.has("job/migrate") })
	docs[0] = job("migrate", preSync)
	r.good(docs...)
	if !r.has("configmap/a") {
		t.Error("the sync did not come to its end")
	}
}

// TestRealKilledWhileAHookRuns: the next process waits for the very same Job.
func TestRealKilledWhileAHookRuns(t *testing.T) {
	r := newReal(t)
	docs := []string{runs(job("migrate", preSync)), settings("a", "1")}
	ctx, kill := context.WithCancel(t.Context())
	r.journal = func(j *drivertest.Journal) {
		j.OnDone = func([]plan.Result) error { return errors.New("killed") }
	}
	p := r.plan(docs...)
	done := make(chan outcome)
	go func() { done <- r.apply(ctx, p, docs...) }()
	until(t, "the hook runs", func() bool { return r.has("job/migrate") })
	kill()
	<-done
	uid := r.have("job/migrate", ".metadata.uid")
	r.journal = nil
	r.open()
	p = r.plan(docs...)
	go func() { done <- r.apply(t.Context(), p, docs...) }()
	time.Sleep(500 * time.Millisecond)
	if r.has("configmap/a") {
		t.Error("the sync went on while the hook ran")
	}
	r.end("migrate")
	out := <-done
	out.is(t, r.address("Job.batch/shop/migrate"), plan.Applied, "")
	if !r.has("configmap/a") || r.have("job/migrate", ".metadata.uid") != uid || !strings.Contains(out.log, "already running for this state") {
		t.Errorf("another hook was made, or the sync did not go on:\n%s", out.log)
	}
	if p := r.plan(docs...); !p.Empty() {
		t.Errorf("%s", show(p))
	}
}

func TestRealFinalizerThatHangs(t *testing.T) {
	r := newReal(t)
	r.spec.Wait.Gone = time.Second
	r.good(stays, settings("a", "1"))
	r.kubectl("patch", "configmap/a", "--type=merge", "-p", `{"metadata":{"finalizers":["acme.example.com/hold"]}}`)
	r.sync(stays).is(t, r.address("ConfigMap/shop/a"), plan.Unknown, "it waits for its finalizers acme.example.com/hold")
	if !r.has("configmap/a") || r.have("configmap/a", ".metadata.finalizers") != `["acme.example.com/hold"]` {
		t.Error("a finalizer of others was taken off")
	}
	r.kubectl("patch", "configmap/a", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	r.good(stays)
	if len(r.owned) != 1 {
		t.Errorf("%v", r.owned)
	}
}

// TestRealNamespaceDeletedByHand comes back with all that is in it.
func TestRealNamespaceDeletedByHand(t *testing.T) {
	r := newReal(t)
	ns := strings.ReplaceAll(namespaceLab, "lab", r.namespace)
	docs := []string{ns, settings("a", "1"), deployment("api", "1")}
	r.good(docs...)
	held := strings.TrimSpace(cluster.Kubectl(t, "-n", r.namespace, "create", "configmap", "held", "-o", "name"))
	r.kubectl("patch", held, "--type=merge", "-p", `{"metadata":{"finalizers":["acme.example.com/hold"]}}`)
	r.kubectl("delete", "namespace", r.namespace, "--wait=false")
	r.spec.Wait.Gone = time.Second
	until(t, "the namespace says what it waits for", func() bool {
		return strings.Contains(r.kubectl("get", "namespace", r.namespace, "-o", "jsonpath={.status.conditions[*].message}"), "acme.example.com/hold")
	})
	out := r.sync(docs...)
	out.is(t, plan.Address("Namespace/"+r.namespace), plan.Unknown, "acme.example.com/hold")
	r.spec.Wait.Gone = 20 * time.Second
	r.kubectl("patch", held, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	r.good(docs...)
	if !r.has("configmap/a") || !r.has("deployment/api") {
		t.Error("not all came back")
	}
	// A namespace with others' objects is not deleted without an approval.
	r.kubectl("create", "configmap", "theirs")
	for _, c := range r.plan(stays).Changes {
		if c.Address == plan.Address("Namespace/"+r.namespace) && !strings.Contains(c.Conflict, "ConfigMap/"+r.namespace+"/theirs") {
			t.Errorf("%s: %q", c.Address, c.Conflict)
		}
	}
}

func TestRealPruneIsSparedAndConfirmed(t *testing.T) {
	r := newReal(t)
	r.good(stays, settings("kept", "1", "argocd.argoproj.io/sync-options: Prune=false"), settings("asked", "1", "trueup.dev/prune: confirm"), settings("gone", "1"))
	p := r.plan(stays)
	if text := show(p); !strings.Contains(text, "has to be confirmed (trueup.dev/prune: confirm)") {
		t.Errorf("%s", text)
	}
	r.good(stays)
	if !r.has("configmap/kept") || r.has("configmap/asked") || r.has("configmap/gone") || len(r.owned) != 1 {
		t.Errorf("%v", r.owned)
	}
}

func TestRealRecreateOfAJob(t *testing.T) {
	r := newReal(t)
	r.good(job("run"))
	uid := r.have("job/run", ".metadata.uid")
	other := strings.Replace(job("run", "trueup.dev/recreate: allowed"), "c:1", "c:2", 1)
	out := r.good(other)
	if out.plan.Changes[0].Action != plan.Replace || r.have("job/run", ".metadata.uid") == uid || r.have("job/run", ".spec.template.spec.containers[0].image") != "example.test/c:2" {
		t.Errorf("%s", show(out.plan))
	}
}

// TestRealCancelled while a wave is waited for: prompt, and the next run goes on.
func TestRealCancelled(t *testing.T) {
	r := newReal(t)
	sick := strings.Replace(deployment("api", "1"), "labels: {app: api}}\n    spec", "labels: {app: api}, annotations: {kubetest/fail: ImagePullBackOff}}\n    spec", 1)
	docs := []string{sick, settings("later", "1", "trueup.dev/wave: 1")}
	p := r.plan(docs...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan outcome)
	go func() { done <- r.apply(ctx, p, docs...) }()
	until(t, "the first wave is there", func() bool { return r.has("deployment/api") })
	cancel()
	select {
	case out := <-done:
		if !errors.Is(out.err, context.Canceled) {
			t.Errorf("%v", out.err)
		}
	case <-time.After(kubernetes.New().Info().StopGrace):
		t.Fatal("it does not end")
	}
	if r.has("configmap/later") {
		t.Error("the wave began")
	}
	docs[0] = deployment("api", "1")
	r.good(docs...)
}

// TestRealScaledByOthers: an autoscaler's field is left alone, and never lost.
func TestRealScaledByOthers(t *testing.T) {
	r := newReal(t)
	r.spec.IgnoreDifferences = replicasOf("Deployment")
	scaled := func(n, image string) string {
		return strings.Replace(deployment("api", image), "spec:\n", "spec:\n  replicas: "+n+"\n", 1)
	}
	r.good(scaled("2", "1"))
	r.good(scaled("3", "2"))
	if n := r.have("deployment/api", ".spec.replicas"); n != "2" {
		t.Errorf("%s replicas", n)
	}
	r.kubectl("scale", "deployment/api", "--replicas=4")
	if p := r.plan(scaled("3", "2")); !p.Empty() {
		t.Errorf("%s", show(p))
	}
	r.good(scaled("3", "3"))
	if n := r.have("deployment/api", ".spec.replicas"); n != "4" {
		t.Errorf("%s replicas", n)
	}
}
