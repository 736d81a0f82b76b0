package metacache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
)

// rig is a fake server with a Deployment, a ConfigMap and a ClusterRole that
// trueup applied, and caches on it.
type rig struct {
	*testing.T
	s       *kubefake.Server
	cluster *kube.Cluster
	wants   []Want
}

var (
	deployments  = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	configMaps   = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	clusterRoles = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}
)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, s: kubefake.New(t)}
	var err error
	if r.cluster, err = kube.New(r.s.Config()); err != nil {
		t.Fatal(err)
	}
	r.apply(deployments, "default", "a", map[string]any{"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "a"}},
		"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "a"}}, "spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i:1"}}}}})
	r.apply(configMaps, "default", "b", nil)
	r.apply(clusterRoles, "", "c", nil)
	r.wants = []Want{r.want(deployments, "default", "a"), r.want(configMaps, "default", "b"), r.want(clusterRoles, "", "c")}
	return r
}

func (r *rig) mapping(k schema.GroupVersionKind) kube.Mapping {
	r.Helper()
	m, err := r.cluster.Mapping(context.Background(), k)
	if err != nil {
		r.Fatal(err)
	}
	return m
}

func (r *rig) want(k schema.GroupVersionKind, namespace, name string) Want {
	return Want{Mapping: r.mapping(k), Namespace: namespace, Name: name}
}

// apply applies an object as trueup does.
func (r *rig) apply(k schema.GroupVersionKind, namespace, name string, spec map[string]any) {
	r.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(k)
	u.SetNamespace(namespace)
	u.SetName(name)
	u.SetLabels(map[string]string{"own": "1", "odd": "a"})
	u.SetAnnotations(map[string]string{"example.com/a&b": "<1>"})
	switch k.Kind {
	case "ConfigMap":
		u.Object["data"] = map[string]any{"k": "v"}
	case "ClusterRole":
		u.Object["rules"] = []any{}
	default:
		u.Object["spec"] = spec
	}
	if _, err := r.cluster.Apply(context.Background(), r.mapping(k), u, kube.ApplyOptions{Manager: "trueup", Force: true}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) cache(o Options) *Cache {
	o.Managers = []string{"trueup"}
	if o.Staleness == 0 {
		o.Staleness = -1
	}
	c := New(r.cluster, o)
	r.Cleanup(c.Close)
	return c
}

func (r *rig) print(c *Cache, id string) string {
	r.Helper()
	fp, err := c.Fingerprint(context.Background(), id)
	if err != nil || fp == "" {
		r.Fatalf("fingerprint %q, %v", fp, err)
	}
	return fp
}

// live reads the objects whole, as a plan does.
func (r *rig) live(wants []Want) func(int) metav1.Object {
	return func(i int) metav1.Object {
		w := wants[i]
		u, err := r.cluster.Get(context.Background(), w.Mapping, w.Namespace, w.Name)
		if errors.Is(err, kube.ErrNotFound) {
			return nil
		}
		if err != nil {
			r.Fatal(err)
		}
		return u
	}
}

func (r *rig) edit(api, kind, name, sub string, f func(u *unstructured.Unstructured)) {
	ns := "default"
	if kind == "ClusterRole" {
		ns = ""
	}
	r.s.Edit("kubectl-edit", api, kind, ns, name, sub, f)
}

func set(value any, path ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
			panic(err)
		}
	}
}

