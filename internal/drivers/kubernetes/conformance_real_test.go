//go:build real

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/kubetest"
)

// cluster is the one of all tests with a real server.
var cluster *kubetest.Cluster

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kubernetes")
	if err == nil {
		cluster, err = kubetest.StartIn(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	cluster.Stop()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func kubeconfig(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// realWorld is a namespace of config maps on a real server.
type realWorld struct {
	t         testing.TB
	namespace string
}

func (w realWorld) Environment() driver.Environment { return environment(kubeconfig(w.t), nil) }

func (w realWorld) kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, err := cluster.RunIn(stdin, append([]string{"-n", w.namespace}, args...)...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (w realWorld) Set(t testing.TB, name, value string) {
	w.kubectl(t, configMapIn(w.namespace, name, value), "apply", "--field-manager=kubectl-edit", "-f", "-")
}

func (w realWorld) Unset(t testing.TB, name string) {
	w.kubectl(t, "", "delete", "configmap", name, "--ignore-not-found")
}

func (w realWorld) List(t testing.TB) drivertest.Objects {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(w.kubectl(t, "", "get", "configmaps", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	out := drivertest.Objects{}
	for _, o := range list.Items {
		if o.Metadata.Name != "kube-root-ca.crt" {
			out[o.Metadata.Name] = o.Data["value"]
		}
	}
	return out
}

// MakeUnreadable takes the right to read away from whom the tests act as.
func (w realWorld) MakeUnreadable(t testing.TB) func() {
	cluster.Stop()
	return func() {
		if err := cluster.Again(); err != nil {
			t.Fatal(err)
		}
	}
}

// Block has an admission policy refuse every write to one object.
func (w realWorld) Block(t testing.TB, name string) func() {
	id := w.namespace + "-block"
	policy := fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[2]s}}
    resourceRules: [{apiGroups: [""], apiVersions: ["*"], operations: ["*"], resources: [configmaps]}]
  validations: [{expression: "request.dryRun || request.name != '%[3]s'", message: not this one}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
`, id, w.namespace, name)
	if _, err := cluster.RunIn(policy, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	probe := func() bool { // policies take a moment
		_, err := cluster.Run("-n", w.namespace, "annotate", "configmap", name, "--overwrite", "probe=1")
		return err != nil
	}
	for range 200 {
		if probe() {
			break
		}
	}
	return func() {
		if _, err := cluster.RunIn(policy, "delete", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if !probe() {
				break
			}
		}
	}
}

func inNamespace(ns string, in driver.Input) driver.Input {
	tree := fstest.MapFS{}
	for name, f := range in.Tree.(fstest.MapFS) {
		g := *f
		g.Data = []byte(strings.ReplaceAll(string(f.Data), "namespace: shop", "namespace: "+ns))
		tree[name] = &g
	}
	in.Tree, in.Spec = tree, &kubernetes.Spec{Spec: render.Spec{Namespace: ns}}
	return in
}

func TestConformanceOnARealServer(t *testing.T) {
	h := harness()
	var last atomic.Value
	last.Store("")
	h.New = func(t testing.TB) drivertest.World {
		ns := cluster.Namespace(t)
		last.Store(ns)
		return realWorld{t, ns}
	}
	ns := func() string { return last.Load().(string) }
	h.Input = func(t testing.TB, want drivertest.Objects) driver.Input { return inNamespace(ns(), input(t, want)) }
	h.SecretInput = func(t testing.TB, canary string) driver.Input { return inNamespace(ns(), secretInput(t, canary)) }
	h.Key = func(name string) plan.Key {
		return plan.Key{Address: plan.Address("ConfigMap/" + ns() + "/" + name)}
	}
	h.Canaries = nil
	h.OptOut = map[string]string{"TruncatedReadPlansNoDelete": "a real server does not cut its answers short on demand; the fake one does"}
	drivertest.Run(t, h)
}
