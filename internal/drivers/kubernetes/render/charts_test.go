package render_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// packed gives a chart as helm package makes it: what lies below dir.
func packed(t *testing.T, files map[string]string, dir string) string {
	t.Helper()
	in := map[string]string{}
	for n, text := range files {
		if rest, ok := strings.CutPrefix(n, dir+"/"); ok {
			in[dir[strings.LastIndex(dir, "/")+1:]+"/"+rest] = text
		}
	}
	return string(targz(t, in))
}

func TestPackedCharts(t *testing.T) {
	unpacked := shop()
	inner := packed(t, unpacked, "shop/charts/cache")
	files := map[string]string{}
	for n, text := range unpacked {
		if !strings.HasPrefix(n, "shop/charts/cache/") {
			files[n] = text
		}
	}
	files["shop/charts/cache-0.1.0.tgz"] = inner
	spec := render.Spec{Helm: &render.HelmSpec{ReleaseName: "shop", Values: map[string]any{"cache": map[string]any{"enabled": true}}}}
	_, plainObjects := rendered(t, render.Input{Path: "shop", Tree: tree(unpacked), Spec: spec})

	res, got := rendered(t, render.Input{Path: "shop", Tree: tree(files), Spec: spec})
	clean(t, res)
	if len(got) != len(plainObjects) || got[1] != "ConfigMap/cache shop/charts/cache-0.1.0.tgz/cache/templates/cache.yaml:1" {
		t.Error(got)
	}
	whole := packed(t, files, "shop")
	res, got = rendered(t, render.Input{Path: "k/shop-1.2.3.tgz", Tree: tree(map[string]string{"k/shop-1.2.3.tgz": whole}), Spec: spec})
	clean(t, res)
	if len(got) != len(plainObjects) || got[1] != "ConfigMap/cache k/shop-1.2.3.tgz/shop/charts/cache-0.1.0.tgz/cache/templates/cache.yaml:1" {
		t.Error(got)
	}

	spec.Helm.Source = &render.Source{URL: "oci://reg.example.com/charts/shop", Version: "1.2.3", Digest: "sha256:" + strings.Repeat("b", 64)}
	spec.Helm.ValuesFiles = []string{"values.yaml"}
	in := render.Input{Path: "k", Tree: tree(map[string]string{"k/values.yaml": "replicas: 5\n"}), Spec: spec}
	res, got = rendered(t, in)
	want(t, got)
	want(t, res.Incomplete, "oci://reg.example.com/charts/shop is not fetched here")
	in.Fetch = func(_ context.Context, s render.Source) ([]byte, error) {
		if s != *spec.Helm.Source {
			t.Error(s)
		}
		return []byte(whole), nil
	}
	res, got = rendered(t, in)
	clean(t, res)
	if len(got) != len(plainObjects) || !strings.Contains(all(t, res), `"replicas":5`) {
		t.Error(all(t, res))
	}
}