// What counts and what does not, by the watch, by lists, and by what a plan
// reads: all three agree at every step.
func TestWhatCounts(t *testing.T) {
	r := newRig(t)
	watching, listing, planning := r.cache(Options{Watch: true}), r.cache(Options{}), r.cache(Options{})
	watching.Remember("t", r.wants)
	listing.Remember("t", r.wants)
	last := r.print(listing, "t")
	for _, step := range []struct {
		name   string
		do     func()
		counts bool
	}{
		{"nothing", func() {}, false},
		{"status", func() { r.edit("apps/v1", "Deployment", "a", "status", set(int64(3), "status", "readyReplicas")) }, false},
		{"a stranger's annotation", func() { r.edit("v1", "ConfigMap", "b", "", set("x", "metadata", "annotations", "other")) }, false},
		{"a stranger's label", func() { r.edit("apps/v1", "Deployment", "a", "", set("x", "metadata", "labels", "other")) }, false},
		{"a stranger's data", func() { r.edit("v1", "ConfigMap", "b", "", set("x", "data", "other")) }, false},
		{"a stranger's finalizer", func() {
			r.edit("v1", "ConfigMap", "b", "", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"example.com/wait"}) })
		}, false},
		{"our data", func() { r.edit("v1", "ConfigMap", "b", "", set("w", "data", "k")) }, true},
		{"our label", func() {
			r.edit("rbac.authorization.k8s.io/v1", "ClusterRole", "c", "", set("2", "metadata", "labels", "own"))
		}, true},
		{"our annotation, away", func() {
			r.edit("v1", "ConfigMap", "b", "", func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
		}, true},
		{"spec", func() { r.edit("apps/v1", "Deployment", "a", "", set(int64(4), "spec", "replicas")) }, true},
		{"being deleted", func() {
			if err := r.cluster.Delete(context.Background(), r.mapping(configMaps), "default", "b", kube.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"gone", func() {
			r.edit("v1", "ConfigMap", "b", "", func(u *unstructured.Unstructured) { u.SetFinalizers(nil) })
		}, true},
		{"another one of the name", func() { r.apply(configMaps, "default", "b", nil) }, true},
		{"managed fields thrown away", func() {
			r.edit("v1", "ConfigMap", "b", "", func(u *unstructured.Unstructured) { u.SetManagedFields([]metav1.ManagedFieldsEntry{{}}) })
		}, true},
	} {
		step.do()
		now := r.print(listing, "t")
		if (now != last) != step.counts {
			t.Errorf("%s: counts %v, not %v", step.name, now != last, step.counts)
		}
		if got := planning.Read("t", r.wants, r.live(r.wants)); got != now {
			t.Errorf("%s: what a plan reads has another fingerprint than the metadata", step.name)
		}
		await(t, step.name+": the watch gets there", func() bool { return r.print(watching, "t") == now })
		last = now
	}
}

// What something is read from counts whole.
func TestWhole(t *testing.T) {
	r := newRig(t)
	c := r.cache(Options{})
	whole := append([]Want(nil), r.wants...)
	whole[0].Whole = true
	c.Remember("t", whole)
	before := r.print(c, "t")
	r.edit("apps/v1", "Deployment", "a", "status", set(int64(3), "status", "readyReplicas"))
	if r.print(c, "t") == before {
		t.Error("a status that is read from does not count")
	}
}

// An object that has no field of ours counts with every change.
func TestForeignObjectsCountWhole(t *testing.T) {
	r := newRig(t)
	r.s.Set("kubectl", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: foreign, namespace: default}\ndata: {a: b}")
	wants := []Want{r.want(configMaps, "default", "foreign")}
	c := r.cache(Options{})
	c.Remember("t", wants)
	before := r.print(c, "t")
	r.edit("v1", "ConfigMap", "foreign", "", set("c", "data", "a"))
	if r.print(c, "t") == before {
		t.Error("a change is missed")
	}
}

func reads(s *kubefake.Server) int {
	return s.Count(func(r kubefake.Request) bool { return r.Verb == "list" || r.Verb == "get" || r.Verb == "watch" })
}

// A check of what does not move asks the server nothing.
func TestWatchedChecksAreFree(t *testing.T) {
	r := newRig(t)
	c := r.cache(Options{Watch: true})
	for i := range 20 {
		c.Remember(fmt.Sprint(i), r.wants)
	}
	r.s.Forget()
	r.print(c, "0")
	if n := reads(r.s); n > 6 {
		t.Errorf("%d requests to begin with, not a list and a watch of each kind", n)
	}
	r.s.Forget()
	for i := range 20 {
		r.print(c, fmt.Sprint(i))
	}
	if n := reads(r.s); n != 0 {
		t.Errorf("%d requests for checks of what is watched", n)
	}
}

// Without watches, targets that ask at the same time share a list; one that
// began before the last of them is used only within the staleness allowed.
func TestListsAreShared(t *testing.T) {
	r := newRig(t)
	c := r.cache(Options{Staleness: time.Hour})
	for i := range 20 {
		c.Remember(fmt.Sprint(i), r.wants)
	}
	r.s.Forget()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { r.print(c, fmt.Sprint(i)) })
	}
	wg.Wait()
	if n := reads(r.s); n != len(r.wants) {
		t.Errorf("%d requests of 20 targets, not one for each kind", n)
	}
	strict := r.cache(Options{Staleness: -1})
	strict.Remember("t", r.wants)
	before := r.print(strict, "t")
	r.s.Unset("v1", "ConfigMap", "default", "b")
	if r.print(strict, "t") == before {
		t.Error("an old list answers")
	}
}

