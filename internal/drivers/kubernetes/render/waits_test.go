package render_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// TestWhatHangsOnAValueIsNotGone: what templates and programs leave out for a
// value that is not known yet is not gone, and what they set is not decided.
func TestWhatHangsOnAValueIsNotGone(t *testing.T) {
	template := func(condition string) map[string]string {
		return map[string]string{"app/a.yaml": configMap("one") + "---\n" + condition + "\n" + configMap("two") + "{{ end }}\n"}
	}
	chart := map[string]string{"app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n"}
	for name, in := range map[string]render.Input{
		"chart": {Spec: render.Spec{Helm: &render.HelmSpec{ValuesFrom: map[string]string{"mode": "mode"}}},
			Tree: tree(merged(chart, map[string]string{"app/templates/a.yaml": configMap("one") + "---\n{{ if eq .Values.mode \"ha\" }}\n" + configMap("two") + "{{ end }}\n"}))},
		"template":   {Spec: render.Spec{Templates: []string{"**"}}, Tree: tree(template(`{{ if eq .mode "ha" }}`))},
		"pipe":       {Spec: render.Spec{Templates: []string{"**"}}, Tree: tree(map[string]string{"app/a.yaml": configMap("one") + "data: {n: '{{ len .mode }}'}\n"})},
		"kustomized": {Spec: render.Spec{Templates: []string{"**"}}, Tree: tree(merged(template(`{{ if eq .mode "ha" }}`), map[string]string{"app/kustomization.yaml": "resources: [a.yaml]\n"}))},
		"program": {Spec: render.Spec{Jsonnet: &render.JsonnetSpec{ExtVarsFrom: map[string]string{"mode": "mode"}}}, Tree: tree(map[string]string{
			"app/main.jsonnet": `local c(n) = {apiVersion: "v1", kind: "ConfigMap", metadata: {name: n}}; [c("one")] + if std.extVar("mode") == "ha" then [c("two")] else []`})},
	} {
		in.Path, in.Values = "app", map[string]plan.Output{"mode": {Unknown: true}}
		res, got := rendered(t, in)
		if len(res.Incomplete) == 0 {
			t.Errorf("%s: %v is taken for all that is asked for", name, got)
		}
		in.Values = map[string]plan.Output{"mode": output("ha", false)}
		if res, got = rendered(t, in); len(res.Incomplete) > 0 || name != "pipe" && len(got) != 2 {
			t.Errorf("%s with the value: %v, incomplete: %v", name, got, res.Incomplete)
		}
	}
}

// TestMistakesHaveAnEnd: a file of nothing but mistakes says how many there
// are, in this process and in one of its own.
func TestMistakesHaveAnEnd(t *testing.T) {
	for _, templates := range [][]string{nil, {"none.yaml"}} {
		res, _ := rendered(t, render.Input{Path: ".", Spec: render.Spec{Templates: templates}, Tree: tree(map[string]string{"a.yaml": strings.Repeat("---\nkind: x\n", 20_000)})})
		n := len(res.Diagnostics)
		if n != 500 || res.Diagnostics.Err() == nil || !strings.Contains(res.Diagnostics[n-1].Message, "19501 more mistakes") {
			t.Errorf("%d mistakes, the last is %v", n, res.Diagnostics[n-1])
		}
	}
}
