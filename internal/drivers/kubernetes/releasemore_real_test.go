//go:build real

package kubernetes_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// TestReleaseTests are part of the target's health.
func TestReleaseTests(t *testing.T) {
	pod := func(code int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: check, annotations: {helm.sh/hook: test, kubetest/exit: \"%d\"}}\nspec: {restartPolicy: Never, containers: [{name: main, image: example.test/c:1}]}\n", code)
	}
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"), "check": pod(0)})
	health := func() error {
		return s.open().(driver.HealthChecker).Health(t.Context(), s.input(), map[string]any{"ready": "all"})
	}
	s.sync()
	if err := health(); err != nil || s.get("pod/check", ".metadata.name") != "" {
		t.Errorf("nobody asked for tests: %v", err)
	}
	s.helmSpec(func(h *render.HelmSpec) { h.Release.Test = true })
	s.settled()
	s.fatal(health())
	if s.get("pod/check", ".status.phase") != "Succeeded" {
		t.Error("the test did not run")
	}
	s.settled()
	s.files["templates/check.yaml"] = pod(7)
	s.sync()
	err := health()
	if err == nil || errors.Is(err, driver.ErrNotReady) {
		t.Fatalf("%v", err)
	}
	s.has(err.Error(), "ended with 7")
	s.connect = nil
	read, err := kubernetes.New().Open(t.Context(), environment(kubeconfig(t), nil), driver.Read)
	s.fatal(err)
	defer read.Close()
	if err := read.(driver.HealthChecker).Health(t.Context(), s.input(), map[string]any{"ready": "all"}); err == nil || !strings.Contains(err.Error(), "failed before: Pod/check") {
		t.Errorf("%v", err)
	}
}

