package render_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// identified is a tree with ids, which counts how often it is read.
type identified struct {
	fstest.MapFS
	reads *int
}

func (t identified) ReadFile(name string) ([]byte, error) {
	*t.reads++
	return t.MapFS.ReadFile(name)
}

func (t identified) Identify(name string) (string, error) {
	info, err := t.MapFS.Stat(name)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		entries, err := t.MapFS.ReadDir(name)
		return fmt.Sprint(entries), err
	}
	return fmt.Sprintf("%x", sha256.Sum256(t.MapFS[name].Data)), nil
}

func TestCacheGivesTheSameForTheSameContent(t *testing.T) {
	seal, open := sealer(t)
	for name, c := range map[string]struct {
		path         string
		files        map[string]string
		spec         render.Spec
		change, with string
		add          string
	}{
		"plain":     {"k", map[string]string{"k/a.yaml": configMap("a"), "k/b.yaml": seal("b.yaml", sealedText)}, render.Spec{}, "k/a.yaml", configMap("z"), "k/new.yaml"},
		"helm":      {"shop", shop(), render.Spec{}, "shop/values.yaml", "replicas: 9\n", "shop/templates/more.yaml"},
		"kustomize": {"k/prod", overlay(), render.Spec{}, "k/base/all.yaml", configMap("z"), ""},
		"jsonnet":   {"j", map[string]string{"j/main.jsonnet": "import 'a.libsonnet'", "j/lib/a.libsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}}"}, render.Spec{}, "j/lib/a.libsonnet", "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'b'}}", "j/a.libsonnet"},
	} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			files := identified{tree(c.files), &reads}
			in := render.Input{Path: c.path, Tree: files, Spec: c.spec, Decrypt: open, Cache: render.NewCache(render.DefaultCache)}
			cold, _ := rendered(t, in)
			cold.Objects[0].SetName("spoilt") // what is given out is the caller's
			fresh, _ := rendered(t, render.Input{Path: c.path, Tree: tree(c.files), Decrypt: open})
			reads = 0
			warm, _ := rendered(t, in)
			if reads > 0 || all(t, warm) != all(t, fresh) {
				t.Errorf("%d reads, %s\nnot %s", reads, all(t, warm), all(t, fresh))
			}
			files.MapFS[c.change] = &fstest.MapFile{Data: []byte(c.with)}
			if after, _ := rendered(t, in); reads == 0 || all(t, after) == all(t, fresh) {
				t.Errorf("a change of %s does not show", c.change)
			}
			if c.add == "" {
				return
			}
			reads = 0
			files.MapFS[c.add] = &fstest.MapFile{Data: []byte(configMap("new"))}
			if strings.HasSuffix(c.add, ".libsonnet") {
				files.MapFS[c.add].Data = []byte("{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'new'}}")
			}
			if after, _ := rendered(t, in); !strings.Contains(all(t, after), `"new"`) {
				t.Errorf("a new file %s does not show: %s", c.add, all(t, after))
			}
		})
	}
}

func TestCacheGoesByAllThatCounts(t *testing.T) {
	reads := 0
	files := identified{tree(map[string]string{"k/a.yaml": configMap("a") + "data: {x: '{{ .pw }}'}\n"}), &reads}
	in := render.Input{Path: "k", Tree: files, Spec: render.Spec{Templates: []string{"**"}}, Values: map[string]plan.Output{"pw": output("one", true)}, Cache: render.NewCache(1 << 20)}
	rendered(t, in)
	for name, change := range map[string]func(*render.Input){
		"value":     func(i *render.Input) { i.Values = map[string]plan.Output{"pw": output("two", true)} },
		"sensitive": func(i *render.Input) { i.Values = map[string]plan.Output{"pw": output("one", false)} },
		"unknown":   func(i *render.Input) { i.Values = map[string]plan.Output{"pw": {Unknown: true}} },
		"none":      func(i *render.Input) { i.Values = nil },
		"spec":      func(i *render.Input) { i.Spec.Namespace = "x" },
		"key": func(i *render.Input) {
			i.Decrypt = func(context.Context, string, []byte) ([]byte, error) { return nil, fs.ErrInvalid }
		},
		"version": func(i *render.Input) { i.Capabilities.KubeVersion = "v1.30.0" },
	} {
		other := in
		change(&other)
		reads = 0
		if rendered(t, other); reads == 0 {
			t.Errorf("%s: nothing was rendered anew", name)
		}
		reads = 0
		if rendered(t, other); reads != 0 {
			t.Errorf("%s: it is not remembered", name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	reads := 0
	files := identified{tree(nil), &reads}
	for i := range 50 {
		files.MapFS[fmt.Sprintf("k%d/a.yaml", i)] = &fstest.MapFile{Data: []byte(configMap("a"))}
	}
	c := render.NewCache(30_000) // room for five or so
	for i := range 50 {
		rendered(t, render.Input{Path: fmt.Sprintf("k%d", i), Tree: files, Cache: c})
	}
	again := 0
	for i := range 50 {
		reads = 0
		rendered(t, render.Input{Path: fmt.Sprintf("k%d", 49-i), Tree: files, Cache: c})
		again += reads
	}
	if again < 40 || again == 50 {
		t.Errorf("of 50 renderings %d were made again", again)
	}
}

// all gives everything of a result as text.
func all(t *testing.T, r *render.Result) string {
	t.Helper()
	var b strings.Builder
	for i := range r.Objects {
		o := &r.Objects[i]
		fmt.Fprintln(&b, o.Source, asJSON(t, o.Object), o.Sensitive, o.Unknown)
	}
	fmt.Fprint(&b, r.Values, r.Incomplete, r.Diagnostics)
	return b.String()
}
