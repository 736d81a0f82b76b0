package render_test

import (
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// BenchmarkRender renders without a cache, with a cold one and with a warm one.
func BenchmarkRender(b *testing.B) {
	plain := map[string]string{}
	for i := range 100 {
		var docs []string
		for j := range 10 {
			docs = append(docs, fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d-%d-%d, namespace: x}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: a}}\n  template:\n    metadata: {labels: {app: a}}\n    spec:\n      containers:\n      - name: c\n        image: reg.example.com/web:1\n        ports: [{containerPort: 80}]\n", i, j))
		}
		plain[fmt.Sprintf("p/f%d.yaml", i)] = strings.Join(docs, "---\n")
	}
	for name, c := range map[string]struct {
		path  string
		files map[string]string
	}{"plain-1000": {"p", plain}, "helm": {"shop", shop()}, "kustomize": {"k/prod", overlay()}, "jsonnet": {"j", map[string]string{"j/main.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}}"}}} {
		reads := 0
		files := identified{tree(c.files), &reads}
		run := func(b *testing.B, in render.Input) {
			res, err := render.Render(b.Context(), in)
			if err != nil || len(res.Objects) == 0 || res.Diagnostics.Err() != nil {
				b.Fatal(err, res)
			}
		}
		b.Run(name+"/cold", func(b *testing.B) {
			for b.Loop() {
				run(b, render.Input{Path: c.path, Tree: files, Cache: render.NewCache(render.DefaultCache)})
			}
		})
		b.Run(name+"/warm", func(b *testing.B) {
			in := render.Input{Path: c.path, Tree: files, Cache: render.NewCache(render.DefaultCache)}
			run(b, in)
			for b.Loop() {
				run(b, in)
			}
		})
	}
}
