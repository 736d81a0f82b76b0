//go:build real

package release_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// definition is a custom resource definition of the namespace's own group.
func definition(group, note string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%s, annotations: {note: %q}}
spec:
  group: %s
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`, group, note, group)
}

// TestCRDs come before the objects of their kind, are changed only where that
// is asked for, and never go.
func TestCRDs(t *testing.T) {
	g := newRig(t, map[string]string{"templates/a.yaml": configMap("a", "x")})
	group := g.ns + ".example.test"
	t.Cleanup(func() { _, _ = cluster.Run("delete", "crd", "things."+group, "--ignore-not-found") })
	g.files["crds/thing.yaml"] = definition(group, "one")
	g.files["templates/thing.yaml"] = fmt.Sprintf("apiVersion: %s/v1\nkind: Thing\nmetadata: {name: it}\n", group)
	g.r.Options.CRDs = render.CRDsSkip
	if err := g.deploy(); err == nil {
		t.Error("without its definition the object can't be made")
	}
	g.r.Options.CRDs = ""
	note := func() string {
		return g.kubectl("get", "crd", "things."+group, "-o", "jsonpath={.metadata.annotations.note}")
	}
	action := func() string {
		t.Helper()
		list := g.resolve().CRDs
		if len(list) != 1 {
			t.Fatalf("%d definitions", len(list))
		}
		return list[0].Action
	}
	if got := action(); got != "create" {
		t.Errorf("the definition is missing, and its action %q", got)
	}
	g.mustDeploy()
	if note() != "one" || g.kubectl("get", "things."+group, "-o", "name") == "" {
		t.Error("the definition or its object is not there")
	}
	g.files["crds/thing.yaml"] = definition(group, "two")
	if got := action(); got != "" {
		t.Errorf("create changes nothing, and the action is %q", got)
	}
	g.r.Options.CRDs = render.CRDsCreateReplace
	if got := action(); got != "update" {
		t.Errorf("the action is %q", got)
	}
	g.mustDeploy()
	if note() != "two" || action() != "" {
		t.Errorf("the definition's note is %q", note())
	}
	if err := g.client.Uninstall(t.Context(), g.r, removal(g)); err != nil {
		t.Fatal(err)
	}
	if note() != "two" {
		t.Error("an uninstall removed the definition")
	}
}

// TestLookup is refused unless the operator allows it, and never finds nothing
// instead.
func TestLookup(t *testing.T) {
	g := newRig(t, map[string]string{
		"templates/a.yaml": `{{ $old := lookup "v1" "Secret" .Release.Namespace "made" }}
apiVersion: v1
kind: Secret
metadata: {name: made}
data: {password: {{ if $old }}{{ $old.data.password }}{{ else }}{{ randAlphaNum 9 | b64enc }}{{ end }}}
`})
	if _, err := g.tried(); err == nil || !strings.Contains(err.Error(), "connect.helm.lookup") {
		t.Fatalf("%v", err)
	}
	if err := g.deploy(); err == nil || g.history() != "" {
		t.Fatalf("%v", err)
	}
	g.lookup = true
	g.mustDeploy()
	password := func() string { return g.kubectl("get", "secret", "made", "-o", "jsonpath={.data.password}") }
	was := password()
	g.files["Chart.yaml"] = strings.Replace(chartYAML, "1.0.0", "1.1.0", 1)
	g.mustDeploy()
	if password() != was {
		t.Error("the password is a new one")
	}
}

// TestSecretsDoNotShow in errors and logs, whoever quotes them.
func TestSecretsDoNotShow(t *testing.T) {
	const secret = "canary-51c2-never-show"
	g := newRig(t, map[string]string{
		"templates/a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: {{ .Values.port }}, ports: [{port: 80}]}\n",
		"templates/b.yaml": "{{ if .Values.fail }}{{ fail .Values.port }}{{ end }}",
	})
	g.from, g.outputs = map[string]string{"port": "secret"}, map[string]plan.Output{"secret": {Value: []byte(`"` + secret + `"`), Sensitive: true}}
	w := g.resolve()
	if len(w.Objects) != 1 || strings.Join(w.Objects[0].Sensitive, " ") != "/spec/type" || strings.Join(w.Sensitive, " ") != "/port" {
		t.Errorf("%+v, %v", w.Objects, w.Sensitive)
	}
	var f *release.Failure
	if err := g.deploy(); !errors.As(err, &f) || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	g.values = map[string]any{"fail": true}
	if _, err := g.tried(); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "templates/b.yaml:1") {
		t.Errorf("%v", err)
	}
	if strings.Contains(g.logged(), secret) {
		t.Errorf("it is in the log:\n%s", g.logged())
	}
}

// TestBrokenRecords are never taken for none.
func TestBrokenRecords(t *testing.T) {
	g := newRig(t, map[string]string{"templates/a.yaml": configMap("a", "x")})
	g.mustDeploy()
	g.kubectl("patch", "secret", "sh.helm.release.v1.shop.v1", "--type=merge", "-p", `{"data":{"release":"bm90aGluZw=="}}`)
	if rec, err := g.client.Records(t.Context(), g.r); err == nil {
		t.Errorf("%+v", rec)
	}
}

// TestStuckUninstall keeps the record until all is gone.
func TestStuckUninstall(t *testing.T) {
	g := newRig(t, map[string]string{
		"templates/a.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, finalizers: [example.test/wait]}\n",
		"templates/keep.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep, annotations: {helm.sh/resource-policy: keep}}\n",
	})
	g.mustDeploy()
	g.r.Options.Timeout = 1e9
	err := g.client.Uninstall(t.Context(), g.r, removal(g))
	if err == nil || !strings.Contains(err.Error(), "ConfigMap/"+g.ns+"/a still exists") {
		t.Fatalf("%v", err)
	}
	if got := g.history(); got != "1 uninstalled" {
		t.Errorf("history: %q", got)
	}
	g.kubectl("patch", "cm", "a", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	if err := g.client.Uninstall(t.Context(), g.r, removal(g)); err != nil {
		t.Fatal(err)
	}
	if got := g.history(); got != "" {
		t.Errorf("history: %q", got)
	}
	if got := g.kubectl("get", "cm", "-o", "name", "--field-selector", "metadata.name!=kube-root-ca.crt"); got != "configmap/keep" {
		t.Errorf("left: %q", got)
	}
	if !strings.Contains(g.logged(), "[ConfigMap] keep") {
		t.Errorf("what is kept is not told:\n%s", g.logged())
	}
}