func TestChartsAsAWhole(t *testing.T) {
	schema := `{"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 1}, "name": {"enum": ["a", "b"]}}, "required": ["name"]}`
	for name, c := range map[string]struct {
		files  map[string]string
		spec   render.HelmSpec
		values map[string]plan.Output
		want   string
	}{
		"schema":      {map[string]string{"shop/values.schema.json": schema, "shop/values.yaml": "replicas: 0\nname: c\n"}, render.HelmSpec{}, nil, "shop/values.schema.json: name: the values of chart shop: value must be one of 'a', 'b'\nshop/values.schema.json: replicas: the values of chart shop: minimum: got 0, want 1"},
		"skipped":     {map[string]string{"shop/values.schema.json": schema}, render.HelmSpec{SkipSchema: true}, nil, ""},
		"later":       {map[string]string{"shop/values.schema.json": schema}, render.HelmSpec{ValuesFrom: map[string]string{"name": "n"}}, map[string]plan.Output{"n": {Unknown: true}}, ""},
		"subschema":   {map[string]string{"shop/charts/cache/values.schema.json": `{"properties": {"size": {"type": "string"}}}`}, render.HelmSpec{Values: map[string]any{"cache": map[string]any{"enabled": true}}}, nil, "shop/charts/cache/values.schema.json: size: the values of chart cache: got number, want string"},
		"reference":   {map[string]string{"shop/values.schema.json": `{"$ref": "https://schemas.example.com/x.json"}`}, render.HelmSpec{}, nil, "shop/values.schema.json: the values of chart shop: the schema can't be used: failing loading \"https://schemas.example.com/x.json\": it refers to https://schemas.example.com/x.json, and nothing outside of the chart is read (set helm.skipSchema: true to go without it)"},
		"file":        {map[string]string{"shop/values.schema.json": `{"$ref": "file:///etc/passwd"}`}, render.HelmSpec{}, nil, "shop/values.schema.json: the values of chart shop: the schema can't be used: failing loading \"file:///etc/passwd\": it refers to file:///etc/passwd, and nothing outside of the chart is read (set helm.skipSchema: true to go without it)"},
		"dependency":  {map[string]string{"shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- {name: db, version: 1.0.0, repository: https://charts.example.com}\n"}, render.HelmSpec{}, nil, "shop/Chart.yaml: the chart db that it depends on is missing in charts/ (run helm dependency build and commit charts/)"},
		"library":     {map[string]string{"shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\ntype: library\n"}, render.HelmSpec{}, nil, "shop/Chart.yaml: shop is a library chart: it has nothing to apply (render a chart that uses it)"},
		"kubeVersion": {map[string]string{"shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\nkubeVersion: \">=1.50.0-0\"\n"}, render.HelmSpec{KubeVersion: "1.37.0"}, nil, "shop/Chart.yaml: the chart wants Kubernetes >=1.50.0-0, and this is v1.37.0 (set helm.kubeVersion if that is not the cluster's version)"},
		"broken":      {map[string]string{"shop/Chart.yaml": "apiVersion: v2\nname: [\n"}, render.HelmSpec{}, nil, "shop/Chart.yaml:2: cannot load Chart.yaml: error converting YAML to JSON: yaml: line 2: did not find expected node content"},
		"values":      {nil, render.HelmSpec{ValuesFiles: []string{"v.yaml"}}, nil, `shop/v.yaml: there is no "shop/v.yaml" (name a file or directory of the repository)`},
		"declared":    {nil, render.HelmSpec{ValuesFrom: map[string]string{"a.b": "none"}}, map[string]plan.Output{}, `spec.helm.valuesFrom.a.b: value "none" is used, but the target does not declare it under values`},
		"parse":       {map[string]string{"shop/templates/x.yaml": "a: b\n{{ if }}\n"}, render.HelmSpec{}, nil, "shop/templates/x.yaml:2: missing value for if"},
		"missing":     {map[string]string{"shop/templates/x.yaml": "\n{{ include \"none\" . }}\n"}, render.HelmSpec{}, nil, "shop/templates/x.yaml:2: template: no template \"none\" associated with template \"gotpl\""},
	} {
		res, _ := rendered(t, render.Input{Path: "shop", Tree: tree(merged(shop(), c.files)), Spec: render.Spec{Helm: &c.spec}, Values: c.values})
		if got := strings.Join(messages(res.Diagnostics), "\n"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestChartsOfChartsAndTheirValues(t *testing.T) {
	files := map[string]string{
		"c/Chart.yaml":           "apiVersion: v2\nname: c\nversion: 1.0.0\ndependencies:\n- {name: near, version: 1.x, repository: \"file://../near\", alias: first, tags: [extra], import-values: [shared]}\n- {name: near, version: 1.x, repository: \"file://../near\", alias: second}\n",
		"c/templates/a.yaml":     configMap("c") + "data: {got: {{ .Values.color | quote }}, caps: '{{ .Capabilities.KubeVersion }} {{ .Capabilities.APIVersions.Has \"example.com/v1/Thing\" }} {{ .Release.IsInstall }} {{ .Release.Namespace }}'}\n",
		"near/Chart.yaml":        "apiVersion: v2\nname: near\nversion: 1.4.0\n",
		"near/values.yaml":       "exports:\n  shared: {color: red}\n",
		"near/templates/cm.yaml": configMap("{{ .Chart.Name }}") + "data: {global: {{ .Values.global.x | quote }}}\n",
	}
	in := render.Input{Path: "c", Tree: tree(files), Capabilities: render.Capabilities{KubeVersion: "v1.35.4-gke.1"}, Spec: render.Spec{Namespace: "ns",
		Helm: &render.HelmSpec{Values: map[string]any{"global": map[string]any{"x": 1}}, APIVersions: []string{"example.com/v1/Thing"}}}}
	res, got := rendered(t, in)
	clean(t, res)
	want(t, got, "ConfigMap/first near/templates/cm.yaml:1", "ConfigMap/second near/templates/cm.yaml:1", "ConfigMap/c c/templates/a.yaml:1")
	if s := asJSON(t, res.Objects[2].Object["data"]); s != `{"caps":"v1.35.4 true true ns","got":"red"}` {
		t.Error(s)
	}
	in.Spec.Helm.Values["tags"] = map[string]any{"extra": false}
	_, got = rendered(t, in)
	want(t, got, "ConfigMap/second near/templates/cm.yaml:1", "ConfigMap/c c/templates/a.yaml:1")
}

// TestWhatOnlyTheClusterKnowsIsNoMistakeYet: without a cluster a chart that
// asks for one is not the whole truth; with it, the mistake stands.
func TestWhatOnlyTheClusterKnowsIsNoMistakeYet(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"version": {"shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\nkubeVersion: \"<1.30.0-0\"\n", "shop/templates/svc.yaml": ""},
		"kinds":   {"shop/templates/x.yaml": "{{ if not (.Capabilities.APIVersions.Has \"example.com/v1\") }}{{ fail \"needs example.com/v1\" }}{{ end }}"},
	} {
		in := render.Input{Path: "shop", Tree: tree(merged(shop(), files))}
		res, _ := rendered(t, in)
		if res.Diagnostics.Err() != nil || len(res.Incomplete) == 0 {
			t.Errorf("%s: %v, %v", name, res.Diagnostics, res.Incomplete)
		}
		in.Capabilities = render.Capabilities{KubeVersion: "v1.37.0", APIVersions: []string{"v1"}}
		if res, _ := rendered(t, in); res.Diagnostics.Err() == nil || len(res.Incomplete) > 0 {
			t.Errorf("%s, with a cluster: %v, %v", name, res.Diagnostics, res.Incomplete)
		}
		in.Capabilities = render.Capabilities{KubeVersion: "v1.29.0", APIVersions: []string{"v1", "example.com/v1"}}
		if res, _ := rendered(t, in); res.Diagnostics.Err() != nil {
			t.Errorf("%s, with one that fits: %v", name, res.Diagnostics)
		}
	}
}

// TestTheNetworkTakesNoTimeFromRendering, and what it can't give now is no
// mistake of the repository's.
func TestTheNetworkTakesNoTimeFromRendering(t *testing.T) {
	seal, _ := sealer(t)
	render.SetLimits(t, 2*time.Second, 512)
	source := &render.Source{URL: "oci://reg.example.com/charts/shop", Digest: "sha256:" + strings.Repeat("b", 64)}
	in := render.Input{Path: "k", Tree: tree(map[string]string{"k/a.yaml": seal("a.yaml", sealedText)}), Spec: render.Spec{Helm: &render.HelmSpec{Source: source, ReleaseName: "x"}}}
	body := []byte(packed(t, shop(), "shop"))
	in.Fetch = func(context.Context, render.Source) ([]byte, error) {
		time.Sleep(2200 * time.Millisecond)
		return body, nil
	}
	res, _ := rendered(t, in)
	clean(t, res)
	away := fmt.Errorf("the key service: %w", driver.ErrUnreachable)
	in.Fetch = func(context.Context, render.Source) ([]byte, error) { return nil, away }
	in.Decrypt = func(context.Context, string, []byte) ([]byte, error) { return nil, away }
	if _, err := render.Render(t.Context(), in); !errors.Is(err, driver.ErrUnreachable) {
		t.Error(err)
	}
	in.Spec.Helm.Source, in.Spec.Helm.Chart, in.Spec.Helm.ValuesFiles = nil, "../shop", []string{"a.yaml"}
	in.Tree = tree(merged(shop(), map[string]string{"k/a.yaml": seal("a.yaml", sealedText)}))
	if _, err := render.Render(t.Context(), in); !errors.Is(err, driver.ErrUnreachable) {
		t.Error(err)
	}
	in.Spec.Helm = nil
	if _, err := render.Render(t.Context(), in); !errors.Is(err, driver.ErrUnreachable) {
		t.Error(err)
	}
}

// TestManyFilesAreReadElsewhere: what is large is read in a process of its own.
func TestManyFilesAreReadElsewhere(t *testing.T) {
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("k/%d.yaml", i)] = configMap(fmt.Sprintf("c%d", i)) + "data: {x: " + strings.Repeat("x", 100_000) + "}\n"
	}
	res, got := rendered(t, render.Input{Path: "k", Tree: tree(files)})
	clean(t, res)
	if len(got) != 50 {
		t.Error(len(got))
	}
	render.SetLimits(t, 20*time.Second, 8)
	res, _ = rendered(t, render.Input{Path: "k", Tree: tree(files)})
	if err := res.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Error(err)
	}
}
