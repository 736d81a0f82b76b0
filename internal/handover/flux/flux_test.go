package flux_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/drivers/all"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/handover/flux"
	"trueup.dev/trueup/internal/handover/handovertest"
)

var way = handover.Way{Kubectl: "kubectl", Import: "trueup import flux", Config: "out/server.yaml", Out: "out", Whole: true}

// TestShop has every kind of object, as files.
func TestShop(t *testing.T) {
	set := handovertest.Read(t, flux.Keep, "testdata/shop.yaml")
	r := flux.Convert(set, handover.Options{Environment: "prod"})
	steps := flux.Steps(set, r, way)
	handovertest.Golden(t, "testdata/shop", r, steps)
	handovertest.NoSecret(t, r, steps, "hunter2-canary")
	handovertest.Valid(t, r, all.Registry(), nil)
}

// TestLive has objects as a cluster gives them: inventories, finalizers, and a
// Kustomization that applies the others.
func TestLive(t *testing.T) {
	set := handovertest.Read(t, flux.Keep, "testdata/plain.yaml")
	r := flux.Convert(set, handover.Options{Environment: "prod"})
	steps := flux.Steps(set, r, way)
	handovertest.Golden(t, "testdata/plain", r, steps)
	handovertest.NoSecret(t, r, steps, "token-canary")
	handovertest.Valid(t, r, all.Registry(), map[string]fstest.MapFS{"fleet": {"apps/web.yaml": {Data: []byte("{}")}, "charts/page/Chart.yaml": {Data: []byte("{}")}}})
}

// one converts a Kustomization with some fields in its spec, beside a Git
// repository.
func one(t *testing.T, o handover.Options, fields string) *handover.Result {
	t.Helper()
	if !strings.Contains(fields, "prune") {
		fields += ", prune: true"
	}
	text := `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: { name: fleet, namespace: flux-system }
spec: { interval: 1m, ref: { branch: main }, url: "https://git.example.com/acme/fleet" }
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: { name: apps, namespace: flux-system }
spec: { interval: 10m, path: ./apps, sourceRef: { kind: GitRepository, name: fleet }` + fields + " }\n"
	return flux.Convert(handover.NewSet(handovertest.Parse(t, "objects.yaml", []byte(text))), o)
}

func TestNothingIsDroppedUnseen(t *testing.T) {
	for fields, want := range map[string]string{
		"":                                       "",
		", brandNew: 1":                          "not carried over spec.brandNew",
		", brandNew: { a: { b: 1 } }":            "not carried over spec.brandNew",
		", decryption: { provider: sops, x: 1 }": "not carried over spec.decryption.x",
		", images: 3":                            "not carried over spec.images",
		", dependsOn: [{ name: gone }]":          "not carried over spec.dependsOn[0]",
		", kubeConfig: { configMapRef: { name: eks } }": "not carried over spec.kubeConfig.configMapRef",
		", retryInterval: 1m":                           "works differently spec.retryInterval",
		", force: true":                                 "not carried over spec.force",
		", deletionPolicy: Delete":                      "works differently spec.deletionPolicy",
		", wait: 'perhaps'":                             "not carried over spec.wait",
	} {
		r := one(t, handover.Options{}, fields)
		var got []string
		for _, n := range r.Notes {
			if strings.HasPrefix(n.Object, "Kustomization") {
				got = append(got, n.Kind+" "+n.Field)
			}
		}
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%q: told are %q, not %q", fields, got, want)
		}
	}
}

func TestWhatWouldBeWrongWaits(t *testing.T) {
	for fields, want := range map[string]string{
		"":                                      "",
		", suspend: true":                       "suspended in Flux",
		", postBuild: { substitute: { a: b } }": "${…}",
		", postBuild: { substituteFrom: [{ kind: Secret, name: x }] }": "${…}",
	} {
		got := one(t, handover.Options{}, fields).Targets()[0].Suspend
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: suspended for %q, not %q", fields, got, want)
		}
	}
}

func TestPruneOffNeverDeletes(t *testing.T) {
	if got := one(t, handover.Options{}, ", prune: false").Targets()[0].Mode; got != "addOnly" {
		t.Errorf("the mode is %q", got)
	}
}

