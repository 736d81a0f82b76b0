package ignore_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(body); err != nil {
		t.Fatal(err)
	}
	return u
}

const desired = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
  namespace: web
  annotations: {team: a, example.com/build: "7"}
  finalizers: [example.com/a, example.com/b]
spec:
  replicas: 3
  template:
    spec:
      containers:
      - {name: app, image: "app:2", resources: {limits: {cpu: "1"}}}
      - {name: side, image: "side:2"}
`

// fields gives a live object with field owners.
func live(t *testing.T, spec string, owners ...string) *unstructured.Unstructured {
	t.Helper()
	u := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: web}\n"+spec)
	var list []any
	for _, o := range owners {
		manager, fields, _ := strings.Cut(o, " ")
		operation := "Update"
		if manager == "trueup" {
			operation = "Apply"
		}
		var f map[string]any
		if err := json.Unmarshal([]byte(fields), &f); err != nil {
			t.Fatal(err)
		}
		list = append(list, map[string]any{"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": f})
	}
	u.Object["metadata"].(map[string]any)["managedFields"] = list
	return u
}

func strip(t *testing.T, have *unstructured.Unstructured, rules ...ignore.Rule) *unstructured.Unstructured {
	t.Helper()
	s, found := ignore.Compile(rules)
	if len(found) > 0 {
		t.Fatal(found)
	}
	want := object(t, desired)
	got, err := s.Strip(want, have, "trueup")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, object(t, desired)) {
		t.Fatal("the desired object was changed")
	}
	return got
}

func at(t *testing.T, u *unstructured.Unstructured, path ...string) any {
	t.Helper()
	v, _, err := unstructured.NestedFieldNoCopy(u.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func containers(t *testing.T, u *unstructured.Unstructured) []any {
	t.Helper()
	list, _ := at(t, u, "spec", "template", "spec", "containers").([]any)
	return list
}

func TestANewObjectIsWhole(t *testing.T) {
	got := strip(t, nil, ignore.Rule{Pointers: []string{"/spec/replicas"}})
	if at(t, got, "spec", "replicas") == nil {
		t.Error("a new object lacks its initial value")
	}
}

func TestPointers(t *testing.T) {
	have := live(t, "spec: {replicas: 9}")
	got := strip(t, have, ignore.Rule{Kind: "Deployment", Pointers: []string{"/spec/replicas", "/metadata/annotations/example.com~1build",
		"/spec/template/spec/containers/1", "/spec/template/spec/containers/0/resources", "/spec/nothing/here", "/spec/template/spec/containers/7", "/spec/replicas/x"}})
	if at(t, got, "spec", "replicas") != nil || len(got.GetAnnotations()) != 1 {
		t.Errorf("%v", got.Object)
	}
	list := containers(t, got)
	if len(list) != 1 || !reflect.DeepEqual(list[0], map[string]any{"name": "app", "image": "app:2"}) {
		t.Errorf("%v", list)
	}
}

func TestWhichObjects(t *testing.T) {
	for _, c := range []struct {
		rule ignore.Rule
		hit  bool
	}{
		{ignore.Rule{}, true}, {ignore.Rule{Kind: "Deployment"}, true}, {ignore.Rule{Kind: "Deployment.apps"}, true}, {ignore.Rule{Kind: "D*"}, true},
		{ignore.Rule{Group: "apps", Name: "a*", Namespace: "w?b"}, true}, {ignore.Rule{Kind: "StatefulSet"}, false},
		{ignore.Rule{Kind: "Deployment.extensions"}, false}, {ignore.Rule{Name: "b*"}, false}, {ignore.Rule{Namespace: "prod"}, false},
	} {
		c.rule.Pointers = []string{"/spec/replicas"}
		got := strip(t, live(t, "spec: {replicas: 9}"), c.rule)
		if hit := at(t, got, "spec", "replicas") == nil; hit != c.hit {
			t.Errorf("%+v: %v", c.rule, hit)
		}
	}
}

// TestWhatIsOursAloneStays: left out of an apply, the server would take it away.
func TestWhatIsOursAloneStays(t *testing.T) {
	rule := ignore.Rule{Pointers: []string{"/spec/replicas"}}
	for name, c := range map[string]struct {
		owners []string
		want   any
	}{
		"ours":          {[]string{`trueup {"f:spec":{"f:replicas":{}}}`}, int64(9)},
		"ours, another": {[]string{`trueup {"f:spec":{"f:paused":{}}}`}, nil},
		"theirs":        {[]string{`kube-controller-manager {"f:spec":{"f:replicas":{}}}`}, nil},
		"both":          {[]string{`trueup {"f:spec":{"f:replicas":{}}}`, `hpa {"f:spec":{"f:replicas":{}}}`}, nil},
	} {
		got := strip(t, live(t, "spec: {replicas: 9}", c.owners...), rule)
		if v := at(t, got, "spec", "replicas"); v != c.want {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestWhatIsOursInLists(t *testing.T) {
	have := live(t, `spec: {template: {spec: {containers: [{name: injected, image: x}, {name: app, image: "app:1", resources: {limits: {cpu: "5", memory: 1Gi}}}]}}}`,
		`trueup {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:name":{},"f:image":{},"f:resources":{"f:limits":{"f:cpu":{}}}}}}}}}`,
		`injector {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"injected\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`)
	app := func(pointers ...string) map[string]any {
		list := containers(t, strip(t, have, ignore.Rule{Pointers: pointers}))
		m, _ := list[0].(map[string]any)
		return m
	}
	if got := app("/spec/template/spec/containers/0/image"); got["image"] != "app:1" {
		t.Errorf("the live image is not kept: %v", got)
	}
	want := map[string]any{"limits": map[string]any{"cpu": "5"}}
	if got := app("/spec/template/spec/containers/0/resources"); !reflect.DeepEqual(got["resources"], want) {
		t.Errorf("of a part, only what is ours stays: %v", got)
	}
	want = map[string]any{"name": "app", "image": "app:1", "resources": want}
	if got := app("/spec/template/spec/containers/0"); !reflect.DeepEqual(got, want) {
		t.Errorf("an element of ours: %v", got)
	}
	list := containers(t, strip(t, have, ignore.Rule{Pointers: []string{"/spec/template/spec/containers"}}))
	if !reflect.DeepEqual(list, []any{want}) {
		t.Errorf("a list: %v", list)
	}
}

