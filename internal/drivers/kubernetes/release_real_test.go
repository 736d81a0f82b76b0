//go:build real

package kubernetes_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// TestReleaseLife: install, upgrade, no change, prune, destroy, and what helm
// says of it.
func TestReleaseLife(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "{{ .Values.a }}"), "two": plainConfigMap("two", "x"),
		"hook": hookJob("migrate", "pre-install,pre-upgrade", `kubetest/exit: "0"`)})
	s.helmSpec(func(h *render.HelmSpec) { h.Values = map[string]any{"a": "v1"} })
	p := s.plan()
	s.is(p, "create ConfigMap/one, create ConfigMap/two, none Job.batch/migrate, create Release.helm.sh/app")
	rel := s.change(p, theRelease)
	if rel.Source.File != "app/Chart.yaml" || s.change(p, "ConfigMap/one").Source.File != "app/templates/one.yaml" {
		t.Errorf("sources: %s, %s", rel.Source, s.change(p, "ConfigMap/one").Source)
	}
	s.has(string(rel.After), `"chart":"app"`, `"revision":1`, `"values":{"a":"v1"}`, `"Job/migrate: pre-install, pre-upgrade"`)
	s.has(s.change(p, "Job.batch/migrate").Note, "runs as a hook: pre-install, pre-upgrade")
	s.sync()
	if s.history() != "1 deployed" || s.get("job/migrate", ".status.succeeded") != "1" || s.owned() != "ConfigMap/one ConfigMap/two Release.helm.sh/app" {
		t.Errorf("history %s, owned %s", s.history(), s.owned())
	}

	s.helmSpec(func(h *render.HelmSpec) { h.Values = map[string]any{"a": "v2"} })
	delete(s.files, "templates/two.yaml")
	p = s.plan()
	s.is(p, "update ConfigMap/one, delete ConfigMap/two, none Job.batch/migrate, update Release.helm.sh/app")
	if c := s.change(p, "ConfigMap/one"); c.Reason != plan.BySpec || !strings.Contains(string(c.Before), `"value":"v1"`) || !strings.Contains(string(c.After), `"value":"v2"`) {
		t.Errorf("%s", shown(p))
	}
	s.has(s.change(p, theRelease).Note, "it becomes revision 2: values, manifest")
	if im := p.Impact(); im["object"] != (plan.Impact{Class: "object", Update: 1, Delete: 1}) || im["release"] != (plan.Impact{Class: "release"}) {
		t.Errorf("%+v", im)
	}
	s.sync()
	if s.history() != "1 superseded, 2 deployed" || s.get("cm/two", ".metadata.name") != "" {
		t.Errorf("history %s", s.history())
	}
	s.has(s.helm.Run(t, "-n", s.namespace, "get", "manifest", "app"), "value: v2", "# Source: app/templates/one.yaml")

	s.mode = plan.Destroy
	p = s.plan()
	s.is(p, "delete ConfigMap/one, delete Release.helm.sh/app")
	s.fatal(s.apply(t.Context(), p))
	if s.owned() != "" || s.history() != "" || s.get("cm/one", ".metadata.name") != "" {
		t.Errorf("left: owned %q, history %q", s.owned(), s.history())
	}
}

// TestReleaseDrift is shown field by field and corrected in place: no new
// revision, no hook.
func TestReleaseDrift(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"), "two": plainConfigMap("two", "x"),
		"secret": "apiVersion: v1\nkind: Secret\nmetadata: {name: made}\nstringData: {password: {{ randAlphaNum 12 }}}\n",
		"hook":   hookJob("migrate", "pre-install,pre-upgrade", `kubetest/exit: "0"`)})
	s.sync()
	ran := s.get("job/migrate", ".metadata.uid")
	was := s.get("secret/made", ".data.password")
	s.Set(t, "one", "broken")
	s.Unset(t, "two")
	s.kubectl(t, "", "patch", "secret", "made", "--field-manager=kubectl-edit", "--type=merge", "-p", `{"stringData":{"password":"other"}}`)
	p := s.plan()
	s.is(p, "update ConfigMap/one, create ConfigMap/two, update Secret/made")
	for _, name := range []string{"ConfigMap/one", "ConfigMap/two", "Secret/made"} {
		if c := s.change(p, name); c.Reason != plan.ByDrift || c.Conflict != "" {
			t.Errorf("%s: %s, %s", name, c.Reason, c.Conflict)
		}
	}
	s.sync()
	if s.history() != "1 deployed" || s.get("job/migrate", ".metadata.uid") != ran || s.get("cm/one", ".data.value") != "v1" || s.get("secret/made", ".data.password") != was {
		t.Errorf("history %s, value %s", s.history(), s.get("cm/one", ".data.value"))
	}
	// Helm goes on with what trueup put right.
	s.helm.Run(t, "-n", s.namespace, "upgrade", "app", s.dir())
}

