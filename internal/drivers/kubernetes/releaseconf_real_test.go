//go:build real

package kubernetes_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// releaseSpec is that of a release called app.
func releaseSpec(ns string, change func(*render.HelmSpec)) *kubernetes.Spec {
	h := &render.HelmSpec{Mode: render.Release, ReleaseName: "app", Release: &render.ReleaseSpec{}}
	if change != nil {
		change(h)
	}
	return &kubernetes.Spec{Spec: render.Spec{Namespace: ns, Helm: h}}
}

func chartInput(ns string, templates map[string]string) driver.Input {
	tree := fstest.MapFS{"app/Chart.yaml": {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")}}
	for name, text := range templates {
		tree["app/templates/"+name+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	return driver.Input{Tree: tree, Path: "app", Spec: releaseSpec(ns, nil), Scope: &kubernetes.Scope{}}
}

// plainConfigMap leaves the namespace to Helm.
func plainConfigMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  value: %s\n", name, value)
}

// TestConformanceOfReleases runs the kit with config maps in a chart.
func TestConformanceOfReleases(t *testing.T) {
	h := harness()
	var last atomic.Value
	last.Store("")
	ns := func() string { return last.Load().(string) }
	h.New = func(t testing.TB) drivertest.World {
		last.Store(cluster.Namespace(t))
		return realWorld{t, ns()}
	}
	h.Input = func(t testing.TB, want drivertest.Objects) driver.Input {
		templates := map[string]string{}
		for name, value := range want {
			templates[name] = plainConfigMap(name, value)
		}
		return chartInput(ns(), templates)
	}
	h.SecretInput = func(t testing.TB, canary string) driver.Input {
		in := chartInput(ns(), map[string]string{
			"secret": "apiVersion: v1\nkind: Secret\nmetadata: {name: one}\nstringData: {password: {{ .Values.password }}}\n",
			"config": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {url: \"db://me:{{ .Values.password }}@db\"}\n"})
		in.Spec = releaseSpec(ns(), func(h *render.HelmSpec) { h.ValuesFrom = map[string]string{"password": "password"} })
		in.Values = map[string]plan.Output{"password": {Value: []byte(fmt.Sprintf("%q", canary)), Sensitive: true}}
		return in
	}
	h.Key = func(name string) plan.Key {
		return plan.Key{Address: plan.Address("ConfigMap/" + ns() + "/" + name)}
	}
	h.Canaries = nil
	bad := chartInput("x", map[string]string{"one": "a: ["})
	nowhere := chartInput("", map[string]string{"one": plainConfigMap("one", "v1")})
	h.Bad = []drivertest.BadInput{
		{Name: "no YAML", Input: bad, File: "app/templates/one.yaml"},
		{Name: "no namespace", Input: nowhere, Field: "namespace"},
	}
	h.OptOut = map[string]string{
		"TruncatedReadPlansNoDelete": "a real server does not cut its answers short on demand; the fake one does",
		"EqualObjectIsAdopted":       "an object without Helm's marks is not equal to one of a release",
		"UnownedConflictIsHeld":      "a release is applied as a whole: one conflict holds all of it",
		"ImpactMatchesWhatHappened":  "the release itself is counted in what is owned, beside its objects",
		"ImportPlansNoWrite":         "an import writes manifests, not a chart",
	}
	drivertest.Run(t, h)
}
