package kubernetes_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// token is what the tests connect with.
const token = "canary-of-the-token-17"

func environment(kubeconfig []byte, change func(*kubernetes.Connect)) driver.Environment {
	c := &kubernetes.Connect{Kubeconfig: "mem:kubeconfig"}
	if change != nil {
		change(c)
	}
	return driver.Environment{Name: "cluster", Connect: c, HashKey: []byte("0123456789abcdef"),
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(string(kubeconfig)), nil }}
}

// fakeWorld is a namespace of config maps.
type fakeWorld struct{ *kubefake.Server }

func (w fakeWorld) Environment() driver.Environment { return environment(w.KubeconfigFor(token), nil) }

func configMap(name, value string) string { return configMapIn("shop", name, value) }

func configMapIn(namespace, name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\ndata:\n  value: %s\n", name, namespace, value)
}

func (w fakeWorld) Set(_ testing.TB, name, value string) {
	w.Server.Set("kubectl-edit", configMap(name, value))
}

func (w fakeWorld) Unset(t testing.TB, name string) { w.Server.Unset("v1", "ConfigMap", "shop", name) }

func (w fakeWorld) List(t testing.TB) drivertest.Objects {
	out := drivertest.Objects{}
	for _, u := range w.Server.List("v1", "ConfigMap", "shop") {
		data, _ := u.Object["data"].(map[string]any)
		out[u.GetName()], _ = data["value"].(string)
	}
	return out
}

func (w fakeWorld) MakeUnreadable(testing.TB) func() {
	return w.Deny(func(kubefake.Request) error {
		return kubefake.Status(http.StatusServiceUnavailable, "ServiceUnavailable", "down")
	})
}

// TruncateReads lets the first page of a list through, and nothing behind it.
func (w fakeWorld) TruncateReads(testing.TB) func() {
	w.Pages(1)
	undo := w.Deny(func(r kubefake.Request) error {
		if strings.Contains(r.Path, "continue=") || r.Verb == "get" && r.Resource.Resource == "configmaps" {
			return kubefake.Status(http.StatusInternalServerError, "InternalError", "the storage went away")
		}
		return nil
	})
	return func() { w.Pages(0); undo() }
}

func (w fakeWorld) Block(_ testing.TB, name string) func() {
	return w.Deny(func(r kubefake.Request) error {
		if kubefake.Writes(r) && r.Name == name {
			return kubefake.Refused("guard.example.com", "not this one")
		}
		return nil
	})
}

func input(t testing.TB, want drivertest.Objects) driver.Input {
	tree := fstest.MapFS{}
	for name, value := range want {
		tree[name+".yaml"] = &fstest.MapFile{Data: []byte(configMap(name, value))}
	}
	return driver.Input{Tree: tree, Path: ".", Spec: &kubernetes.Spec{Spec: render.Spec{Namespace: "shop"}}, Scope: &kubernetes.Scope{}}
}

func secretInput(t testing.TB, canary string) driver.Input {
	text := "apiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\nstringData:\n  password: " + canary +
		"\ndata:\n  other: " + base64.StdEncoding.EncodeToString([]byte(canary)) + "\n"
	return driver.Input{Tree: fstest.MapFS{"app/secret.yaml": {Data: []byte(text)}}, Path: "app", Spec: &kubernetes.Spec{}, Scope: &kubernetes.Scope{}}
}

func file(text string) driver.Input {
	return driver.Input{Tree: fstest.MapFS{"app/a.yaml": {Data: []byte(text)}}, Path: "app", Spec: &kubernetes.Spec{}}
}

func bad() []drivertest.BadInput {
	spec := func(s kubernetes.Spec) driver.Input {
		in := file(configMap("one", "v1"))
		in.Spec = &s
		return in
	}
	return []drivertest.BadInput{
		{Name: "no YAML", Input: file("a: [\n"), File: "app/a.yaml"},
		{Name: "no name", Input: file("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop}\n"), File: "app/a.yaml"},
		{Name: "no namespace", Input: file("\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"), Field: "metadata.namespace", File: "app/a.yaml", Line: 2},
		{Name: "asked for twice", Input: file(configMap("one", "v1") + "---\n" + configMap("one", "v2")), File: "app/a.yaml"},
		{Name: "a secret that is not encoded", Input: file("apiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\ndata: {a: '%%'}\n"), Field: "data.a", File: "app/a.yaml"},
		{Name: "a service account without a namespace", Input: spec(kubernetes.Spec{ServiceAccount: "deployer"}), Field: "serviceAccount"},
		{Name: "an output without a path", Input: spec(kubernetes.Spec{Outputs: map[string]kubernetes.Output{"ip": {Object: "Service/shop/web"}}}), Field: "outputs.ip.path"},
		{Name: "a way to render", Input: spec(kubernetes.Spec{Spec: render.Spec{Render: "nonsense"}}), Field: "render"},
	}
}

func harness() drivertest.Harness {
	return drivertest.Harness{
		Driver: kubernetes.New(),
		New: func(t testing.TB) drivertest.World {
			s := kubefake.New(t)
			s.User(token, "trueup")
			s.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
			return fakeWorld{s}
		},
		Input:       input,
		Key:         func(name string) plan.Key { return plan.Key{Address: plan.Address("ConfigMap/shop/" + name)} },
		Bad:         bad(),
		SecretInput: secretInput,
		Canaries:    []string{token},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness()) }