// A watch that ends, or whose place has expired, loses nothing.
func TestBrokenWatches(t *testing.T) {
	r := newRig(t)
	c := r.cache(Options{Watch: true})
	c.Remember("t", r.wants)
	before := r.print(c, "t")
	for i, breaks := range []func(){r.s.CutWatches, func() { r.s.CutWatches(); r.s.Expire() }, r.s.CutWatches} {
		breaks()
		r.edit("v1", "ConfigMap", "b", "", set(fmt.Sprint(i), "data", "k"))
		await(t, "the change is seen", func() bool { return r.print(c, "t") != before })
		r.apply(configMaps, "default", "b", nil)
		truth := r.cache(Options{})
		truth.Remember("t", r.wants)
		await(t, "the watch is back", func() bool { return r.print(c, "t") == r.print(truth, "t") })
		before = r.print(truth, "t")
	}
}

// A watch that may not be opened leaves lists; a list that fails is an error.
func TestDenied(t *testing.T) {
	r := newRig(t)
	undo := r.s.Deny(func(q kubefake.Request) error {
		if q.Verb == "watch" {
			return kubefake.Status(403, metav1.StatusReasonForbidden, "no watching")
		}
		return nil
	})
	c := r.cache(Options{Watch: true})
	c.Remember("t", r.wants)
	before := r.print(c, "t")
	r.edit("v1", "ConfigMap", "b", "", set("x", "data", "k"))
	if r.print(c, "t") == before {
		t.Error("a change is missed")
	}
	undo()
	for _, code := range []int32{403, 401, 429, 500} {
		undo := r.s.Deny(func(q kubefake.Request) error {
			if q.Verb == "list" && q.Resource.Resource == "configmaps" {
				return kubefake.Status(code, metav1.StatusReasonUnknown, "no")
			}
			return nil
		})
		if fp, err := c.Fingerprint(context.Background(), "t"); err == nil || fp != "" {
			t.Errorf("%d: %q, %v", code, fp, err)
		}
		undo()
	}
}

// Many namespaces are read in one, unless that is not allowed.
func TestManyNamespaces(t *testing.T) {
	for _, narrow := range []bool{false, true} {
		r := newRig(t)
		if narrow {
			r.s.Deny(func(q kubefake.Request) error {
				if q.Verb == "list" && q.Namespace == "" && q.Resource.Resource == "configmaps" {
					return kubefake.Status(403, metav1.StatusReasonForbidden, "not in all namespaces")
				}
				return nil
			})
		}
		c := r.cache(Options{Watch: true})
		var wants []Want
		for i := range 12 {
			ns := fmt.Sprintf("n%d", i)
			r.s.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+ns+"}")
			r.apply(configMaps, ns, "b", nil)
			wants = append(wants, r.want(configMaps, ns, "b"))
		}
		r.s.Forget()
		c.Remember("t", wants)
		before := r.print(c, "t")
		lists := r.s.Count(kubefake.On("configmaps", "list"))
		if !narrow && lists > 5+1 || narrow && lists > 12+5 {
			t.Errorf("narrow %v: %d lists", narrow, lists)
		}
		r.s.Edit("kubectl-edit", "v1", "ConfigMap", "n11", "b", "", set("x", "data", "k"))
		await(t, "a change in the last one", func() bool { return r.print(c, "t") != before })
	}
}

// silent is a server whose watch opens and says nothing.
type silent struct {
	*kube.Cluster
	w *watch.FakeWatcher
}

func (s silent) WatchMeta(context.Context, kube.Mapping, string, string) (watch.Interface, error) {
	return s.w, nil
}

// A watch that has said nothing for too long is not believed.
func TestSilentWatch(t *testing.T) {
	r := newRig(t)
	c := New(silent{r.cluster, watch.NewFake()}, Options{Managers: []string{"trueup"}, Watch: true, Silence: 200 * time.Millisecond, Staleness: -1})
	t.Cleanup(c.Close)
	c.Remember("t", r.wants)
	before := r.print(c, "t")
	r.edit("v1", "ConfigMap", "b", "", set("x", "data", "k"))
	await(t, "the change is seen", func() bool { return r.print(c, "t") != before })
}

func TestUnknownTarget(t *testing.T) {
	c := newRig(t).cache(Options{})
	if fp, err := c.Fingerprint(context.Background(), "x"); fp != "" || err != nil || c.Knows("x") {
		t.Errorf("%q, %v", fp, err)
	}
}

func await(t *testing.T, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !check(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
