package files

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func fuzzTemplate(t *testing.T, text string) {
	t.Helper()
	in := driver.Input{Path: "d", Tree: fstest.MapFS{"d/f": {Data: []byte(text)}}, Spec: &Spec{Templates: []string{"**"}},
		Values: map[string]plan.Output{"a": {Value: json.RawMessage(`[{"b":"x"},2,null]`)}, "c": {Value: json.RawMessage(`"y"`)}}}
	prep, err := New().Prepare(t.Context(), in)
	if err != nil {
		t.Fatalf("a mistake in a template must be a diagnostic: %v", err)
	}
	for _, d := range prep.Diagnostics {
		if d.File != "d/f" {
			t.Fatalf("a finding without its file: %v", d)
		}
	}
}

func TestLongestMatch(t *testing.T) {
	m := map[string]string{"**": "1", "a/*": "2", "a/b": "3", "*/b": "4"}
	for name, want := range map[string]string{"x": "1", "a/c": "2", "a/b": "2", "c/b": "4"} {
		if name == "a/b" {
			want = "*/b and a/* and a/b are equally long: the first in order"
			if got, ok := longestMatch(m, name); !ok || got != "4" {
				t.Errorf("%s: %q, %s", name, got, want)
			}
			continue
		}
		if got, ok := longestMatch(m, name); !ok || got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	if _, ok := longestMatch(map[string]string{"a": "1"}, "b"); ok {
		t.Error("a glob that does not match gives a value")
	}
}
