package diff_test

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
)

func doc(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		u := &unstructured.Unstructured{}
		if err = u.UnmarshalJSON(raw); err == nil {
			m = u.Object
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(m, "apiVersion")
	delete(m, "kind")
	return m
}

func fields(t *testing.T, text string) *fieldpath.Set {
	t.Helper()
	s := fieldpath.NewSet()
	if err := s.FromJSON(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

const head = "apiVersion: v1\nkind: X\n"

// TestView: of two states, what is in the set and what differs shows, and what
// others own does not.
func TestView(t *testing.T) {
	for name, c := range map[string]struct{ before, after, set, showB, showA string }{
		"owned, equal":   {"data: {a: 1, b: 2}", "data: {a: 1, b: 2}", `{"f:data":{"f:a":{}}}`, `{"data":{"a":1}}`, `{"data":{"a":1}}`},
		"changed beside": {"spec: {a: 1, b: 2, c: 3}", "spec: {a: 1, b: 9, c: 3}", `{"f:spec":{"f:a":{}}}`, `{"spec":{"a":1,"b":2}}`, `{"spec":{"a":1,"b":9}}`},
		"added":          {"spec: {c: 3}", "spec: {a: 1, c: 3}", `{"f:spec":{"f:a":{}}}`, `{"spec":{}}`, `{"spec":{"a":1}}`},
		"gone":           {"spec: {a: 1, c: 3}", "spec: {c: 3}", `{"f:spec":{"f:a":{}}}`, `{"spec":{"a":1}}`, `{"spec":{}}`},
		"items by key": {"list: [{name: a, x: 1, y: 1}, {name: b, x: 2}, {name: c}]", "list: [{name: a, x: 5, y: 1}, {name: b, x: 2}, {name: d}]",
			`{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:x":{}}}}`,
			`{"list":[{"name":"a","x":1},{"name":"c"}]}`, `{"list":[{"name":"a","x":5},{"name":"d"}]}`},
		"items by two keys": {"list: [{p: 1, q: T, x: 1}, {p: 1, q: U, x: 1}]", "list: [{p: 1, q: T, x: 1}, {p: 1, q: U, x: 2}]",
			`{"f:list":{"k:{\"p\":1,\"q\":\"T\"}":{".":{},"f:p":{},"f:q":{},"f:x":{}}}}`,
			`{"list":[{"p":1,"q":"T","x":1},{"p":1,"q":"U","x":1}]}`, `{"list":[{"p":1,"q":"T","x":1},{"p":1,"q":"U","x":2}]}`},
		"a set":              {"list: [a, b, c]", "list: [a, b, d]", `{"f:list":{"v:\"a\"":{}}}`, `{"list":["a","c"]}`, `{"list":["a","d"]}`},
		"whole":              {"list: [1, 2]", "list: [1, 3]", `{"f:list":{}}`, `{"list":[1,2]}`, `{"list":[1,3]}`},
		"not a map any more": {"a: {b: 1}", "a: 1", `{"f:a":{"f:b":{}}}`, `{"a":{"b":1}}`, `{"a":1}`},
	} {
		b, a := diff.View(doc(t, head+c.before), doc(t, head+c.after), fields(t, c.set))
		rawB, _ := json.Marshal(b)
		rawA, _ := json.Marshal(a)
		if string(rawB) != c.showB || string(rawA) != c.showA {
			t.Errorf("%s:\n %s\n %s, not\n %s\n %s", name, rawB, rawA, c.showB, c.showA)
		}
	}
}

func TestClean(t *testing.T) {
	u := &unstructured.Unstructured{Object: doc(t, head+`metadata:
  name: a
  uid: x
  resourceVersion: "1"
  managedFields: [{manager: m}]
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "secret", mine: "1"}
data: {a: 1}
status: {ready: true}`)}
	raw, _ := json.Marshal(diff.Clean(u))
	if string(raw) != `{"data":{"a":1},"metadata":{"annotations":{"mine":"1"},"name":"a"}}` {
		t.Errorf("%s", raw)
	}
	if u.GetUID() == "" || len(u.GetAnnotations()) != 2 {
		t.Error("the object itself was changed")
	}
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		have, want string
		holds      bool
	}{
		{"a: 1\nb: 2", "a: 1", true},
		{"a: 1", "a: 2", false},
		{"a: 1", "a: 1\nb: 2", false},
		{"l: [{x: 1, y: 2}]", "l: [{x: 1}]", true},
		{"l: [{x: 1}, {x: 2}]", "l: [{x: 1}]", false},
		{"a: 1", "a: 1\nb: null", true},
		{"a: 1", "a: 1\nb: {}", false},
		{"a: 1", "a: 1\nb: []", false},
		{"a: {}", "a: {}", true},
		{"a: '1'", "a: 1", false},
		{"a: 1\nb: 2", "a: 1\nb: null", false},
	} {
		if got := diff.Holds(doc(t, head+c.have), doc(t, head+c.want)); got != c.holds {
			t.Errorf("%q holds %q: %v", c.have, c.want, got)
		}
	}
}
