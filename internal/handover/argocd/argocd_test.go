package argocd_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/drivers/all"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/handover/argocd"
	"trueup.dev/trueup/internal/handover/handovertest"
)

var way = handover.Way{Kubectl: "kubectl", Import: "trueup import argocd", Config: "out/server.yaml", Out: "out", Whole: true}

var canaries = []string{"canary-secret", "canary-token", "canary-password", "canary-other", "canary-oidc"}

// TestShop has every kind of object, as files.
func TestShop(t *testing.T) {
	set := handovertest.Read(t, argocd.Keep, "testdata/shop.yaml")
	r := argocd.Convert(set, handover.Options{Environment: "prod"})
	steps := argocd.Steps(set, r, way)
	handovertest.Golden(t, "testdata/shop", r, steps)
	handovertest.NoSecret(t, r, steps, canaries...)
	handovertest.Valid(t, r, all.Registry(), nil)
}

// TestSets expands ApplicationSets.
func TestSets(t *testing.T) {
	set := handovertest.Read(t, argocd.Keep, "testdata/sets.yaml")
	r := argocd.Convert(set, handover.Options{Environment: "prod"})
	steps := argocd.Steps(set, r, way)
	handovertest.Golden(t, "testdata/sets", r, steps)
	handovertest.NoSecret(t, r, steps, canaries...)
	handovertest.Valid(t, r, all.Registry(), map[string]fstest.MapFS{"apps": {"apps/a/x.yaml": {}, "apps/b/x.yaml": {}, "edge/c/x.yaml": {}}})
}

// one converts an Application with some fields in its spec.
func one(t *testing.T, o handover.Options, source, fields string) *handover.Result {
	t.Helper()
	text := `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: web, namespace: argocd }
spec: { project: default, source: { repoURL: "https://git.example.com/acme/apps.git", targetRevision: main, path: web` + source + ` }, destination: { server: "https://kubernetes.default.svc", namespace: web }` + fields + " }\n"
	return argocd.Convert(handover.NewSet(handovertest.Parse(t, "objects.yaml", []byte(text))), o)
}

func TestNothingIsDroppedUnseen(t *testing.T) {
	for _, c := range []struct{ source, fields, want string }{
		{"", "", ""},
		{"", ", brandNew: 1", "not carried over spec.brandNew"},
		{", brandNew: { a: 1 }", "", "not carried over spec.source.brandNew"},
		{", helm: { brandNew: 1 }", "", "not carried over spec.source.helm.brandNew"},
		{", kustomize: { brandNew: 1 }", "", "not carried over spec.source.kustomize.brandNew"},
		{", directory: { jsonnet: { extVars: [{ name: a, value: b, brandNew: 1 }] } }", "", "not carried over spec.source.directory.jsonnet.extVars[0].brandNew"},
		{"", ", syncPolicy: { brandNew: 1 }", "not carried over spec.syncPolicy.brandNew"},
		{"", ", syncPolicy: { syncOptions: [A=b] }", "not carried over spec.syncPolicy.syncOptions[0] A=b"},
		{"", ", ignoreDifferences: [{ kind: X, brandNew: 1 }]", "not carried over spec.ignoreDifferences[0].brandNew"},
		{", helm: { fileParameters: [{ name: a, path: b }] }", "", "not carried over spec.source.helm.fileParameters[0]"},
		{", helm: { valueFiles: [\"https://example.com/v.yaml\"] }", "", "not carried over spec.source.helm.valueFiles[0]"},
		{", chart: \"\"", "", "not carried over spec.source.chart"},
	} {
		r := one(t, handover.Options{}, c.source, c.fields)
		var got []string
		for _, n := range r.Notes {
			if strings.HasPrefix(n.Object, "Application") {
				got = append(got, n.Kind+" "+n.Field)
			}
		}
		if c.want == "" && len(got) > 0 || c.want != "" && !slices.Contains(got, c.want) {
			t.Errorf("%q %q: told are %q, not %q", c.source, c.fields, got, c.want)
		}
	}
}

