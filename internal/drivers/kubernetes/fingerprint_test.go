package kubernetes_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/health"
)

// planned gives the fingerprint of what the last plan was made from.
func (r *rig) planned() string {
	r.t.Helper()
	fp := r.session.(driver.Planned).Planned("shop")[""]
	if fp == "" {
		r.t.Fatal("the plan has no fingerprint")
	}
	return fp
}

func (r *rig) fingerprint(docs ...string) string {
	r.t.Helper()
	in := r.input(join(docs))
	in.Inventory = nil
	fp, err := r.session.(driver.Fingerprinter).Fingerprint(r.t.Context(), in)
	if err != nil || fp[""] == "" {
		r.t.Fatalf("%v, %v", fp, err)
	}
	return fp[""]
}

// comes waits for the watch.
func (r *rig) comes(what string, check func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !check(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never: %s", what)
		}
	}
}

func scaled(u *unstructured.Unstructured) {
	_ = unstructured.SetNestedField(u.Object, int64(7), "spec", "template", "spec", "terminationGracePeriodSeconds")
}

// What a plan read and what a check sees is the same, also in a session that
// planned nothing; drift makes them differ, and nothing is asked twice.
func TestFingerprint(t *testing.T) {
	r := newRig(t)
	docs := []string{settings("a", "1"), deployment("web", "1"), job("never", "argocd.argoproj.io/hook: PostSync")}
	r.good(docs...)
	r.plan(docs...)
	is := r.planned()
	r.comes("the watch agrees with the plan", func() bool { return r.fingerprint(docs...) == is })
	r.Forget()
	for range 5 {
		r.fingerprint(docs...)
	}
	if n := r.Count(func(q kubefake.Request) bool { return q.Verb != "watch" }); n > 0 {
		t.Errorf("%d requests to find out that nothing moved", n)
	}
	r.open()
	if fp := r.fingerprint(docs...); fp != is {
		t.Error("a session that planned nothing sees something else")
	}
	r.Edit("deployment-controller", "apps/v1", "Deployment", "shop", "web", "status", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(1), "status", "collisionCount")
	})
	if fp := r.fingerprint(docs...); fp != is {
		t.Error("a status counts")
	}
	r.Edit("kubectl-edit", "v1", "ConfigMap", "shop", "a", "", func(u *unstructured.Unstructured) { u.Object["data"] = map[string]any{"value": "2"} })
	r.comes("drift is seen", func() bool { return r.fingerprint(docs...) != is })
	if p := r.plan(docs...); p.Empty() || r.planned() == is {
		t.Error("the plan does not see the drift, or has the fingerprint of before")
	}
}

// What outputs are read from counts whole.
func TestFingerprintCountsOutputs(t *testing.T) {
	r := newRig(t)
	docs := []string{settings("a", "1"), deployment("web", "1")}
	r.spec.Outputs = map[string]kubernetes.Output{"n": {Object: "Deployment.apps/shop/web", Path: "/status/collisionCount"}}
	r.good(docs...)
	before := r.fingerprint(docs...)
	r.Edit("deployment-controller", "apps/v1", "Deployment", "shop", "web", "status", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(1), "status", "collisionCount")
	})
	r.comes("the output may be another one", func() bool { return r.fingerprint(docs...) != before })
}

// A session tells of what others change, and not of what it writes itself.
func TestWatch(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var told []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := r.session.(driver.Watcher).Watch(ctx, func(id string) { mu.Lock(); told = append(told, id); mu.Unlock() }); err != nil {
		t.Fatal(err)
	}
	docs := []string{settings("a", "1"), deployment("web", "1")}
	r.good(docs...)
	is := r.fingerprint(docs...)
	docs[1] = deployment("web", "2")
	r.good(docs...)
	r.comes("the watch has seen the write", func() bool { return r.fingerprint(docs...) != is })
	r.Edit("kubectl-edit", "apps/v1", "Deployment", "shop", "web", "", scaled)
	r.comes("a change is told", func() bool { mu.Lock(); defer mu.Unlock(); return slices.Equal(told, []string{"shop"}) })
}

func (r *rig) health(check map[string]any, docs ...string) error {
	return r.session.(driver.HealthChecker).Health(r.t.Context(), r.input(join(docs)), check)
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	r.Settle(func(*unstructured.Unstructured) {})
	docs := []string{settings("a", "1"), deployment("web", "1"), deployment("later", "1")}
	r.good(docs...)
	all := map[string]any{"ready": "all"}
	err := r.health(all, docs...)
	if !errors.Is(err, driver.ErrNotReady) || !strings.Contains(err.Error(), "1 of 3 ready; Deployment.apps/shop/later: ") {
		t.Errorf("%v", err)
	}
	if err := r.health(map[string]any{"ready": "ConfigMap"}, docs...); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"web", "later"} {
		r.Edit("deployment-controller", "apps/v1", "Deployment", "shop", name, "status", func(u *unstructured.Unstructured) { kubefake.Settled(u) })
	}
	if err := r.health(all, docs...); err != nil {
		t.Error(err)
	}
	for _, bad := range []map[string]any{{"ready": "all", "wihtin": "x"}, {"ready": "Nothing"}} {
		if err := r.health(bad, docs...); !driver.IsPermanent(err) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	reader := kubernetes.New().(driver.CheckReader)
	if d := reader.ReadCheck(map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A.b", "ready": "1 +"}}}); len(d) == 0 || d[0].Field != "expressions[0].ready" {
		t.Errorf("%v", d)
	}
	if d := reader.ReadCheck(all); len(d) > 0 {
		t.Errorf("%v", d)
	}
}

// The operator's expressions hold for every target.
func TestHealthByTheOperatorsExpressions(t *testing.T) {
	b := newBed(t, func(c *kubernetes.Connect) {
		c.Health = []health.Rule{{Kind: "ConfigMap", Ready: "object.data.value == 'good'", Failed: "object.data.value == 'bad'"}}
	})
	for value, want := range map[string]func(error) bool{
		"good": func(err error) bool { return err == nil },
		"so":   func(err error) bool { return errors.Is(err, driver.ErrNotReady) },
		"bad":  driver.IsPermanent,
	} {
		doc := settings("a", value)
		b.sync(doc)
		if err := b.session.(driver.HealthChecker).Health(t.Context(), b.input(doc), map[string]any{"ready": "all"}); !want(err) {
			t.Errorf("%s: %v", value, err)
		}
	}
	c := kubernetes.Connect{Kubeconfig: "file:x", Attention: kubernetes.Attention{Watch: "never", Health: []health.Rule{{Kind: "ConfigMap", Ready: "x"}}}}
	if d := c.Validate(); len(d) != 2 || d[0].Field != "watch" || d[1].Field != "health[0].ready" {
		t.Errorf("%v", d)
	}
}
