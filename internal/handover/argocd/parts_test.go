package argocd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
)

// TestWindowsSayTheSame: whatever a calendar has, the windows that are written
// are open at the same minutes.
func TestWindowsSayTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c calendar
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			from, length := rapid.IntRange(0, week-1).Draw(t, "from"), rapid.IntRange(1, 2*day).Draw(t, "length")
			on := rapid.Bool().Draw(t, "on")
			for i := range length {
				c[(from+i)%week] = on
			}
		}
		var windows []config.Window
		for _, text := range c.write("UTC") {
			w, err := config.ParseWindow(text)
			if err != nil {
				t.Fatal(err)
			}
			windows = append(windows, w)
		}
		sunday := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		for m := 0; m < week; m += 7 {
			at := sunday.Add(time.Duration(m) * time.Minute)
			open := slices.ContainsFunc(windows, func(w config.Window) bool { return w.Contains(at) })
			if open != c[m] {
				t.Fatalf("%s: open %v, not %v; %q", at.Format("Mon 15:04"), open, c[m], c.write("UTC"))
			}
		}
	})
}

func TestSchedules(t *testing.T) {
	for schedule, want := range map[string]string{
		"0 8 * * 1-5":    "Mon-Fri 08:00-09:00 UTC",
		"0 8 * * mon":    "Mon 08:00-09:00 UTC",
		"30 22,23 * * 0": "Sun 22:30-24:00 UTC; Mon 00:00-00:30 UTC",
		"0 */12 * * *":   "00:00-01:00 UTC; 12:00-13:00 UTC",
		"0 8 * * 7":      "Sun 08:00-09:00 UTC",
		"0 8 * * 1,3":    "Mon,Wed 08:00-09:00 UTC",
		"0 8 1 * *":      "!",
		"0 25 * * *":     "!",
		"0 8 * *":        "!",
		"x 8 * * *":      "!",
	} {
		var c calendar
		err := mark(&c, schedule, "1h")
		got := strings.Join(c.write("UTC"), "; ")
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %q, not %q (%v)", schedule, got, want, err)
		}
	}
	for _, d := range []string{"", "0s", "200h", "soon"} {
		if mark(&calendar{}, "* * * * *", d) == nil {
			t.Errorf("the duration %q was taken", d)
		}
	}
}

// TestPathsOfJQ are taken by the driver, and leave alone what jq's do.
func TestPathsOfJQ(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"name": "x"},
		"spec": map[string]any{"replicas": int64(1), "a/b": "1", "list": []any{map[string]any{"name": "one", "v": "1"}, map[string]any{"name": "two", "v": "2"}}}}}
	live := object.DeepCopy()
	for _, p := range [][]string{{"spec", "replicas"}, {"spec", "a/b"}} {
		if err := unstructured.SetNestedField(live.Object, "live", p...); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		".spec.replicas":  "/spec/replicas",
		`.spec["a/b"]`:    "/spec/a~1b",
		`.spec."a/b"`:     "/spec/a~1b",
		".spec.list[1].v": "/spec/list/1/v",
		".spec.list[]?.v": "*",
		`.spec.list[] | select(.name == "two") | .v`: "*",
		`.spec.list[] | select(.name == "two")`:      "*",
		".spec.gone[].v":                             "*",
		"to_entries":                                 "",
		".spec | keys":                               "",
		".a[].b[].c":                                 "",
		".[]":                                        "",
		`.spec.list[] | select(.name != "two") | .v`: "",
		"":  "",
		".": "",
	} {
		pointer, expression := translate(text)
		switch {
		case want == "*" && expression == "", want != "*" && pointer != want, want != "*" && expression != "":
			t.Errorf("%q: %q, %q", text, pointer, expression)
		}
		if pointer+expression == "" {
			continue
		}
		rule := ignore.Rule{Kind: "X"}
		if pointer != "" {
			rule.Pointers = []string{pointer}
		} else {
			rule.Expressions = []string{expression}
		}
		set, diags := ignore.Compile([]ignore.Rule{rule})
		if err := diags.Err(); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if _, err := set.Strip(object, live, "trueup"); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestImages(t *testing.T) {
	for text, want := range map[string]map[string]any{
		"web:1":                           {"name": "web", "newTag": "1"},
		"reg.example.com:5000/web":        {"name": "reg.example.com:5000/web"},
		"web=reg.example.com/w:2":         {"name": "web", "newName": "reg.example.com/w", "newTag": "2"},
		"web@sha256:00":                   {"name": "web", "digest": "sha256:00"},
		"web=reg.example.com/w@sha256:00": {"name": "web", "newName": "reg.example.com/w", "digest": "sha256:00"},
	} {
		got := image(text)
		if len(got) != len(want) {
			t.Errorf("%s: %v", text, got)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %v", text, got)
			}
		}
	}
}

// TestTemplatesAreBounded: what a template gives can't grow without end, and
// none reads the environment.
func TestTemplatesAreBounded(t *testing.T) {
	for _, text := range []string{`{{ repeat 1000000000 "x" }}`, `{{ range until 1000000000 }}x{{ end }}`, `{{ indent 1000000000 "x" }}`, `{{ env "HOME" }}`,
		`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, `{{ .missing }}`, `{{ range $i := .l }}{{ range $j := $.l }}{{ range $k := $.l }}{{ range $m := $.l }}{{ $.long }}{{ end }}{{ end }}{{ end }}{{ end }}`} {
		if out, err := execute(text, map[string]any{"l": slices.Repeat([]any{1}, 100), "long": strings.Repeat("x", 100)}); err == nil {
			t.Errorf("%s gives %d bytes", text, len(out))
		}
	}
	if out, err := execute(`{{ .a | upper }}{{ toYaml .m }}{{ normalize "A_b" }}`, map[string]any{"a": "x", "m": map[string]any{"k": 1}}); err != nil || out != "Xk: 1a-b" {
		t.Errorf("%q, %v", out, err)
	}
}