// TestWays: what an Application's sync policy says decides over drift, pruning
// and approvals.
func TestWays(t *testing.T) {
	for fields, want := range map[string]string{
		"":                                "kubernetes-manual report approve ",
		", syncPolicy: { automated: {} }": "kubernetes-report report  addOnly",
		", syncPolicy: { automated: { prune: true }, syncOptions: [Prune=false] }":     "kubernetes-report report  addOnly",
		", syncPolicy: { automated: { prune: true }, syncOptions: [Prune=confirm] }":   "kubernetes-report report  addOnly",
		", syncPolicy: { automated: { prune: true } }":                                 "kubernetes-report report  ",
		", syncPolicy: { automated: { prune: true, selfHeal: true } }":                 "kubernetes correct  ",
		", syncPolicy: { automated: { selfHeal: true } }":                              "kubernetes correct  addOnly",
		", syncPolicy: { automated: { prune: true, selfHeal: true, enabled: false } }": "kubernetes-manual report approve ",
	} {
		r := one(t, handover.Options{}, "", fields)
		target, policy := r.Targets()[0], r.Policies[0]
		approve := ""
		if len(policy.Approve) > 0 {
			approve = "approve"
		}
		if got := strings.Join([]string{target.Environment, policy.Drift, approve, target.Mode}, " "); got != want {
			t.Errorf("%q: %q, not %q", fields, got, want)
		}
	}
}

// TestSafe goes by what the controllers do when a definition is deleted.
func TestSafe(t *testing.T) {
	for text, want := range map[string]bool{
		"kind: Application\nmetadata: { name: a, namespace: b }\nspec: {}":                                                                                        true,
		"kind: Application\nmetadata: { name: a, namespace: b }\nspec: { syncPolicy: { automated: {} } }":                                                         false,
		"kind: Application\nmetadata: { name: a, namespace: b }\nspec: { syncPolicy: { automated: { enabled: false } } }":                                         true,
		"kind: Application\nmetadata: { name: a, namespace: b, finalizers: [resources-finalizer.argocd.argoproj.io] }\nspec: {}":                                  false,
		"kind: Application\nmetadata: { name: a, namespace: b, finalizers: [resources-finalizer.argocd.argoproj.io/background] }\nspec: {}":                       false,
		"kind: Application\nmetadata: { name: a, namespace: b, finalizers: [post-delete-finalizer.argocd.argoproj.io] }\nspec: {}":                                false,
		"kind: Application\nmetadata: { name: a, namespace: b, finalizers: [example.com/mine] }\nspec: {}":                                                        true,
		"kind: ApplicationSet\nmetadata: { name: a, namespace: b }\nspec: {}":                                                                                     false,
		"kind: ApplicationSet\nmetadata: { name: a, namespace: b }\nspec: { syncPolicy: { preserveResourcesOnDeletion: true } }":                                  false,
		"kind: ApplicationSet\nmetadata: { name: a, namespace: b }\nspec: { syncPolicy: { preserveResourcesOnDeletion: true, applicationsSync: create-only } }":   true,
		"kind: ApplicationSet\nmetadata: { name: a, namespace: b }\nspec: { syncPolicy: { preserveResourcesOnDeletion: true, applicationsSync: create-update } }": false,
	} {
		o := handovertest.Parse(t, "a.yaml", []byte("apiVersion: argoproj.io/v1alpha1\n"+text))[0]
		if d, ok := argocd.Safe(o); !ok || d.Safe != want || len(d.Why) == 0 {
			t.Errorf("%s: %+v", text, d)
		}
	}
}

