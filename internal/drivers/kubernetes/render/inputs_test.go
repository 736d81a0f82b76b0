package render_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/source"
)

type blobs map[string][]byte

func (b blobs) Get(id string) ([]byte, bool, error) { body, ok := b[id]; return body, ok, nil }

func (b blobs) Put(id string, body []byte) error { b[id] = body; return nil }

// view gives a target's view of a snapshot. A text that begins with "->" is a
// symbolic link.
func view(files map[string]string, path string, inputs ...string) *source.View {
	kept := blobs{}
	var m []source.Entry
	for n, text := range files {
		e := source.Entry{Path: n, Mode: source.ModeFile, ID: "id of " + n + text}
		if to, link := strings.CutPrefix(text, "->"); link {
			e.Mode, text = source.ModeSymlink, to
		}
		kept[e.ID] = []byte(text)
		m = append(m, e)
	}
	return source.Stored(m, kept, source.Limits{}).View(path, inputs)
}

// TestWhatLiesOutsideIsNamedWithItsLine: the mistake says which inputs would
// allow it, and where it is asked for.
func TestWhatLiesOutsideIsNamedWithItsLine(t *testing.T) {
	files := merged(overlay(), shop(), map[string]string{
		"values/x.yaml": "replicas: 1\n", "j/main.jsonnet": "import '../lib/x.libsonnet'", "lib/x.libsonnet": "{}",
		"p/a.yaml": configMap("a"), "p/link.yaml": "->../out/b.yaml", "p/bad.yaml": "->../../../etc/passwd", "p/dir": "->../k", "out/b.yaml": configMap("b"),
	})
	for name, c := range map[string]struct {
		path string
		spec render.Spec
		want string
	}{
		"kustomize": {"k/prod", render.Spec{}, "k/prod/kustomization.yml:1: k/base is outside the target's path and inputs; to read it, add `inputs: [k/base/**]` to the target\nk/prod/kustomization.yml:3: k/part is outside the target's path and inputs; to read it, add `inputs: [k/part/**]` to the target"},
		"helm":      {"shop", render.Spec{Helm: &render.HelmSpec{ValuesFiles: []string{"../values/x.yaml"}}}, "values/x.yaml: values/x.yaml is outside the target's path and inputs; to read it, add `inputs: [values/x.yaml]` to the target"},
		"jsonnet":   {"j", render.Spec{}, "j/main.jsonnet:1: lib/x.libsonnet is outside the target's path and inputs; to read it, add `inputs: [lib/x.libsonnet]` to the target"},
		"links":     {"p", render.Spec{}, "p/bad.yaml: \"p/bad.yaml\": a symbolic link leads out of the repository\np/dir: k is outside the target's path and inputs; to read it, add `inputs: [k/**]` to the target\np/link.yaml: out/b.yaml is outside the target's path and inputs; to read it, add `inputs: [out/b.yaml]` to the target"},
	} {
		res, _ := rendered(t, render.Input{Path: c.path, Tree: view(files, c.path), Spec: c.spec})
		if got := strings.Join(messages(res.Diagnostics), "\n"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for path, inputs := range map[string][]string{"k/prod": {"k/base", "k/part"}, "j": {"lib"}, "shop": nil} {
		res, _ := rendered(t, render.Input{Path: path, Tree: view(files, path, inputs...)})
		for _, d := range res.Diagnostics {
			if d.Message != "j holds no objects" {
				t.Errorf("%s: %v", path, d)
			}
		}
	}
	v := view(files, "k/prod", "k/base", "k/part")
	c := render.NewCache(render.DefaultCache)
	rendered(t, render.Input{Path: "k/prod", Tree: v, Cache: c})
	read := v.Reads()
	v = view(files, "k/prod", "k/base", "k/part")
	rendered(t, render.Input{Path: "k/prod", Tree: v, Cache: c})
	for _, r := range read {
		if r.Op == "file" && !strings.Contains(fmt.Sprint(v.Reads()), r.Path) {
			t.Errorf("%s was read, and is not when the rendering comes from the cache", r.Path)
		}
	}
}

// TestRenderingIsTheSameEachTime: the order in which files come to be, and
// that of maps in memory, have no say.
func TestRenderingIsTheSameEachTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		files := map[string]string{}
		n := rapid.IntRange(1, 12).Draw(rt, "files")
		for i := range n {
			var docs []string
			for range rapid.IntRange(0, 4).Draw(rt, "documents") {
				docs = append(docs, configMap(rapid.StringMatching(`[a-z][a-z0-9-]{0,6}[a-z]`).Draw(rt, "name"))+"data: "+fmt.Sprintf("{b: %q, a: 1}\n", rapid.StringMatching(`[a-z]{0,5}`).Draw(rt, "text")))
			}
			files[fmt.Sprintf("k/%s%d.yaml", rapid.SampledFrom([]string{"", "x/", "x/y/"}).Draw(rt, "dir"), i)] = strings.Join(docs, "---\n")
		}
		first, err := render.Render(t.Context(), render.Input{Path: "k", Tree: tree(files)})
		if err != nil {
			rt.Fatal(err)
		}
		names := make([]string, 0, n)
		for name := range files {
			names = append(names, name)
		}
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		other := map[string]string{}
		for _, name := range names {
			other[name] = files[name]
		}
		second, err := render.Render(t.Context(), render.Input{Path: "k", Tree: view(other, "k")})
		if err != nil {
			rt.Fatal(err)
		}
		if a, b := all(t, first), all(t, second); a != b {
			rt.Fatalf("%s\nand then\n%s", a, b)
		}
	})
	for path, files := range map[string]map[string]string{"shop": shop(), "k/prod": overlay()} {
		first, _ := rendered(t, render.Input{Path: path, Tree: tree(files)})
		for range 3 {
			if again, _ := rendered(t, render.Input{Path: path, Tree: tree(files)}); all(t, first) != all(t, again) {
				t.Errorf("%s: %s\nand then\n%s", path, all(t, first), all(t, again))
			}
		}
	}
}