// TestCheckout: with the repository at hand, a directory without a
// kustomization gets the one that Flux would have written.
func TestCheckout(t *testing.T) {
	tree := fstest.MapFS{"apps/a.yaml": {}, "apps/b/c.yml": {}, "apps/d/kustomization.yaml": {}, "apps/d/e.yaml": {}, "apps/.hidden/x.yaml": {}, "apps/readme.md": {}}
	key := handover.SameRepository("git@git.example.com:acme/fleet.git")
	r := one(t, handover.Options{Trees: map[string]fs.FS{key: tree}}, ", targetNamespace: web")
	got := r.Repositories[0].Files["apps/kustomization.yaml"]
	for _, want := range []string{"- a.yaml", "- b/c.yml", "- d\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	for _, wrong := range []string{"hidden", "readme", "d/e.yaml"} {
		if strings.Contains(got, wrong) {
			t.Errorf("%q is in:\n%s", wrong, got)
		}
	}
	if over := r.Repositories[0].Files["trueup/apps/kustomization.yaml"]; !strings.Contains(over, "namespace: web") || !strings.Contains(over, "- ../../apps") {
		t.Errorf("the overlay is:\n%s", over)
	}
	handovertest.Valid(t, r, all.Registry(), map[string]fstest.MapFS{"fleet": tree})
}

func TestOwnObjectsOfFlux(t *testing.T) {
	for r, want := range map[manifest.Ref]bool{
		{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease", Namespace: "web", Name: "x"}:                      true,
		{Group: "apps", Kind: "Deployment", Namespace: "flux-system", Name: "source-controller"}:                 true,
		{Group: "apps", Kind: "Deployment", Namespace: "flux-system", Name: "my-app"}:                            false,
		{Group: "apps", Kind: "Deployment", Namespace: "web", Name: "source-controller"}:                         false,
		{Kind: "Namespace", Name: "flux-system"}:                                                                 true,
		{Kind: "Namespace", Name: "web"}:                                                                         false,
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding", Name: "cluster-reconciler-flux-system"}: true,
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding", Name: "mine-flux-system"}:               false,
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "certificates.cert-manager.io"}:  false,
	} {
		if got := flux.Own(r); got != want {
			t.Errorf("%s: %v", r, got)
		}
	}
}

// TestSafe goes by what the controllers do when a definition is deleted.
func TestSafe(t *testing.T) {
	for text, want := range map[string]bool{
		"spec: { suspend: true, prune: false }":                                     true,
		"spec: { suspend: true, prune: true, deletionPolicy: Orphan }":              true,
		"spec: { suspend: true, prune: true }":                                      false,
		"spec: { suspend: true, prune: false, deletionPolicy: Delete }":             false,
		"spec: { suspend: true, prune: false, deletionPolicy: WaitForTermination }": false,
		"spec: { prune: false }":                                                    false, // still applies
		"spec: { prune: true }":                                                     false,
	} {
		o := handovertest.Parse(t, "k.yaml", []byte("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: { name: a, namespace: b }\n"+text))[0]
		if d, ok := flux.Safe(o); !ok || d.Safe != want || !d.Safe && len(d.Why) == 0 {
			t.Errorf("%s: %+v", text, d)
		}
	}
	for text, want := range map[string]bool{"spec: { suspend: true }": true, "spec: { suspend: false }": false, "spec: {}": false} {
		o := handovertest.Parse(t, "h.yaml", []byte("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: { name: a, namespace: b }\n"+text))[0]
		if d, _ := flux.Safe(o); d.Safe != want {
			t.Errorf("%s: %+v", text, d)
		}
	}
}

func FuzzConvert(f *testing.F) {
	for _, seed := range []string{"shop", "plain"} {
		for _, o := range handovertest.Read(f, flux.Keep, "testdata/"+seed+".yaml").All {
			b, err := o.MarshalJSON()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b))
		}
	}
	base := handovertest.Read(f, flux.Keep, "testdata/shop.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		objects, _ := manifest.Parse("fuzz.json", []byte(text))
		var list []*handover.Object
		for _, o := range base.All {
			list = append(list, handover.NewObject(o.DeepCopy(), o.Source))
		}
		for _, o := range objects {
			list = append(list, handover.NewObject(o.Unstructured, o.Source))
		}
		set := handover.NewSet(list)
		r := flux.Convert(set, handover.Options{})
		if _, err := r.Output(); err != nil {
			t.Error(err)
		}
		for _, o := range set.All {
			flux.Safe(o)
		}
		flux.Steps(set, r, way)
	})
}