func TestManagers(t *testing.T) {
	have := live(t, "spec: {replicas: 9}",
		`scaler {"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{"f:resources":{}}}}}},"f:metadata":{"f:finalizers":{"v:\"example.com/b\"":{}}}}`,
		`kubectl {"f:metadata":{"f:annotations":{"f:team":{}}}}`)
	got := strip(t, have, ignore.Rule{Managers: []string{"scaler", "nobody"}})
	if at(t, got, "spec", "replicas") != nil || len(got.GetFinalizers()) != 1 || got.GetAnnotations()["team"] != "a" {
		t.Errorf("%v", got.Object)
	}
	if list := containers(t, got); len(list) != 2 || !reflect.DeepEqual(list[0], map[string]any{"name": "app", "image": "app:2"}) {
		t.Errorf("%v", list)
	}
}

func TestExpressions(t *testing.T) {
	have := live(t, "spec: {replicas: 9, paused: true}")
	for _, text := range []string{
		`"/spec/replicas"`, `["/spec/replicas"]`, `live.spec.paused ? ["/spec/replicas"] : []`,
		`live.?spec.?paused.orValue(false) && object.spec.replicas > 1 ? "/spec/replicas" : "/none"`,
	} {
		if got := strip(t, have, ignore.Rule{Expressions: []string{text}}); at(t, got, "spec", "replicas") != nil {
			t.Errorf("%s is not ignored", text)
		}
	}
	got := strip(t, have, ignore.Rule{Expressions: []string{
		`object.spec.template.spec.containers.transformList(i, c, c.name == "side", "/spec/template/spec/containers/" + string(i) + "/image")`}})
	if list := containers(t, got); !reflect.DeepEqual(list[1], map[string]any{"name": "side"}) || len(list) != 2 {
		t.Errorf("%v", list)
	}
}

func TestExpressionsThatFail(t *testing.T) {
	have := live(t, "spec: {replicas: 9}")
	for text, says := range map[string]string{
		`live.spec.template.x`: "no such key", `[1].map(x, dyn(x))`: "no string", `"spec"`: "starts with a slash", `object.spec.replicas == 3 ? dyn(3) : dyn("")`: "not a JSON pointer",
		`"/metadata/name"`: "can't be ignored",
		`[0,1,2,3,4,5,6,7,8,9].map(a, [0,1,2,3,4,5,6,7,8,9].map(b, [0,1,2,3,4,5,6,7,8,9].map(c, [0,1,2,3,4,5,6,7,8,9].map(d, [0,1,2,3,4,5,6,7,8,9].map(e, [0,1,2,3,4,5,6,7,8,9].map(f, f)))))).size() > 0 ? "/a" : "/b"`: "cost",
	} {
		s, found := ignore.Compile([]ignore.Rule{{Expressions: []string{text}}})
		if len(found) > 0 {
			t.Errorf("%s: %v", text, found)
			continue
		}
		if _, err := s.Strip(object(t, desired), have, "trueup"); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "Deployment.apps/web/api") {
			t.Errorf("%s gives %v", text, err)
		}
	}
}

func TestRulesWithMistakes(t *testing.T) {
	for field, r := range map[string]ignore.Rule{
		"[0]":                {},
		"[0].kind":           {Kind: "Deployment.apps", Group: "batch", Managers: []string{"x"}},
		"[0].name":           {Name: "[", Managers: []string{"x"}},
		"[0].pointers[0]":    {Pointers: []string{"spec"}},
		"[0].pointers[1]":    {Pointers: []string{"/a", ""}},
		"[0].pointers[2]":    {Pointers: []string{"/a~0", "/b~1", "/c~2"}},
		"[0].expressions[0]": {Expressions: []string{"object.("}},
		"[0].expressions[1]": {Expressions: []string{`"/a"`, "1"}},
		"[0].expressions[2]": {Expressions: []string{`"/a"`, "[]", "true"}},
	} {
		s, found := ignore.Compile([]ignore.Rule{r})
		if s != nil || len(found) != 1 || found[0].Field != field {
			t.Errorf("%s: %+v", field, found)
		}
	}
	if _, found := ignore.Compile(make([]ignore.Rule, 1000)); len(found) != 1 {
		t.Error("a thousand rules are not too many")
	}
	long := ignore.Rule{Expressions: []string{`"/` + strings.Repeat("a", 5000) + `"`}}
	if _, found := ignore.Compile([]ignore.Rule{long}); len(found) != 1 {
		t.Error("an expression has no bound")
	}
}
