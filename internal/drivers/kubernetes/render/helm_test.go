package render_test

import (
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// shop is a small chart with a subchart and a library.
func shop() map[string]string {
	return map[string]string{
		"shop/Chart.yaml":             "apiVersion: v2\nname: shop\nversion: 1.2.3\ndependencies:\n- name: cache\n  version: 0.1.0\n  condition: cache.enabled\n- name: lib\n  version: 0.1.0\n",
		"shop/values.yaml":            "replicas: 2\ncache: {enabled: false, size: 1}\n",
		"shop/templates/_helpers.tpl": "{{- define \"shop.name\" -}}\n{{ .Release.Name }}-{{ .Chart.Name }}\n{{- end -}}\n",
		"shop/templates/web.yaml": "# the web\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"shop.name\" . }}\n  namespace: {{ .Release.Namespace }}\nspec:\n  replicas: {{ .Values.replicas }}\n" +
			"{{- if .Values.extra }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Values.extra.name }}\ndata:\n{{ toYaml .Values.extra.data | indent 2 }}\n{{- end }}\n",
		"shop/templates/svc.yaml":                 "{{ include \"lib.service\" . }}\n",
		"shop/templates/test.yaml":                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: try\n  annotations: {\"helm.sh/hook\": test}\n",
		"shop/templates/NOTES.txt":                "Thank you for {{ .Release.Name }}",
		"shop/crds/thing.yaml":                    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things.example.com\n",
		"shop/README.md":                          "x",
		"shop/.helmignore":                        "*.md\n",
		"shop/charts/cache/Chart.yaml":            "apiVersion: v2\nname: cache\nversion: 0.1.0\n",
		"shop/charts/cache/values.yaml":           "size: 5\n",
		"shop/charts/cache/templates/cache.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cache\ndata:\n  size: {{ .Values.size | quote }}\n",
		"shop/charts/lib/Chart.yaml":              "apiVersion: v2\nname: lib\nversion: 0.1.0\ntype: library\n",
		"shop/charts/lib/templates/_service.yaml": "{{- define \"lib.service\" -}}\napiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\n{{- end -}}\n",
	}
}

func TestHelmRendersAChart(t *testing.T) {
	in := render.Input{Path: "shop", Tree: tree(shop()), Spec: render.Spec{Namespace: "prod"}}
	res, got := rendered(t, in)
	clean(t, res)
	want(t, got,
		"CustomResourceDefinition.apiextensions.k8s.io/things.example.com shop/crds/thing.yaml:1",
		"Service/shop shop/templates/svc.yaml:1",
		"Pod/try shop/templates/test.yaml:1",
		"Deployment.apps/prod/shop-shop shop/templates/web.yaml:2")

	in.Spec.Helm = &render.HelmSpec{ReleaseName: "eu", ValuesFiles: []string{"../values/eu.yaml"}, SkipCRDs: true, SkipTests: true,
		Values:     map[string]any{"cache": map[string]any{"enabled": true}, "extra": map[string]any{"name": "more", "data": map[string]any{"n": "1"}}},
		ValuesFrom: map[string]string{"extra.data.ip": "lb"}}
	in.Values = map[string]plan.Output{"lb": output("192.0.2.1", false)}
	in.Tree = tree(merged(shop(), map[string]string{"values/eu.yaml": "replicas: 7\nextra: {name: lost}\n"}))
	res, got = rendered(t, in)
	clean(t, res)
	want(t, got,
		"ConfigMap/cache shop/charts/cache/templates/cache.yaml:1",
		"Service/eu shop/templates/svc.yaml:1",
		"Deployment.apps/prod/eu-shop shop/templates/web.yaml:2",
		"ConfigMap/more shop/templates/web.yaml:11")
	if s := asJSON(t, res.Objects[2].Object["spec"]) + asJSON(t, res.Objects[3].Object["data"]) + asJSON(t, res.Objects[0].Object["data"]); s != `{"replicas":7}{"ip":"192.0.2.1","n":"1"}{"size":"1"}` {
		t.Error(s)
	}
	want(t, res.Values, "lb")
}

func TestHelmMistakesHaveTheirPlace(t *testing.T) {
	files := merged(shop(), map[string]string{
		"shop/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ required \"give a name\" .Values.nothing }}\n",
		"shop/templates/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Values.replicas.x }}\n",
		"shop/templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  labels:\n    a: {{ .Values.replicas }}\n",
		"shop/templates/d.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: d\ndata:\n  {{ .Release.Name }}: [\n",
		"shop/templates/e.yaml": "{{ include \"broken\" . }}",
		"shop/templates/_b.tpl": "{{ define \"broken\" }}\n{{ fail \"never\" }}{{ end }}",
	})
	res, got := rendered(t, render.Input{Path: "shop", Tree: tree(files)})
	if len(got) != 5 {
		t.Error(got)
	}
	want(t, messages(res.Diagnostics),
		`shop/templates/a.yaml:4: give a name`,
		`shop/templates/b.yaml:4: can't evaluate field x in type interface {}`,
		`shop/templates/c.yaml:6: metadata.labels.a: ConfigMap c: the value of "a" is no text (line 6 of what the template renders to) (write it in quotes)`,
		`shop/templates/d.yaml: this is not valid YAML: did not find expected node content (line 6 of what the template renders to)`,
		`shop/templates/e.yaml:1: never`)
}

func TestHelmChanceIsAMistake(t *testing.T) {
	for name, c := range map[string]struct{ text, message string }{
		"random":  {"stringData:\n  p: {{ randAlphaNum 20 }}", `shop/templates/x.yaml:6: each rendering gives another Secret/shop/x, at /stringData/p: it goes by chance (give the chart the value that it makes up, name an existing Secret, or set helm.mode: release)`},
		"clock":   {"stringData:\n  p: {{ now | date \"2006-01\" | quote }}", `shop/templates/x.yaml:6: each rendering gives another Secret/shop/x, at /stringData/p: it goes by chance or by the clock (give the chart the value that it makes up, name an existing Secret, or set helm.mode: release)`},
		"appears": {"{{ if ne (now | date \"02\") \"04\" }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n{{ end }}", `shop/templates/x.yaml:5: each rendering gives another text: it goes by chance or by the clock (give the chart the value that it makes up, name an existing Secret, or set helm.mode: release)`},
		"fails":   {"{{ if ne (now | date \"02\") \"04\" }}{{ fail \"not today\" }}{{ end }}", `shop/templates/x.yaml:5: the chart renders at one time and fails at another: not today (give the chart the value that it makes up, name an existing Secret, or set helm.mode: release)`},
		"unused":  {"{{- $x := randAlphaNum 5 }}{{ $y := uuidv4 }}", ""},
		"lookup":  {"{{- $x := lookup \"v1\" \"Secret\" \"a\" \"b\" }}\ndata: {{ toJson $x }}", `shop/templates/x.yaml:5: warning: lookup gives nothing: rendering asks no cluster (set helm.mode: release if the chart counts on it, or give it the value)`},
		"keys":    {"stringData:\n  p: {{ dict \"a\" 1 \"b\" 2 \"c\" 3 \"d\" 4 \"e\" 5 | keys | toJson | quote }}", ""},
		"dns":     {"stringData: {a: \"{{ getHostByName \"localhost\" }}\"}", `shop/templates/x.yaml:5: warning: getHostByName gives nothing: rendering asks no network (set helm.mode: release if the chart counts on it, or give it the value)`},
		"env":     {"data: {{ env \"HOME\" }}", `shop/templates/x.yaml:5: function "env" not defined`},
	} {
		files := merged(shop(), map[string]string{"shop/templates/x.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: shop}\n# here\n" + c.text + "\n"})
		res, _ := rendered(t, render.Input{Path: "shop", Tree: tree(files)})
		got := strings.Join(messages(res.Diagnostics), "\n")
		if got != c.message {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestHelmEndsWhatDoesNotEnd(t *testing.T) {
	for name, c := range map[string]struct{ text, message string }{
		"loop":      {`{{ range $i := until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}`, "was not done after"},
		"recursion": {`{{ define "r" }}{{ include "r" . }}{{ include "r" . }}{{ end }}{{ include "r" . }}`, ""},
		"memory":    {`{{ $x := "0123456789" }}{{ range until 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}{{ $x }}`, "MiB"},
		"oneGo":     {`{{ repeat 4000000000 "xxxxxxxxxx" }}`, "MiB"},
	} {
		limit := 20 * time.Second
		if name == "loop" {
			limit = 500 * time.Millisecond
		}
		render.SetLimits(t, limit, 128)
		files := merged(shop(), map[string]string{"shop/templates/x.yaml": c.text})
		res, _ := rendered(t, render.Input{Path: "shop", Tree: tree(files)})
		if err := res.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
