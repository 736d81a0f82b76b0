package kubefake_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/client/kube/kubefake"
)

var (
	configmaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	spaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	widgets     = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = u.UnmarshalJSON(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func client(t *testing.T, s *kubefake.Server) dynamic.Interface {
	t.Helper()
	d, err := dynamic.NewForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: c, image: example.test/c:1}]}
`

func TestApplyOwnsFieldsByTheKeysOfLists(t *testing.T) {
	s := kubefake.New(t)
	d := client(t, s).Resource(deployments).Namespace("default")
	ctx := context.Background()
	opts := metav1.ApplyOptions{FieldManager: "trueup"}
	first, err := d.Apply(ctx, "api", object(t, deployment), opts)
	if err != nil {
		t.Fatal(err)
	}
	if first.GetGeneration() != 1 || first.GetUID() == "" {
		t.Errorf("metadata: %v", first.Object["metadata"])
	}
	again, err := d.Apply(ctx, "api", object(t, deployment), opts)
	if err != nil || again.GetResourceVersion() != first.GetResourceVersion() {
		t.Errorf("an apply that changes nothing gives version %s after %s, %v", again.GetResourceVersion(), first.GetResourceVersion(), err)
	}
	s.Edit("kubectl-edit", "apps/v1", "Deployment", "default", "api", "", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, int64(5), "spec", "replicas")
	})
	other := strings.Replace(deployment, "replicas: 2", "replicas: 3", 1)
	_, err = d.Apply(ctx, "api", object(t, other), opts)
	var st apierrors.APIStatus
	if !errors.As(err, &st) || !apierrors.IsConflict(err) || len(st.Status().Details.Causes) != 1 {
		t.Fatalf("no conflict: %v", err)
	}
	if c := st.Status().Details.Causes[0]; c.Field != ".spec.replicas" || !strings.Contains(c.Message, "kubectl-edit") {
		t.Errorf("%+v", c)
	}
	if got, err := d.Apply(ctx, "api", object(t, other), metav1.ApplyOptions{FieldManager: "trueup", Force: true, DryRun: []string{"All"}}); err != nil || got.GetGeneration() != 3 {
		t.Errorf("forced dry run: %v, %v", got, err)
	}
	if n, _, _ := unstructured.NestedInt64(s.Get("apps/v1", "Deployment", "default", "api").Object, "spec", "replicas"); n != 5 {
		t.Errorf("a dry run changed replicas to %d", n)
	}
	sidecar := strings.Replace(deployment, "{name: c, image: example.test/c:1}", "{name: side, image: example.test/s:1}", 1)
	sidecar = strings.Replace(sidecar, "  replicas: 2\n", "", 1)
	got, err := d.Apply(ctx, "api", object(t, sidecar), metav1.ApplyOptions{FieldManager: "injector"})
	if err != nil {
		t.Fatal(err)
	}
	if list, _, _ := unstructured.NestedSlice(got.Object, "spec", "template", "spec", "containers"); len(list) != 2 {
		t.Errorf("containers of two managers: %v", list)
	}
	if _, err := d.Apply(ctx, "api", object(t, strings.Replace(deployment, "replicas:", "replicaz:", 1)), opts); err == nil || !strings.Contains(err.Error(), "field not declared in schema") {
		t.Errorf("an unknown field: %v", err)
	}
	if s.Count(kubefake.DryRuns) != 1 || s.Count(kubefake.On("deployments", "apply")) != 6 {
		t.Errorf("counted %d dry runs, %d applies", s.Count(kubefake.DryRuns), s.Count(kubefake.On("deployments", "apply")))
	}
}

func TestListsComeInPagesOfOneMoment(t *testing.T) {
	s := kubefake.New(t)
	for _, name := range []string{"a", "b", "c"} {
		s.Set("me", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+", namespace: default, labels: {app: web}}")
	}
	d, ctx := client(t, s).Resource(configmaps), context.Background()
	one, err := d.List(ctx, metav1.ListOptions{Limit: 2, LabelSelector: "app=web"})
	if err != nil || len(one.Items) != 2 || one.GetContinue() == "" {
		t.Fatalf("%v, %v", one, err)
	}
	s.Unset("v1", "ConfigMap", "default", "c")
	two, err := d.List(ctx, metav1.ListOptions{Limit: 2, Continue: one.GetContinue()})
	if err != nil || len(two.Items) != 1 || two.GetResourceVersion() != one.GetResourceVersion() {
		t.Errorf("the second page is of another moment: %v, %v", two, err)
	}
	one, err = d.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Expire()
	if _, err := d.List(ctx, metav1.ListOptions{Limit: 1, Continue: one.GetContinue()}); !apierrors.IsResourceExpired(err) {
		t.Errorf("an expired token: %v", err)
	}
}

const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

func TestDefinitionsServeTheirKinds(t *testing.T) {
	s := kubefake.New(t)
	ctx, c := context.Background(), client(t, s)
	widget := object(t, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: default}\nspec: {size: 3}")
	opts := metav1.ApplyOptions{FieldManager: "trueup"}
	if _, err := c.Resource(widgets).Namespace("default").Apply(ctx, "w", widget, opts); !apierrors.IsNotFound(err) {
		t.Errorf("a kind without its definition: %v", err)
	}
	s.Set("me", crd)
	d, err := discovery.NewDiscoveryClientForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := d.ServerGroupsAndResources()
	if err != nil || !slices.ContainsFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == "example.com/v1" }) {
		t.Errorf("aggregated discovery: %v", err)
	}
	if l, err := d.ServerResourcesForGroupVersion("example.com/v1"); err != nil || len(l.APIResources) != 2 {
		t.Errorf("discovery: %v, %v", l, err)
	}
	got, err := c.Resource(widgets).Namespace("default").Apply(ctx, "w", widget, opts)
	if err != nil || got.GetGeneration() != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	s.Edit("operator", "example.com/v1", "Widget", "default", "w", "status", func(u *unstructured.Unstructured) {
		u.Object["status"] = map[string]any{"ready": true}
	})
	if got := s.Get("example.com/v1", "Widget", "default", "w"); got.GetGeneration() != 1 || got.Object["status"] == nil {
		t.Errorf("a status write: %v", got)
	}
	s.Unset("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com")
	if _, err := c.Resource(widgets).Namespace("default").Get(ctx, "w", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its definition is gone: %v", err)
	}
}

func TestFinalizersKeepWhatIsDeleted(t *testing.T) {
	s := kubefake.New(t)
	ctx, c := context.Background(), client(t, s)
	s.Set("me", "apiVersion: v1\nkind: Namespace\nmetadata: {name: web}")
	s.Set("me", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: web, finalizers: [example.com/keep]}")
	s.Set("me", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: web}")
	uid := types.UID("another")
	if err := c.Resource(configmaps).Namespace("web").Delete(ctx, "b", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); !apierrors.IsConflict(err) {
		t.Errorf("a precondition: %v", err)
	}
	if err := c.Resource(spaces).Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.Get("v1", "Namespace", "", "web") == nil || s.Get("v1", "ConfigMap", "web", "b") != nil || s.Get("v1", "ConfigMap", "web", "a").GetDeletionTimestamp() == nil {
		t.Error("a namespace has to wait for what is in it")
	}
	_, err := c.Resource(configmaps).Namespace("web").Create(ctx, object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, "NamespaceTerminating") {
		t.Errorf("in a namespace that ends: %v", err)
	}
	if _, err := c.Resource(configmaps).Namespace("web").Patch(ctx, "a", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.Get("v1", "Namespace", "", "web") != nil || s.Get("v1", "ConfigMap", "web", "a") != nil {
		t.Error("without the finalizer everything ends")
	}
}

func TestWatchesBeginWhereTheListEnded(t *testing.T) {
	s := kubefake.New(t)
	d, ctx := client(t, s).Resource(configmaps), context.Background()
	list, err := d.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Set("me", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}")
	w, err := d.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion(), AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if e := <-w.ResultChan(); e.Type != "ADDED" {
		t.Errorf("%+v", e)
	}
	s.Set("me", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: default}")
	if e := <-w.ResultChan(); e.Type != "BOOKMARK" {
		t.Errorf("%+v", e)
	}
	s.Unset("v1", "ConfigMap", "default", "a")
	if e := <-w.ResultChan(); e.Type != "DELETED" {
		t.Errorf("%+v", e)
	}
	s.Expire()
	s.CutWatches()
	if _, open := <-w.ResultChan(); open {
		t.Error("the watch goes on")
	}
	w, err = d.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != "ERROR" || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Errorf("%+v", e)
	}
}

func TestFaults(t *testing.T) {
	s := kubefake.New(t)
	d, ctx := client(t, s).Resource(configmaps).Namespace("default"), context.Background()
	cm := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}")
	undo := s.Admit(func(r kubefake.Request, u *unstructured.Unstructured) error {
		if r.DryRun {
			return kubefake.NoDryRun("hook.example.com")
		}
		u.SetLabels(map[string]string{"injected": "yes"})
		return nil
	})
	if _, err := d.Create(ctx, cm, metav1.CreateOptions{DryRun: []string{"All"}}); !apierrors.IsBadRequest(err) {
		t.Errorf("%v", err)
	}
	undo()
	for loss, done := range map[kubefake.Loss]bool{kubefake.LostRequest: false, kubefake.LostAnswer: true, kubefake.ResetAnswer: true} {
		off := s.Lose(func(r kubefake.Request) kubefake.Loss {
			if r.Verb == "create" {
				return loss
			}
			return kubefake.Kept
		})
		if _, err := d.Create(ctx, cm, metav1.CreateOptions{}); err == nil {
			t.Errorf("loss %d: the answer came", loss)
		}
		off()
		if got := s.Get("v1", "ConfigMap", "default", "a") != nil; got != done {
			t.Errorf("loss %d: was it done? %v", loss, got)
		}
		s.Unset("v1", "ConfigMap", "default", "a")
	}
	s.Set("me", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}")
	s.DenyTimes(1, kubefake.On("configmaps", "get"), apierrors.NewTooManyRequests("slow down", 1))
	if _, err := d.Get(ctx, "a", metav1.GetOptions{}); err != nil || s.Count(kubefake.On("configmaps", "get")) != 2 {
		t.Errorf("%v after %d requests", err, s.Count(kubefake.On("configmaps", "get")))
	}
	s.Revoke("admin-token")
	if _, err := d.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("%v", err)
	}
}