// TestReleaseBrings definitions and the namespace; grants and scopes see them.
func TestReleaseBrings(t *testing.T) {
	s := newShip(t, nil)
	group := s.namespace + ".example.test"
	t.Cleanup(func() { _, _ = cluster.Run("delete", "crd", "things."+group, "--ignore-not-found") })
	s.files["crds/thing.yaml"] = fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`, group)
	s.files["templates/thing.yaml"] = fmt.Sprintf("{{ if .Capabilities.APIVersions.Has \"%[1]s/v1/Thing\" }}\napiVersion: %[1]s/v1\nkind: Thing\nmetadata: {name: it}\n{{ end }}", group)
	s.files["templates/one.yaml"] = plainConfigMap("one", "v1")
	p := s.plan()
	crd := "CustomResourceDefinition.apiextensions.k8s.io/things." + group
	s.is(p, "create ConfigMap/one, none "+crd+", create Release.helm.sh/app, create Thing."+group+"/it")
	if c := s.change(p, "Thing."+group+"/it"); !c.Simulated || !strings.Contains(c.Note, "its kind comes with the same commit") {
		t.Errorf("%s", shown(p))
	}
	if im := p.Impact()["customresourcedefinition"]; im.Create != 1 {
		t.Errorf("%+v", p.Impact())
	}
	s.scope = &kubernetes.Scope{Namespaces: []string{s.namespace}}
	if _, err := s.tryPlan(); err == nil || !strings.Contains(err.Error(), "lies outside the target's scope") {
		t.Errorf("%v", err)
	}
	s.scope = &kubernetes.Scope{}
	s.sync()
	s.mode = plan.Destroy
	s.fatal(s.apply(t.Context(), s.plan()))
	if s.owned() != "" {
		t.Errorf("owned %s", s.owned())
	}
	if out, err := cluster.Run("get", "crd", "things."+group, "-o", "name"); err != nil || out == "" {
		t.Errorf("the definition is gone: %v", err)
	}

	b := newShip(t, map[string]string{"one": plainConfigMap("one", "v1")})
	b.namespace += "-new"
	b.spec = releaseSpec(b.namespace, nil)
	b.spec.CreateNamespace = true
	t.Cleanup(func() { _, _ = cluster.Run("delete", "namespace", b.namespace, "--wait=false") })
	b.is(b.plan(), "create ConfigMap/one, create Namespace/"+b.namespace+", create Release.helm.sh/app")
	b.sync()
	if b.history() != "1 deployed" {
		t.Errorf("history %s", b.history())
	}
}

// TestHooksStayInScope: a chart can't reach beyond its target by a hook.
func TestHooksStayInScope(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"),
		"hook": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, namespace: kube-system, annotations: {helm.sh/hook: pre-install}}\n"})
	p := s.plan()
	if c := s.change(p, "ConfigMap/kube-system/two"); c.Action != plan.None {
		t.Errorf("%s", shown(p))
	}
	s.scope = &kubernetes.Scope{Namespaces: []string{s.namespace}}
	if _, err := s.tryPlan(); err == nil || !strings.Contains(err.Error(), "ConfigMap/kube-system/two lies outside the target's scope") {
		t.Errorf("%v", err)
	}
}

// TestHooksDeleteNobodysObject: Helm deletes what has the name of a hook, so a
// hook may not have that of an object that is none.
func TestHooksDeleteNobodysObject(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"),
		"hook": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: precious, annotations: {helm.sh/hook: pre-install}}\n"})
	s.Set(t, "precious", "theirs")
	uid := s.get("cm/precious", ".metadata.uid")
	p := s.plan()
	s.has(s.change(p, theRelease).Conflict, "has the name of an object that is no hook")
	s.has(s.change(p, "ConfigMap/one").Conflict, "a release is applied as a whole")
	s.fatal(s.apply(t.Context(), p))
	if s.get("cm/precious", ".metadata.uid") != uid || s.history() != "" {
		t.Error("the object was deleted")
	}
	s.Unset(t, "precious")
	s.sync()
	s.files["templates/one.yaml"] = plainConfigMap("one", "v2")
	s.files["templates/hook.yaml"] = strings.Replace(s.files["templates/hook.yaml"], "pre-install", "pre-upgrade", 1)
	s.sync() // what an earlier run of the hook left may go
}

// TestReleaseIsRenamed: the old one is uninstalled, what both have stays.
func TestReleaseIsRenamed(t *testing.T) {
	s := newShip(t, map[string]string{"same": plainConfigMap("same", "v1"), "own": plainConfigMap("own-{{ .Release.Name }}", "v1"),
		"keep": "{{ if eq .Release.Name \"app\" }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep, annotations: {helm.sh/resource-policy: keep}}\n{{ end }}"})
	s.helmSpec(func(h *render.HelmSpec) { h.Release.KeepHistory = true })
	s.sync()
	uid := s.get("cm/same", ".metadata.uid")
	s.helmSpec(func(h *render.HelmSpec) { h.ReleaseName = "other" })
	p := s.plan()
	s.is(p, "forget ConfigMap/keep, delete ConfigMap/own-app, create ConfigMap/own-other, update ConfigMap/same, delete Release.helm.sh/app, create Release.helm.sh/other")
	s.has(s.change(p, "ConfigMap/keep").Note, "helm.sh/resource-policy: keep")
	s.has(s.change(p, theRelease).Note, "it is uninstalled; its history stays")
	s.sync()
	if s.get("cm/same", ".metadata.uid") != uid || s.get("cm/own-app", ".metadata.name") != "" || s.get("cm/keep", ".metadata.name") != "keep" || s.history() != "1 uninstalled" {
		t.Errorf("history %s, owned %s", s.history(), s.owned())
	}
	// It comes back over its history.
	s.helmSpec(func(h *render.HelmSpec) { h.ReleaseName = "app" })
	s.sync()
	if s.history() != "1 superseded, 2 deployed" {
		t.Errorf("history %s", s.history())
	}
}

// TestValuesOfOthersAreAwaited: what is not known yet is planned as such, and
// not applied.
func TestValuesOfOthersAreAwaited(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "{{ .Values.ip }}")})
	s.helmSpec(func(h *render.HelmSpec) { h.ValuesFrom = map[string]string{"ip": "lb"} })
	s.values = map[string]plan.Output{"lb": {Unknown: true}}
	p := s.plan()
	if c := s.change(p, "ConfigMap/one"); strings.Join(c.Unknown, " ") != "/data/value" {
		t.Errorf("%s", shown(p))
	}
	if c := s.change(p, theRelease); strings.Join(c.Unknown, " ") != "/values/ip" {
		t.Errorf("%v", c.Unknown)
	}
	if err := s.apply(t.Context(), p); !errors.Is(err, driver.ErrStale) {
		t.Errorf("%v", err)
	}
	s.values = map[string]plan.Output{"lb": {Value: []byte(`"192.0.2.7"`)}}
	s.sync()
	if got := s.get("cm/one", ".data.value"); got != "192.0.2.7" {
		t.Error(got)
	}
}

// TestOnlyAdding never removes an object that an upgrade would.
func TestOnlyAdding(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"), "two": plainConfigMap("two", "v1")})
	s.sync()
	delete(s.files, "templates/two.yaml")
	s.files["templates/three.yaml"] = plainConfigMap("three", "v1")
	s.mode = plan.AddOnly
	s.is(s.plan(), "create ConfigMap/three, update Release.helm.sh/app")
	s.fatal(s.apply(t.Context(), s.plan()))
	if s.get("cm/two", ".metadata.name") != "two" {
		t.Error("it is gone")
	}
	s.mode = plan.Apply
	s.is(s.plan(), "delete ConfigMap/two")
	s.sync()
	if s.get("cm/two", ".metadata.name") != "" {
		t.Error("it is still there")
	}
}

// TestReleaseFieldsOfOthers: a field that an autoscaler owns is held, or left alone
// where the target says so.
func TestReleaseFieldsOfOthers(t *testing.T) {
	web := func(image string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: c, image: \"" + image + "\"}]}\n"
	}
	s := newShip(t, map[string]string{"web": web("example.test/c:1")})
	s.sync()
	s.kubectl(t, "", "scale", "deployment", "web", "--replicas=3")
	s.kubectl(t, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":%q},"spec":{"replicas":3}}`, s.namespace),
		"apply", "--server-side", "--field-manager=autoscaler", "--force-conflicts", "-f", "-")
	p := s.plan()
	s.has(s.change(p, "Deployment.apps/web").Conflict, ".spec.replicas is owned by autoscaler")
	s.spec.IgnoreDifferences = []ignore.Rule{{Kind: "Deployment", Pointers: []string{"/spec/replicas"}}}
	s.files["templates/web.yaml"] = web("example.test/c:2")
	p = s.plan()
	if c := s.change(p, "Deployment.apps/web"); c.Conflict != "" {
		t.Errorf("%s", shown(p))
	}
	s.sync()
	if got := s.get("deployment/web", ".spec.replicas") + s.get("deployment/web", ".spec.template.spec.containers[0].image"); got != "3example.test/c:2" {
		t.Error(got)
	}
}
