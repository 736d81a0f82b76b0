package kube_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
)

const crd = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

var widget = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}

func discovered(r kubefake.Request) bool { return r.Verb == "discover" }

func TestKindsAreRememberedAndForgotten(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	if m.Resource.Resource != "deployments" || !m.Namespaced || !m.Status {
		t.Errorf("%+v", m)
	}
	n := s.Count(discovered)
	if m := mapping(t, c, schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}); m.Namespaced || s.Count(discovered) != n {
		t.Errorf("%+v after %d more requests", m, s.Count(discovered)-n)
	}
	if m, err := c.Preferred(ctx, schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}); err != nil || m.Kind.Version != "v2" {
		t.Errorf("%+v, %v", m, err)
	}
	for range 3 {
		if _, err := c.Mapping(ctx, widget); !errors.Is(err, kube.ErrNoKind) {
			t.Errorf("a kind that is not there: %v", err)
		}
	}
	if more := s.Count(discovered) - n; more > 3 {
		t.Errorf("a missing kind was asked for by %d requests", more)
	}
	s.Set("me", crd)
	c.Forget()
	if m := mapping(t, c, widget); m.Resource.Resource != "widgets" || !m.Status {
		t.Errorf("%+v", m)
	}
}

func TestAKindIsNotGoneBecauseItsServerIsDown(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	s.Set("me", crd)
	s.Down("example.com/v1", true)
	for name, ask := range map[string]func() (kube.Mapping, error){
		"mapping":   func() (kube.Mapping, error) { return c.Mapping(ctx, widget) },
		"preferred": func() (kube.Mapping, error) { return c.Preferred(ctx, widget.GroupKind()) },
	} {
		if _, err := ask(); !errors.Is(err, driver.ErrUnreachable) || errors.Is(err, kube.ErrNoKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mapping(t, c, configMap) // the others go on
	s.Down("example.com/v1", false)
	c.Forget()
	mapping(t, c, widget)
}

// A proxy that has lost its way answers 404 to everything, or something else.
func TestWhatIsNoAPIServerHasNoOpinionOnKinds(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"404":   http.NotFound,
		"JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
		"HTML":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"login": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
	} {
		h := httptest.NewServer(handler)
		c := dial(t, kubeconfigOf(h.URL, nil, ""))
		for _, k := range []schema.GroupVersionKind{widget, configMap} {
			if _, err := c.Mapping(context.Background(), k); err == nil || errors.Is(err, kube.ErrNoKind) {
				t.Errorf("%s, %s: %v", name, k.Kind, err)
			}
			if _, err := c.Preferred(context.Background(), k.GroupKind()); err == nil || errors.Is(err, kube.ErrNoKind) {
				t.Errorf("%s, %s: %v", name, k.Kind, err)
			}
		}
		h.Close()
	}
}

func TestADefinitionThatWentAwayIsNoEmptyList(t *testing.T) {
	s := kubefake.New(t)
	s.Set("me", crd)
	s.Set("me", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: default}")
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, widget)
	s.Unset("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com")
	if _, err := c.Get(ctx, m, "default", "w"); !errors.Is(err, driver.ErrUnreachable) || errors.Is(err, kube.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if _, _, err := c.ListMeta(ctx, m, ""); !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "widgets") {
		t.Errorf("list: %v", err)
	}
	if _, err := c.Mapping(ctx, widget); !errors.Is(err, kube.ErrNoKind) {
		t.Errorf("after that the kind is looked up anew: %v", err)
	}
}

func TestTheClusterIsKnownAgain(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	uid, err := c.UID(ctx)
	if err != nil || uid != string(s.Get("v1", "Namespace", "", "kube-system").GetUID()) {
		t.Fatalf("%q, %v", uid, err)
	}
	if err := c.Same(ctx); err != nil {
		t.Error(err)
	}
	s.Become()
	if err := c.Same(ctx); !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("another cluster is taken for the same: %v", err)
	}
	if v, err := c.Version(ctx); err != nil || v != "v1.37.2" {
		t.Errorf("%q, %v", v, err)
	}
}
