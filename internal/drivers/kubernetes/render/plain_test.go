package render_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
}

func TestPlainFilesInTheirOrder(t *testing.T) {
	in := render.Input{Path: "k8s", Tree: tree(map[string]string{
		"k8s/b.yaml":        "# two\n---\n" + configMap("one") + "---\n\n" + configMap("two") + "...\n---\n# nothing\n",
		"k8s/a/deploy.json": "{\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\",\n \"metadata\": {\"name\": \"web\", \"namespace\": \"shop\"}, \"spec\": {\"replicas\": 3, \"paused\": false, \"strategy\": {\"type\": \"\\ud83d\\ude00\"}}}\n{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"web\"}}\n",
		"k8s/c.yml":         "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: shop}\n- apiVersion: v1\n  kind: ConfigMapList\n  items:\n  - metadata: {name: inner}\n",
		"k8s/README.md":     "text",
		"k8s/.sops.yaml":    "creation_rules: []",
		"k8s/.ci/x.yaml":    "steps: []",
		"k8s/trueup.yaml":   "version: 1",
		"other.yaml":        "x: 1",
	})}
	res, got := rendered(t, in)
	clean(t, res)
	want(t, got,
		"Deployment.apps/shop/web k8s/a/deploy.json:1",
		"ServiceAccount/web k8s/a/deploy.json:3",
		"ConfigMap/one k8s/b.yaml:3",
		"ConfigMap/two k8s/b.yaml:8",
		"Namespace/shop k8s/c.yml:4",
		"ConfigMap/inner k8s/c.yml:10")
	if s := asJSON(t, res.Objects[0].Object); !strings.Contains(s, `"spec":{"paused":false,"replicas":3,"strategy":{"type":"😀"}}`) {
		t.Error(s)
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	in := render.Input{Path: ".", Tree: tree(map[string]string{
		"a.yaml":   configMap("good") + "---\nkind: [\n---\n" + configMap("also-good") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: Bad_Name\n",
		"b.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  annotations:\n    good: yes\n    n: 1\n  name: y\n",
		"c.yaml":   "name: pipeline\nsteps: []\n",
		"d.yaml":   "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: run-\n",
		"e.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .name }}\n",
		"f.json":   `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}} trailing`,
		"g.yaml":   "- 1\n",
		"h.yaml":   configMap("good"),
		"i.yaml":   "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
		"j.yaml":   "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"k.yaml":   "apiVersion: v1\nkind: Service\nmetadata:\n  name: 1.2\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  namespace: 7\n  name: p\n",
		"l/m.yaml": "apiVersion: v1\n\tkind: Pod\n",
	})}
	res, got := rendered(t, in)
	want(t, got, "ConfigMap/good a.yaml:1", "ConfigMap/also-good a.yaml:7", "ConfigMap/x f.json:1", "ConfigMap/good h.yaml:1", "Pod/p k.yaml:6")
	want(t, messages(res.Diagnostics),
		`a.yaml:5: this is not valid YAML: did not find expected node content`,
		`a.yaml:14: metadata.name: ConfigMap Bad_Name: "Bad_Name" is no name for it: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character`,
		`b.yaml:8: the field "name" stands here twice; first in line 4 (remove one of the two)`,
		`c.yaml:1: this is no Kubernetes object: it has no apiVersion and no kind (if the file is none of the target's, list it under spec.exclude)`,
		`d.yaml:4: metadata.generateName: Job: its name is left to the server (generateName), so each apply would make another one (write metadata.name: an object is found again by its name)`,
		`e.yaml:4: the name of a field must be text (a template? List it under spec.templates, or set spec.render: helm for a chart)`,
		`f.json:1: this is not valid JSON: invalid character 'a' in literal true (expecting 'u')`,
		`g.yaml:1: this is no Kubernetes object: it is no mapping of fields (if the file is none of the target's, list it under spec.exclude)`,
		`h.yaml:1: ConfigMap/good is asked for twice; first in a.yaml:1 (remove one of the two)`,
		`i.yaml:2: kind: Kustomization: it is for Kustomize, not for a cluster (set spec.render: kustomize and the target's path to this directory, or list the file under spec.exclude)`,
		`j.yaml:1: kind: this object: it has no kind (a Helm chart? Set spec.render: helm and the target's path to this directory, or list the file under spec.exclude)`,
		`k.yaml:4: metadata.name: Service: its name is no text (write it in quotes)`,
		`k.yaml:9: metadata.namespace: Pod p: its namespace is no text (write it in quotes)`,
		`l/m.yaml:2: this is not valid YAML: found a tab character that violates indentation (indent with spaces, not tabs)`)
}

func TestIncludeAndExclude(t *testing.T) {
	files := tree(map[string]string{"k/a.yaml": configMap("a"), "k/b.yaml": configMap("b"), "k/ci/c.yaml": "x: 1", "k/deep/er/d.yaml": configMap("d"), "k/e.txt": configMap("e")})
	for _, c := range []struct {
		spec render.Spec
		want string
	}{
		{render.Spec{Exclude: []string{"ci"}}, "a b d"},
		{render.Spec{Exclude: []string{"ci/**", "b.yaml"}}, "a d"},
		{render.Spec{Exclude: []string{"**/c.yaml", "{a,b}.yaml"}}, "d"},
		{render.Spec{Include: []string{"deep/**", "*.txt"}}, "d e"},
	} {
		res, _ := rendered(t, render.Input{Path: "k", Tree: files, Spec: c.spec})
		clean(t, res)
		var names []string
		for _, o := range res.Objects {
			names = append(names, o.GetName())
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%+v: %s, not %s", c.spec, got, c.want)
		}
	}
}

func TestNothingIsAMistake(t *testing.T) {
	for path, text := range map[string]string{"empty": "holds no objects", "none": `there is no "none"`} {
		res, _ := rendered(t, render.Input{Path: path, Tree: tree(map[string]string{"empty/README.md": "x"}), Spec: render.Spec{Render: render.Plain}})
		if d := res.Diagnostics.Err(); d == nil || !strings.Contains(d.Error(), text) {
			t.Errorf("%s: %v", path, d)
		}
	}
}

func TestTemplatesTakeDeclaredValues(t *testing.T) {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  ip: {{ .lb }}\n  ports: '{{ range .ports }}{{ . }} {{ end }}'\n"
	in := render.Input{Path: "k", Spec: render.Spec{Templates: []string{"*.tmpl", "a.yaml"}}, Tree: tree(map[string]string{"k/a.yaml": text, "k/b.yaml": configMap("x")}),
		Values: map[string]plan.Output{"lb": output("192.0.2.1", false), "ports": output([]int{80, 443}, false), "unused": output(1, false)}}
	res, _ := rendered(t, in)
	clean(t, res)
	if got := asJSON(t, res.Objects[0].Object["data"]); got != `{"ip":"192.0.2.1","ports":"80 443 "}` {
		t.Error(got)
	}
	want(t, res.Values, "lb", "ports")

	in.Values = map[string]plan.Output{"lb": {Unknown: true}}
	res, _ = rendered(t, in)
	want(t, messages(res.Diagnostics), `k/a.yaml: value "ports" is used, but the target does not declare it under values`)

	in.Tree = tree(map[string]string{"k/a.yaml": "x\n{{ if }}\n"})
	res, _ = rendered(t, in)
	want(t, messages(res.Diagnostics), `k/a.yaml:2: missing value for if`)
}
