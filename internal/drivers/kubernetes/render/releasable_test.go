package render_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// TestReleaseRendersForEachMoment, and twice, so that what goes by chance is
// told from the rest.
func TestReleaseRendersForEachMoment(t *testing.T) {
	files := map[string]string{
		"shop/Chart.yaml":          "apiVersion: v2\nname: shop\nversion: 1.2.3\n",
		"shop/templates/a.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {r: \"{{ .Release.Revision }} {{ .Release.IsUpgrade }} {{ now | date \"2006-01-02\" }}\", p: {{ .Values.password }}, c: {{ randAlpha 9 }}}\n",
		"shop/templates/NOTES.txt": "hello {{ .Release.Name }}",
		"shop/crds/x.yaml":         "kind: CustomResourceDefinition",
	}
	in := render.Input{Path: "shop", Tree: tree(files), Values: map[string]plan.Output{"pw": output("canary-4711", true)},
		Spec:    render.Spec{Namespace: "prod", Helm: &render.HelmSpec{Mode: render.Release, ReleaseName: "eu", ValuesFrom: map[string]string{"password": "pw"}}},
		Release: &render.Seen{Moments: []render.Moment{{Revision: 1}, {Revision: 7, Upgrade: true}}, Now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}}
	res, _ := rendered(t, in)
	clean(t, res)
	r := res.Release
	if r == nil || r.Name != "eu" || r.Namespace != "prod" || len(r.Renderings) != 2 || len(r.CRDs) != 1 || strings.Join(r.Sensitive, " ") != "/password" {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{"1 false 2030-01-02", "7 true 2030-01-02"} {
		x := r.Renderings[i]
		if text := x.Files["shop/templates/a.yaml"]; !strings.Contains(text, want) || text == x.Again["shop/templates/a.yaml"] || x.Notes["shop/templates/NOTES.txt"] != "hello eu" {
			t.Errorf("%+v", x)
		}
	}
	if !strings.Contains(string(r.Chart), `"name":"shop"`) {
		t.Errorf("%s", r.Chart)
	}
	if got := r.Hidden.Scrub("it is canary-4711"); got != "it is ***" {
		t.Error(got)
	}
	o := res.Objects[0]
	o.Sensitive = nil
	if r.Hidden.Mark(&o); fmt.Sprint(o.Sensitive) != "[/data/p]" || o.Source.File != "shop/templates/a.yaml" {
		t.Errorf("%v at %s", o.Sensitive, o.Source)
	}
}

// TestReleaseLookups are answered by the cluster, refused where the operator
// does not allow them, and are a reason for another look where there is none.
func TestReleaseLookups(t *testing.T) {
	files := map[string]string{
		"shop/Chart.yaml":       "apiVersion: v2\nname: shop\nversion: 1.2.3\n",
		"shop/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {p: {{ dig \"data\" \"p\" \"none\" (lookup \"v1\" \"Secret\" \"prod\" \"made\") | quote }}}\n",
	}
	in := render.Input{Path: "shop", Tree: tree(files), Spec: render.Spec{Namespace: "prod", Helm: &render.HelmSpec{Mode: render.Release}}}
	res, _ := rendered(t, in)
	if len(res.Diagnostics) > 0 || len(res.Incomplete) != 1 || !strings.Contains(res.Incomplete[0], "Secret prod/made") {
		t.Errorf("%v", res.Incomplete)
	}
	in.Release = &render.Seen{Now: time.Now()}
	res, _ = rendered(t, in)
	if err := res.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "shop/templates/a.yaml:4: ") || !strings.Contains(err.Error(), "connect.helm.lookup") {
		t.Errorf("%v", err)
	}
	asked := ""
	in.Release.Lookup = func(_ context.Context, what, kind, namespace, name string) (map[string]any, error) {
		asked = strings.Join([]string{what, kind, namespace, name}, " ")
		var out map[string]any
		return out, json.Unmarshal([]byte(`{"data":{"p":"Y2FuYXJ5LTQ3MTE="}}`), &out)
	}
	res, _ = rendered(t, in)
	clean(t, res)
	if asked != "v1 Secret prod made" || len(res.Objects) != 1 || asJSON(t, res.Objects[0].Object["data"]) != `{"p":"Y2FuYXJ5LTQ3MTE="}` {
		t.Errorf("asked %q, %+v", asked, res.Objects)
	}
	if got := fmt.Sprint(res.Objects[0].Sensitive) + res.Release.Hidden.Scrub("canary-4711"); got != "[/data/p]***" {
		t.Errorf("what was looked up shows: %s", got)
	}
	in.Release.Lookup = func(context.Context, string, string, string, string) (map[string]any, error) {
		return nil, fmt.Errorf("no connection")
	}
	if _, err := render.Render(t.Context(), in); err == nil || !strings.Contains(err.Error(), "no connection") {
		t.Errorf("%v", err)
	}
}

func TestReleaseOptions(t *testing.T) {
	for field, o := range map[string]render.ReleaseSpec{
		"wait": {Wait: "x"}, "crds": {CRDs: "x"}, "timeout": {Timeout: -1}, "maxHistory": {MaxHistory: 1},
		"waitForJobs": {WaitForJobs: true, Wait: render.WaitNone}, "rollbackOnFailure": {RollbackOnFailure: true, Wait: render.WaitNone},
		"storageNamespace": {StorageNamespace: "X"}, "test": {Test: true, DisableHooks: true},
	} {
		s := render.Spec{Helm: &render.HelmSpec{Mode: render.Release, Release: &o}}
		if d := s.Validate(); len(d) != 1 || d[0].Field != "helm.release."+field || d[0].Mend == "" {
			t.Errorf("%s: %v", field, d)
		}
	}
	s := render.Spec{Helm: &render.HelmSpec{Mode: render.Release, Release: &render.ReleaseSpec{Wait: render.WaitLegacy, CRDs: render.CRDsSkip, Timeout: time.Minute, MaxHistory: 2}}}
	if d := s.Validate(); len(d) != 0 {
		t.Error(d)
	}
	s.Helm.Mode = render.Manifests
	if d := s.Validate(); len(d) != 1 {
		t.Error(d)
	}
}
