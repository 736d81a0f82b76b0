//go:build real

package kubernetes_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// TestBuiltInKindsAreKnownWithoutAServer: what Prepare takes for a kind of the
// whole cluster is one on a real server, for all that it has.
func TestBuiltInKindsAreKnownWithoutAServer(t *testing.T) {
	config, err := kube.Config(kube.Options{Kubeconfig: kubeconfig(t)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := c.Kinds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range kinds {
		if g := m.Kind.Group; g != "" && strings.Contains(g, ".") && !strings.HasSuffix(g, ".k8s.io") {
			continue // of other tests
		}
		text := "apiVersion: " + m.Kind.GroupVersion().String() + "\nkind: " + m.Kind.Kind + "\nmetadata: {name: x}\n"
		prep, err := kubernetes.New().Prepare(t.Context(), driver.Input{Tree: fstest.MapFS{"a.yaml": {Data: []byte(text)}}, Path: "a.yaml",
			Spec: &kubernetes.Spec{Spec: render.Spec{Namespace: "ns"}}, Scope: &kubernetes.Scope{}, Mode: plan.Apply})
		if err != nil || prep.Diagnostics.Err() != nil || len(prep.Desired) != 1 {
			t.Errorf("%s: %v %v", m.Kind, err, prep)
			continue
		}
		if got := strings.Contains(string(prep.Desired[0].Address), "/ns/"); got != m.Namespaced {
			t.Errorf("%s lies in namespaces: %v, taken for %v", m.Kind, m.Namespaced, got)
		}
	}
}
