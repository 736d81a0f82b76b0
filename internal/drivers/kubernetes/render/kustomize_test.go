package render_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// overlay is a kustomization with a base, a component, generators, patches and
// replacements.
func overlay() map[string]string {
	return map[string]string{
		"k/base/kustomization.yaml": "resources:\n- all.yaml\nconfigMapGenerator:\n- name: settings\n  literals: [a=1]\n",
		"k/base/all.yaml": "# base\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  template:\n    spec:\n      containers:\n      - {name: web, image: reg.example.com/web:1}\n" +
			"---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web-admin\n",
		"k/part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- path: p.yaml\n",
		"k/part/p.yaml":             "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {paused: true}\n",
		"k/prod/kustomization.yml":  "resources: [../base]\ncomponents:\n- ../part\nnamePrefix: eu-\nnamespace: prod\nimages:\n- name: reg.example.com/web\n  newTag: \"2\"\nsecretGenerator:\n- name: key\n  files: [token.txt]\npatches:\n- patch: |-\n    - {op: replace, path: /spec/replicas, value: 3}\n  target: {kind: Deployment}\nreplacements:\n- source: {kind: Service, name: web, fieldPath: metadata.name}\n  targets:\n  - select: {kind: Deployment}\n    fieldPaths: [metadata.annotations.svc]\n    options: {create: true}\n",
		"k/prod/token.txt":          "t0ken-of-prod",
	}
}

func TestKustomizeBuilds(t *testing.T) {
	res, got := rendered(t, render.Input{Path: "k/prod", Tree: tree(overlay())})
	clean(t, res)
	want(t, got,
		"Deployment.apps/prod/eu-web k/base/all.yaml:2",
		"Service/prod/eu-web k/base/all.yaml:13",
		"Service/prod/eu-web-admin k/base/all.yaml:18",
		"ConfigMap/prod/eu-settings-h29d89cmmt k/base/kustomization.yaml:4",
		"Secret/prod/eu-key-td587bfk65 k/prod/kustomization.yml:10")
	if s := asJSON(t, res.Objects[0].Object); s != `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"svc":"eu-web"},"name":"eu-web","namespace":"prod"},"spec":{"paused":true,"replicas":3,"template":{"spec":{"containers":[{"image":"reg.example.com/web:2","name":"web"}]}}}}` {
		t.Error(s)
	}
}

func TestKustomizeMistakesHaveTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"missing":   {"k/prod/kustomization.yml", "resources:\n- ../base\n- nothing.yaml\n- ../none\n", "k/prod/kustomization.yml:3: there is no \"k/prod/nothing.yaml\"\nk/prod/kustomization.yml:4: there is no \"k/none\""},
		"broken":    {"k/base/all.yaml", "a: [\n", "k/base/all.yaml:1: this is not valid YAML: did not find expected node content"},
		"field":     {"k/prod/kustomization.yml", "resources:\n- ../base\nimage: x\n", "k/prod/kustomization.yml:3: invalid Kustomization: json: unknown field \"image\""},
		"directory": {"k/prod/kustomization.yml", "resources: [..]\n", "k: the directory has no kustomization (list its files instead, or write a kustomization.yaml there)"},
		"cycle":     {"k/base/kustomization.yaml", "resources: [all.yaml, ../prod]\n", "k/base/kustomization.yaml:1: k/prod builds on itself by way of this"},
		"remote":    {"k/prod/kustomization.yml", "resources:\n- ../base\n- https://git.example.com/acme/base//deploy?ref=v1\n- github.com/acme/x\n", "k/prod/kustomization.yml:3: \"https://git.example.com/acme/base//deploy?ref=v1\" lies outside of the repository, and remote bases are not allowed (copy it into the repository, or have the operator set connect.remoteBases)\nk/prod/kustomization.yml:4: \"github.com/acme/x\" lies"},
		"download":  {"k/prod/kustomization.yml", "resources:\n- ../base\nconfigMapGenerator:\n- name: x\n  files:\n  - a=https://git.example.com/x\n", "k/prod/kustomization.yml:6: "},
		"helm":      {"k/prod/kustomization.yml", "helmCharts:\n- name: x\n", "k/prod/kustomization.yml:1: helmCharts: charts within"},
		"exec":      {"k/prod/kustomization.yml", "resources: [../base]\ntransformers: [fn.yaml]\n", "k/prod/kustomization.yml:2: external plugins disabled; unable to load external plugin 'X' (plug-ins and functions are off: they would run code of the repository)"},
		"patch":     {"k/prod/kustomization.yml", "resources: [../base]\npatches:\n- path: no.yaml\n", "k/prod/kustomization.yml:3: there is no \"k/prod/no.yaml\""},
	} {
		files := merged(overlay(), map[string]string{c.file: c.text,
			"k/prod/fn.yaml": "apiVersion: example.com/v1\nkind: X\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: ./evil.sh}\n"})
		res, _ := rendered(t, render.Input{Path: "k/prod", Tree: tree(files)})
		if got := strings.Join(messages(res.Diagnostics), "\n"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func targz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for n, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestKustomizeTakesRemoteBasesPinnedByDigest(t *testing.T) {
	s := render.Source{URL: "oci://reg.example.com/acme/base", Digest: "sha256:" + strings.Repeat("a", 64)}
	in := render.Input{Path: "k/prod", RemoteBases: true,
		Tree: tree(map[string]string{"k/prod/kustomization.yaml": "resources:\n- https://git.example.com/acme/base//deploy?ref=v1\nnamePrefix: x-\n"}),
		Spec: render.Spec{Kustomize: &render.KustomizeSpec{Remotes: map[string]render.Source{"https://git.example.com/acme/base": s}}}}
	res, got := rendered(t, in)
	want(t, got)
	want(t, res.Incomplete, "oci://reg.example.com/acme/base is not fetched here")
	in.Fetch = func(_ context.Context, asked render.Source) ([]byte, error) {
		if asked != s {
			t.Errorf("asked for %v", asked)
		}
		return targz(t, map[string]string{"deploy/kustomization.yaml": "resources: [../other/a.yaml]\n", "other/a.yaml": configMap("a")}), nil
	}
	res, got = rendered(t, in)
	clean(t, res)
	want(t, got, "ConfigMap/x-a https://git.example.com/acme/base//other/a.yaml:1")
}

func TestJsonnetEvaluates(t *testing.T) {
	files := map[string]string{
		"j/main.jsonnet":    "local k = import 'k.libsonnet';\nfunction(env, n=1) {\n  a: k.map(env + '-a', {ip: std.extVar('ip'), n: std.toString(n)}),\n  more: [k.map('b', {}), {deep: k.map('c', importstr 'text.txt')}],\n  none: null,\n  list: {apiVersion: 'v1', kind: 'List', items: [k.map('d', {})]},\n}\n",
		"j/lib/k.libsonnet": "{ map(name, data):: {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}, data: if std.isString(data) then {t: data} else data} }\n",
		"j/text.txt":        "hello",
	}
	in := render.Input{Path: "j", Tree: tree(files), Values: map[string]plan.Output{"lb": output("192.0.2.1", false)},
		Spec: render.Spec{Jsonnet: &render.JsonnetSpec{TLAs: map[string]any{"env": "prod", "n": 3}, ExtVarsFrom: map[string]string{"ip": "lb"}}}}
	res, got := rendered(t, in)
	clean(t, res)
	want(t, got, "ConfigMap/prod-a j/main.jsonnet", "ConfigMap/d j/main.jsonnet", "ConfigMap/b j/main.jsonnet", "ConfigMap/c j/main.jsonnet")
	if s := asJSON(t, res.Objects[0].Object["data"]); s != `{"ip":"192.0.2.1","n":"3"}` {
		t.Error(s)
	}

	for text, message := range map[string]string{
		"{\n  a: error 'no'\n}":                      `j/main.jsonnet:2: no`,
		"{\n  a: \n":                                 `j/main.jsonnet:3: Unexpected end of file`,
		"{a: 1}":                                     `j/main.jsonnet: a: the result has a plain value where an object was expected (evaluate to objects, lists of them, or fields that hold them)`,
		"{a: import '/etc/passwd'}":                  `j/main.jsonnet:1: "/etc/passwd": write a path relative to the importing file`,
		"{a: import '../../../etc/passwd'}":          `j/main.jsonnet:1: there is no "../../../etc/passwd" in ../../etc/passwd, ../etc/passwd, ../etc/passwd`,
		"local f(x) = f(x + 1) + 1; f(0)":            `j/main.jsonnet:1: max stack frames exceeded.`,
		"{b: {apiVersion: 'v1', kind: 'ConfigMap'}}": `j/main.jsonnet: b.metadata: ConfigMap: it has no metadata`,
	} {
		res, _ := rendered(t, render.Input{Path: "j", Tree: tree(map[string]string{"j/main.jsonnet": text})})
		if got := strings.Join(messages(res.Diagnostics), "\n"); got != message {
			t.Errorf("%s: %s", text, got)
		}
	}
	render.SetLimits(t, 500*time.Millisecond, 128)
	for _, text := range []string{"local f(n) = if n == 0 then 0 else f(n - 1) + f(n - 1); f(60)", "std.foldl(function(a, i) a + a, std.range(1, 40), 'xxxxxxxxxx')"} {
		res, _ := rendered(t, render.Input{Path: "j", Tree: tree(map[string]string{"j/main.jsonnet": text})})
		if err := res.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "rendering was stopped") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestArtefactsAreRenderedInPlaceOfTheRepository(t *testing.T) {
	in := render.Input{Path: "apps/x", Tree: tree(nil), Spec: render.Spec{Source: &render.Artefact{
		Source: render.Source{URL: "oci://reg.example.com/acme/x", Digest: "sha256:" + strings.Repeat("a", 64)}, Path: "k"}}}
	res, _ := rendered(t, in)
	want(t, res.Incomplete, "oci://reg.example.com/acme/x is not fetched here")
	in.Fetch = func(context.Context, render.Source) ([]byte, error) {
		return targz(t, map[string]string{"./k/a.yaml": configMap("a"), "k/b.yaml": "x: 1", "c.yaml": configMap("c")}), nil
	}
	res, got := rendered(t, in)
	want(t, got, "ConfigMap/a oci://reg.example.com/acme/x//k/a.yaml:1")
	want(t, messages(res.Diagnostics), "oci://reg.example.com/acme/x//k/b.yaml:1: this is no Kubernetes object: it has no apiVersion and no kind (if the file is none of the target's, list it under spec.exclude)")
}
