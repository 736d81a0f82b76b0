package render_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// tree makes a snapshot of texts by path.
func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for n, text := range files {
		out[n] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return out
}

// rendered renders and gives a line for each object: address, file and line.
func rendered(t *testing.T, in render.Input) (*render.Result, []string) {
	t.Helper()
	res, err := render.Render(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range res.Objects {
		o := &res.Objects[i]
		out = append(out, fmt.Sprintf("%s %s", o.Ref(), o.Source))
	}
	return res, out
}

// want compares lines, and prints both when they differ.
func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("got\n  %s\nnot\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// clean fails if there are findings.
func clean(t *testing.T, res *render.Result) {
	t.Helper()
	if len(res.Diagnostics) > 0 || len(res.Incomplete) > 0 {
		t.Errorf("diagnostics:\n%v\nincomplete: %v", res.Diagnostics, res.Incomplete)
	}
}

// messages gives the diagnostics as lines.
func messages(d plan.Diagnostics) []string {
	var out []string
	for _, x := range d {
		out = append(out, x.Error())
	}
	return out
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func output(v any, sensitive bool) plan.Output {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return plan.Output{Value: b, Sensitive: sensitive}
}

func merged(ms ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range ms {
		maps.Copy(out, m)
	}
	return out
}