// TestDirectories: a template that does more with a directory than put it in
// is not said in one target; with the repository at hand each directory is.
func TestDirectories(t *testing.T) {
	set := func(name string) *handover.Set {
		return handover.NewSet(handovertest.Parse(t, "set.yaml", []byte(`
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: { name: s, namespace: argocd }
spec:
  goTemplate: true
  generators: [{ git: { repoURL: "https://git.example.com/acme/apps.git", revision: main, directories: [{ path: apps/* }] } }]
  template:
    metadata: { name: '`+name+`' }
    spec:
      project: default
      source: { repoURL: "https://git.example.com/acme/apps.git", targetRevision: main, path: "{{ .path.path }}" }
      destination: { server: "https://kubernetes.default.svc", namespace: x }
`)))
	}
	tree := map[string]fs.FS{handover.SameRepository("https://git.example.com/acme/apps"): fstest.MapFS{"apps/b/x.yaml": {}, "apps/a/y/z.yaml": {}, "other/c": {}}}
	for _, c := range []struct {
		name  string
		trees map[string]fs.FS
		want  string
	}{
		{"{{ .path.basename }}", nil, "{dir}"},
		{"{{ .path.basename }}", tree, "{dir}"},
		{"{{ index .path.segments 0 }}-{{ .path.basenameNormalized }}", nil, "apps-{dir}"},
		{"{{ .path.basename | trunc 1 }}", nil, ""},
		{"{{ .path.basename | trunc 1 }}-x", tree, "a-x b-x"},
		{"fixed", nil, ""},
	} {
		r := argocd.Convert(set(c.name), handover.Options{Trees: c.trees})
		var got []string
		for _, x := range r.Targets() {
			got = append(got, x.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, not %q; %+v", c.name, got, c.want, r.Notes)
		}
		if len(got) == 0 && len(r.Notes) == 0 {
			t.Errorf("%s: nothing is told", c.name)
		}
	}
}

// TestSecretsAreReduced: of a Secret what is no secret is kept.
func TestSecretsAreReduced(t *testing.T) {
	o := handovertest.Parse(t, "s.yaml", []byte(`
apiVersion: v1
kind: Secret
metadata: { name: r, namespace: argocd, labels: { argocd.argoproj.io/secret-type: repository }, annotations: { kubectl.kubernetes.io/last-applied-configuration: canary-1 } }
data: { url: aHR0cHM6Ly91OmNhbmFyeS0yQGdpdC5leGFtcGxlLmNvbS94, password: Y2FuYXJ5LTM=, type: Z2l0 }
stringData: { username: canary-4 }
`))[0]
	if !argocd.Keep(o) {
		t.Fatal("it is left out")
	}
	b, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "canary") || strings.Contains(string(b), "Y2FuYXJ5") {
		t.Errorf("a secret is kept: %s", b)
	}
	if !strings.Contains(string(b), `"url":"https://git.example.com/x"`) || !strings.Contains(string(b), `"password":""`) {
		t.Errorf("what is needed is gone: %s", b)
	}
}

func FuzzConvert(f *testing.F) {
	for _, seed := range []string{"shop", "sets"} {
		for _, o := range handovertest.Read(f, argocd.Keep, "testdata/"+seed+".yaml").All {
			b, err := o.MarshalJSON()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b))
		}
	}
	base := handovertest.Read(f, argocd.Keep, "testdata/shop.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		objects, _ := manifest.Parse("fuzz.json", []byte(text))
		var list []*handover.Object
		for _, o := range base.All {
			list = append(list, handover.NewObject(o.DeepCopy(), o.Source))
		}
		for _, o := range objects {
			if h := handover.NewObject(o.Unstructured, o.Source); argocd.Keep(h) {
				list = append(list, h)
			}
		}
		set := handover.NewSet(list)
		r := argocd.Convert(set, handover.Options{})
		if _, err := r.Output(); err != nil {
			t.Error(err)
		}
		for _, o := range set.All {
			argocd.Safe(o)
		}
		argocd.Steps(set, r, way)
	})
}
