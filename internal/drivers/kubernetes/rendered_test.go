package kubernetes_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sopsfile"
)

// prepared plans as the engine does: first without a cluster, then with it.
func (b *bed) prepared(in driver.Input) (*plan.Plan, error) {
	b.t.Helper()
	prep, err := kubernetes.New().Prepare(b.t.Context(), in)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := prep.Diagnostics.Err(); err != nil {
		b.t.Fatal(err)
	}
	in.Prepared = prep
	return b.session.Plan(b.t.Context(), in)
}

// TestChartsSeeTheCluster: what a chart asks of the cluster is answered by the
// cluster.
func TestChartsSeeTheCluster(t *testing.T) {
	b := newBed(t, nil)
	b.Version = "v1.36.9"
	b.Set("kubectl", gadgets)
	in := b.input()
	in.Tree = fstest.MapFS{
		"app/Chart.yaml": {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/templates/a.yaml": {Data: []byte(`apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: shop}
data:
  version: {{ .Capabilities.KubeVersion.Version }}
  gadgets: {{ .Capabilities.APIVersions.Has "example.com/v1/Gadget" | quote }}
`)}}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	c := b.only(p, "ConfigMap/shop/one", plan.Create)
	contains(t, string(c.After), "v1.36.9", `"gadgets":"true"`)
}

// TestChartsGoOnWithoutAnAggregatedAPI: one server behind the API server does
// not answer, which is no reason to leave charts alone.
func TestChartsGoOnWithoutAnAggregatedAPI(t *testing.T) {
	b := newBed(t, nil)
	b.Set("kubectl", gadgets)
	b.Down("example.com/v1", true)
	in := b.input()
	in.Tree = fstest.MapFS{
		"app/Chart.yaml": {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/templates/a.yaml": {Data: []byte(`apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: shop}
data:
  gadgets: {{ .Capabilities.APIVersions.Has "example.com/v1" | quote }}
  apps: {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" | quote }}
`)}}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	c := b.only(p, "ConfigMap/shop/one", plan.Create)
	contains(t, string(c.After), `"gadgets":"true"`, `"apps":"true"`)
}

// TestWhatCantBeAskedForIsNotGone: a chart asks for a kind whose server does not
// answer, and nobody knows it from before. What it leaves out is not deleted.
func TestWhatCantBeAskedForIsNotGone(t *testing.T) {
	b := newBed(t, nil)
	b.sync(configMap("one", "v1"), configMap("two", "v1"))
	b.Set("kubectl", gadgets)
	b.Down("example.com/v1", true)
	b.open(nil) // as after a restart
	in := b.input()
	in.Tree = fstest.MapFS{
		"app/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/templates/a.yaml": {Data: []byte(configMap("one", "v1") + "\n---\n{{ if .Capabilities.APIVersions.Has \"example.com/v1/Gadget\" }}\n" + configMap("two", "v1") + "\n{{ end }}\n")},
	}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Changes) != 0 || len(p.UnknownScopes()) != 1 {
		t.Fatalf("%s", written(p))
	}
	b.Down("example.com/v1", false)
	b.open(nil)
	if p, err = b.prepared(in); err != nil || !p.Empty() || len(p.UnknownScopes()) != 0 {
		t.Errorf("%v: %s", err, written(p))
	}
}

// TestAggregatedRoles: a controller writes the rules of an aggregated role, so
// that they are neither sent nor compared.
func TestAggregatedRoles(t *testing.T) {
	b := newBed(t, nil)
	role := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\naggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}\nrules: []\n"
	b.sync(role)
	b.Edit("clusterrole-aggregation-controller", "rbac.authorization.k8s.io/v1", "ClusterRole", "", "all", "", func(u *unstructured.Unstructured) {
		u.Object["rules"] = []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"pods"}, "verbs": []any{"get"}}}
	})
	if p := b.plan(role); !p.Empty() {
		t.Errorf("rules of the controller make a difference:\n%s", written(p))
	}
}

// TestEncryptedFilesAreOpened with the environment's keys, and never shown.
func TestEncryptedFilesAreOpened(t *testing.T) {
	const canary = "canary-2718"
	text := "apiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\nstringData: {password: " + canary + "}\n"
	key, recipient := sopsfile.Identity(t)
	sealed := sopsfile.Encrypted(t, "a.yaml", text, recipient)
	b := newBed(t, nil)
	in := b.input()
	in.Tree = fstest.MapFS{"app/a.yaml": {Data: sealed}}
	if _, err := b.prepared(in); err == nil || !strings.Contains(err.Error(), "connect.sops") {
		t.Fatalf("without keys: %v", err)
	}
	env := environment(b.Kubeconfig(), func(c *kubernetes.Connect) { c.SOPS = &kubernetes.SOPS{Age: []secret.Ref{"mem:age"}} })
	config := env.Secret
	env.Secret = func(ctx context.Context, ref secret.Ref) (secret.Value, error) {
		if ref == "mem:age" {
			return secret.New(key.String()), nil
		}
		return config(ctx, ref)
	}
	var err error
	if b.session, err = kubernetes.New().Open(t.Context(), env, driver.Write); err != nil {
		t.Fatal(err)
	}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	b.only(p, "Secret/shop/one", plan.Create)
	if err := p.Mask(nil); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(p)
	if err != nil || strings.Contains(string(raw), canary) {
		t.Errorf("%v: %s", err, raw)
	}
}

// TestWhatIsNotKnownYetIsNotGone: the name of an object waits for a value, so
// nothing is pruned in its place.
func TestWhatIsNotKnownYetIsNotGone(t *testing.T) {
	b := newBed(t, nil)
	b.sync(configMap("one", "v1"), configMap("two", "v1"))
	in := b.input()
	in.Tree = fstest.MapFS{
		"app/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/templates/a.yaml": {Data: []byte(configMap("one", "v1"))},
		"app/templates/b.yaml": {Data: []byte(configMap("{{ .Values.name }}", "v1"))},
	}
	in.Spec = &kubernetes.Spec{Spec: render.Spec{Helm: &render.HelmSpec{ValuesFrom: map[string]string{"name": "name"}}}}
	in.Values = map[string]plan.Output{"name": {Unknown: true}}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Changes) != 0 || len(p.UnknownScopes()) != 1 {
		t.Fatalf("%s", written(p))
	}
	in.Values = map[string]plan.Output{"name": {Value: json.RawMessage(`"two"`)}}
	if p, err = b.prepared(in); err != nil || !p.Empty() {
		t.Errorf("%v", err)
	}
}

// TestValuesThatAreNotKnownYet are shown as such, and not applied.
func TestValuesThatAreNotKnownYet(t *testing.T) {
	b := newBed(t, nil)
	in := b.input(configMap("one", "{{ .ip }}"))
	in.Spec = &kubernetes.Spec{Spec: render.Spec{Templates: []string{"*.yaml"}}}
	in.Values = map[string]plan.Output{"ip": {Unknown: true}}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	c := b.only(p, "ConfigMap/shop/one", plan.Create)
	if !c.Simulated || len(c.Unknown) != 1 || c.Unknown[0] != "/data/value" {
		t.Errorf("%s", written(p))
	}
	b.Set("kubectl", configMap("one", "theirs"))
	if p, err = b.prepared(in); err != nil {
		t.Fatal(err)
	}
	if c := b.only(p, "ConfigMap/shop/one", plan.Update); c.Conflict == "" {
		t.Error("an object of somebody else is not held")
	}
}
