//go:build real

package release_test

import (
	"strings"
	"testing"
)

// TestHelmAgrees: what trueup installs, upgrades and uninstalls is to the helm
// program a release like any other, and the other way round.
func TestHelmAgrees(t *testing.T) {
	g := newRig(t, map[string]string{
		"templates/one.yaml":  configMap("one", "{{ .Values.one }}"),
		"templates/two.yaml":  "{{ if .Values.two }}" + configMap("two", "r{{ .Release.Revision }}") + "{{ end }}",
		"templates/NOTES.txt": "notes of {{ .Release.Name }}",
		"values.yaml":         "one: default\n",
	})
	g.values = map[string]any{"one": "a", "two": true}
	if w := g.resolve(); w.Current || w.Revision != 1 || len(w.Objects) != 2 {
		t.Fatalf("%+v", w)
	}
	g.mustDeploy()
	if got := g.kubectl("get", "cm", "one", "-o", "jsonpath={.data.value} {.metadata.managedFields[*].manager}"); got != "a helm" {
		t.Errorf("ConfigMap one: %q", got)
	}
	if got := g.history(); got != "1 deployed" {
		t.Errorf("history: %s", got)
	}
	if out := g.helm.Run(t, "-n", g.ns, "status", "shop"); !strings.Contains(out, "STATUS: deployed") || !strings.Contains(out, "notes of shop") || !strings.Contains(out, "by trueup") {
		t.Errorf("status:\n%s", out)
	}
	if out := g.helm.Run(t, "-n", g.ns, "get", "values", "shop"); !strings.Contains(out, "one: a\ntwo: true") {
		t.Errorf("values:\n%s", out)
	}
	if w := g.resolve(); !w.Current || w.Revision != 1 {
		t.Errorf("after the install: %v", w.Differs)
	}

	g.values["one"] = "b"
	if w := g.resolve(); w.Current || strings.Join(w.Differs, " ") != "values manifest" {
		t.Errorf("other values: %v", w.Differs)
	}
	g.mustDeploy()
	if got := g.kubectl("get", "cm", "two", "-o", "jsonpath={.data.value}"); got != "r2" {
		t.Errorf("ConfigMap two: %q", got)
	}
	if w := g.resolve(); !w.Current || w.Revision != 2 {
		t.Errorf("after the upgrade: %v", w.Differs)
	}

	// The helm program goes on.
	g.helm.Run(t, "-n", g.ns, "upgrade", "shop", g.dir(), "--set", "one=cli,two=false")
	if w := g.resolve(); w.Current || strings.Join(w.Differs, " ") != "values manifest" || g.records().Ours {
		t.Errorf("after helm upgrade: %+v, ours: %v", w.Differs, g.records().Ours)
	}
	g.mustDeploy()
	if got := g.history(); got != "1 superseded, 2 superseded, 3 superseded, 4 deployed" {
		t.Errorf("history: %s", got)
	}
	if !g.records().Ours {
		t.Error("the newest revision is ours")
	}
	g.helm.Run(t, "-n", g.ns, "rollback", "shop", "2")
	if w := g.resolve(); !w.Current || w.Revision != 5 {
		t.Errorf("after helm rollback to what is wanted: %v", w.Differs)
	}

	if err := g.client.Uninstall(t.Context(), g.r, removal(g)); err != nil {
		t.Fatal(err)
	}
	if got := g.kubectl("get", "cm,secret", "-o", "name", "--field-selector", "metadata.name!=kube-root-ca.crt"); got != "" {
		t.Errorf("left after the uninstall: %s", got)
	}
	if got := g.history(); got != "" {
		t.Errorf("history: %s", got)
	}
	if err := g.client.Uninstall(t.Context(), g.r, removal(g)); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestAdoptionOfHelms: a release that the helm program installed is current if
// chart and values are the same.
func TestAdoptionOfHelms(t *testing.T) {
	g := newRig(t, map[string]string{
		"templates/one.yaml":    configMap("one", "{{ .Values.one }} {{ .Release.IsInstall }} {{ .Capabilities.KubeVersion.Minor }}"),
		"templates/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: made}\nstringData: {password: {{ randAlphaNum 12 }}}\n",
		"templates/hook.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"hook-{{ randAlphaNum 5 | lower }}\", annotations: {helm.sh/hook: post-delete}}\n",
	})
	g.values = map[string]any{"one": int64(1)}
	g.helm.Run(t, "-n", g.ns, "install", "shop", g.dir(), "--set", "one=1")
	if w := g.resolve(); !w.Current || w.Revision != 1 {
		t.Fatalf("%v", w.Differs)
	}
	if g.records().Ours {
		t.Error("it is not ours")
	}
	g.values = map[string]any{"one": "2"}
	w := g.resolve()
	if w.Current {
		t.Fatal("other values are the same")
	}
	for _, o := range w.Objects {
		want := ""
		if o.GetKind() == "Secret" {
			want = "/stringData/password"
		}
		if got := strings.Join(w.Unsteady[o.Ref()], " "); got != want {
			t.Errorf("%s: made up anew: %q", o.Ref(), got)
		}
	}
	g.mustDeploy()
	if w := g.resolve(); !w.Current {
		t.Errorf("%v", w.Differs)
	}
}