// TestReleaseOfTheHelmProgram is adopted as it is, held where it differs, and
// taken over with an approval.
func TestReleaseOfTheHelmProgram(t *testing.T) {
	for _, apply := range []string{"true", "false"} { // server-side, and as Helm 3 did it
		s := newShip(t, map[string]string{"one": plainConfigMap("one", "{{ .Values.a }}"), "two": "{{ if .Values.two }}" + plainConfigMap("two", "x") + "{{ end }}"})
		s.helm.Run(t, "-n", s.namespace, "install", "app", s.dir(), "--server-side="+apply, "--set", "a=v1,two=true")
		s.helmSpec(func(h *render.HelmSpec) { h.Values = map[string]any{"a": "v1", "two": true} })
		p := s.plan()
		s.is(p, "adopt ConfigMap/one, adopt ConfigMap/two, adopt Release.helm.sh/app")
		s.sync()
		if s.history() != "1 deployed" {
			t.Errorf("history %s", s.history())
		}

		s.helm.Run(t, "-n", s.namespace, "upgrade", "app", s.dir(), "--set", "a=cli,two=true")
		p = s.plan()
		s.is(p, "update ConfigMap/one, update Release.helm.sh/app")
		if c := s.change(p, theRelease); c.Reason != plan.ByDrift || !strings.Contains(c.Note, "revision 2 was made by another client of Helm") {
			t.Errorf("%s", shown(p))
		}
		s.sync()
		if s.history() != "1 superseded, 2 superseded, 3 deployed" || s.get("cm/one", ".data.value") != "v1" {
			t.Errorf("history %s", s.history())
		}
		s.helm.Run(t, "-n", s.namespace, "upgrade", "app", s.dir(), "--set", "a=again,two=false")

		// Another target's first look at a release that differs.
		s.inventory = nil
		p = s.plan()
		s.is(p, "update ConfigMap/one, create ConfigMap/two, update Release.helm.sh/app")
		for _, c := range p.Changes {
			if c.Conflict == "" {
				t.Errorf("%s is not held:\n%s", c.Address, shown(p))
			}
		}
		s.fatal(s.apply(t.Context(), p))
		if got := s.get("cm/one", ".data.value"); got != "again" || s.owned() != "" {
			t.Errorf("held, and yet the value is %q and owned %q", got, s.owned())
		}
		s.fatal(s.apply(t.Context(), approved(p)))
		s.settled()
		if s.get("cm/one", ".data.value") != "v1" || s.owned() != "ConfigMap/one ConfigMap/two Release.helm.sh/app" {
			t.Errorf("owned %q", s.owned())
		}
	}
}

// TestWhatAnotherReleaseOwns is never taken without an approval, and not
// removed by ours.
func TestWhatAnotherReleaseOwns(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "theirs")})
	s.helm.Run(t, "-n", s.namespace, "install", "other", s.dir())
	s.files["templates/one.yaml"] = plainConfigMap("one", "ours")
	s.files["templates/two.yaml"] = plainConfigMap("two", "ours")
	p := s.plan()
	s.has(s.change(p, "ConfigMap/one").Conflict, "it belongs to release "+s.namespace+"/other")
	s.has(s.change(p, "ConfigMap/two").Conflict, "a release is applied as a whole")
	s.fatal(s.apply(t.Context(), p))
	if s.get("cm/two", ".metadata.name") != "" || s.history() != "" {
		t.Error("a held release was installed")
	}
	delete(s.files, "templates/one.yaml")
	s.sync()
	// It becomes the other's: ours gives it up.
	s.kubectl(t, "", "annotate", "cm", "two", "--overwrite", "meta.helm.sh/release-name=other")
	s.files["templates/three.yaml"] = plainConfigMap("three", "ours")
	delete(s.files, "templates/two.yaml")
	p = s.plan()
	s.is(p, "create ConfigMap/three, forget ConfigMap/two, update Release.helm.sh/app")
	s.sync()
	if s.get("cm/two", ".metadata.name") != "two" {
		t.Error("the other release's object was removed")
	}
}

// TestModesAreChanged without deleting or making anything anew.
func TestModesAreChanged(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"), "two": plainConfigMap("two", "v1")})
	s.spec.Helm.Mode, s.spec.Helm.Release = render.Manifests, nil
	s.sync()
	uids := func() string { return s.get("cm/one", ".metadata.uid") + " " + s.get("cm/two", ".metadata.uid") }
	was := uids()

	s.spec = releaseSpec(s.namespace, nil)
	p := s.plan()
	s.is(p, "update ConfigMap/one, update ConfigMap/two, create Release.helm.sh/app")
	s.sync()
	if uids() != was || s.history() != "1 deployed" || s.owned() != "ConfigMap/one ConfigMap/two Release.helm.sh/app" {
		t.Errorf("to a release: history %s, owned %s", s.history(), s.owned())
	}
	s.files["templates/one.yaml"] = strings.Replace(plainConfigMap("one", "v1"), "  value:", "  other:", 1)
	s.sync()
	if got := s.get("cm/one", ".data"); got != `{"other":"v1"}` {
		t.Errorf("a field that trueup owned before stays: %s", got)
	}

	manifests := &kubernetes.Spec{Spec: render.Spec{Namespace: s.namespace, Helm: &render.HelmSpec{ReleaseName: "app"}}}
	s.spec = manifests
	s.files["templates/one.yaml"] = plainConfigMap("one", "v3")
	p = s.plan()
	s.has(s.change(p, "ConfigMap/one").Note, "fields that only Helm wrote stay: .data.other")
	if c := s.change(p, theRelease); c.Action != plan.Delete || !strings.Contains(c.Note, "its objects stay") {
		t.Errorf("%s", shown(p))
	}
	if n := p.Impact()["object"].Delete; n != 0 {
		t.Errorf("%d objects would be deleted:\n%s", n, shown(p))
	}
	s.sync()
	if uids() != was || s.history() != "" || s.owned() != "ConfigMap/one ConfigMap/two" || s.get("cm/one", ".data") != `{"other":"v1","value":"v3"}` {
		t.Errorf("to manifests: history %q, owned %s, %s", s.history(), s.owned(), s.get("cm/one", ".data"))
	}
	if marks := s.get("cm/two", ".metadata.annotations") + s.get("cm/two", ".metadata.labels"); marks != "" {
		t.Errorf("Helm's marks are left: %s", marks)
	}
}
