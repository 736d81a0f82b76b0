package stage_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

func object(kind, name string, annotations map[string]string) *manifest.Object {
	group, version := "", "v1"
	if k, g, ok := strings.Cut(kind, "."); ok {
		kind, group = k, g+"/"
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + version, "kind": kind}}
	u.SetName(name)
	u.SetNamespace("web")
	u.SetAnnotations(annotations)
	return &manifest.Object{Unstructured: u, Source: plan.Source{File: "web.yaml", Line: 3}}
}

func marks(t *testing.T, annotations ...string) stage.Marks {
	t.Helper()
	m, found := stage.Read(object("Job.batch", "x", pairs(annotations)))
	if len(found) > 0 {
		t.Fatalf("%v: %v", annotations, found)
	}
	return m
}

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		k, v, _ := strings.Cut(a, ": ")
		m[k] = v
	}
	return m
}

func TestWaves(t *testing.T) {
	if m := marks(t); m.Placed || m.Wave != 0 {
		t.Errorf("an object without an annotation is placed in wave %d", m.Wave)
	}
	if m := marks(t, "argocd.argoproj.io/sync-wave: -5"); !m.Placed || m.Wave != -5 {
		t.Errorf("%+v", m)
	}
	if m := marks(t, "argocd.argoproj.io/sync-wave: 1", "trueup.dev/wave: 2"); m.Wave != 2 {
		t.Errorf("trueup's own wave does not come first: %+v", m)
	}
}

func TestWhatIsNeverDeleted(t *testing.T) {
	for _, a := range []string{"trueup.dev/prune: disabled", "kustomize.toolkit.fluxcd.io/prune: disabled", "helm.sh/resource-policy: keep",
		"argocd.argoproj.io/sync-options: Prune=false", "argocd.argoproj.io/sync-options: PruneLast=true, Delete=false"} {
		m := marks(t, a)
		name, _, _ := strings.Cut(a, ": ")
		if !strings.HasPrefix(m.Keep, name) || m.Confirm != "" {
			t.Errorf("%s: %+v", a, m)
		}
	}
	for _, a := range []string{"trueup.dev/prune: confirm", "argocd.argoproj.io/sync-options: Prune=confirm", "argocd.argoproj.io/sync-options: Delete = confirm"} {
		if m := marks(t, a); m.Confirm == "" || m.Keep != "" {
			t.Errorf("%s: %+v", a, m)
		}
	}
	labelled := object("ConfigMap", "x", nil)
	labelled.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/prune": "disabled"})
	if m := stage.Of(labelled.Unstructured); m.Keep == "" {
		t.Error("Flux' label does not count")
	}
	for _, a := range []string{"trueup.dev/prune: enabled", "argocd.argoproj.io/sync-options: Prune=true", "helm.sh/resource-policy: "} {
		if m := marks(t, a); m.Confirm != "" || m.Keep != "" {
			t.Errorf("%s: %+v", a, m)
		}
	}
}

func TestRecreateAndPropagation(t *testing.T) {
	for _, a := range []string{"trueup.dev/recreate: allowed", "kustomize.toolkit.fluxcd.io/force: Enabled", "argocd.argoproj.io/sync-options: Force=true"} {
		if m := marks(t, a); m.Recreate == "" {
			t.Errorf("%s: %+v", a, m)
		}
	}
	if m := marks(t, "trueup.dev/delete-propagation: orphan"); m.Propagation != "Orphan" {
		t.Errorf("%+v", m)
	}
	if m := marks(t, "argocd.argoproj.io/sync-options: PrunePropagationPolicy=background"); m.Propagation != "Background" {
		t.Errorf("%+v", m)
	}
}

// TestMistakes are told with file, line and field, and never lead to less care.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		annotation, says string
		severity         plan.Severity
	}{
		{"trueup.dev/wave: first", "a wave is an integer", plan.Error},
		{"argocd.argoproj.io/sync-wave: 99999999999", "a wave is an integer", plan.Error},
		{"trueup.dev/prune: no", "is not known", plan.Error},
		{"trueup.dev/recreate: yes", "is not known", plan.Error},
		{"trueup.dev/delete-propagation: Foreground", "is not known", plan.Error},
		{"argocd.argoproj.io/sync-options: Prune=fales", "is not known", plan.Error},
		{"argocd.argoproj.io/sync-options: Replace=true", "has no effect", plan.Warning},
		{"argocd.argoproj.io/sync-options: Validate=false", "has no effect", plan.Warning},
		{"argocd.argoproj.io/sync-options: Whatever=1", "is not known", plan.Warning},
		{"argocd.argoproj.io/hook: PreSnyc", "there is no hook", plan.Error},
		{"argocd.argoproj.io/hook: PreSync,PostSync", "several phases", plan.Error},
		{"argocd.argoproj.io/hook: PreSync,SyncFail", "PreSync and of SyncFail", plan.Error},
		{"argocd.argoproj.io/hook: PreDelete", "never run", plan.Warning},
		{"helm.sh/hook: pre-instal", "Helm has no hook", plan.Error},
		{"helm.sh/hook: pre-install,post-install", "several phases", plan.Error},
		{"helm.sh/hook: post-delete", "never run", plan.Warning},
		{"helm.sh/hook: crd-install", "left out", plan.Warning},
	} {
		_, found := stage.Read(object("Job.batch", "x", pairs([]string{c.annotation})))
		if len(found) != 1 || found[0].Severity != c.severity || found[0].Line != 3 || !strings.Contains(found[0].Message, c.says) ||
			!strings.Contains(c.annotation, strings.TrimPrefix(found[0].Field, "metadata.annotations.")) {
			t.Errorf("%s: %+v", c.annotation, found)
		}
	}
	m, _ := stage.Read(object("PersistentVolumeClaim", "x", pairs([]string{"trueup.dev/prune: fasle"})))
	if m.Confirm == "" {
		t.Error("a misspelt word lets the object be deleted")
	}
	for annotation, says := range map[string]string{"helm.sh/hook-weight: heavy": "a weight is an integer", "helm.sh/hook-delete-policy: always": "there is no policy"} {
		_, found := stage.Read(object("Job.batch", "x", pairs([]string{"helm.sh/hook: pre-install", annotation})))
		if len(found) != 1 || !strings.Contains(found[0].Message, says) {
			t.Errorf("%s: %v", annotation, found)
		}
	}
}

func TestArgoHooks(t *testing.T) {
	h := marks(t, "argocd.argoproj.io/hook: PreSync", "argocd.argoproj.io/sync-wave: 3").Hook
	if h == nil || h.At(false) != stage.PreSync || h.At(true) != stage.PreSync || h.Order != 3 || !h.Before || h.Succeeded || h.Failed {
		t.Errorf("%+v", h)
	}
	h = marks(t, "argocd.argoproj.io/hook: PostSync, SyncFail", "argocd.argoproj.io/hook-delete-policy: HookSucceeded,HookFailed").Hook
	if h == nil || h.At(true) != stage.PostSync || !h.OnFailure || h.Before || !h.Succeeded || !h.Failed {
		t.Errorf("%+v", h)
	}
	if m := marks(t, "argocd.argoproj.io/hook: Skip"); m.Hook != nil || m.LeftOut == "" {
		t.Errorf("%+v", m)
	}
	// Where there are Argo CD's, Helm's don't count.
	if h := marks(t, "argocd.argoproj.io/hook: PostSync", "helm.sh/hook: pre-install").Hook; h.At(false) != stage.PostSync {
		t.Errorf("%+v", h)
	}
	m, _ := stage.Read(object("Job.batch", "x", pairs([]string{"argocd.argoproj.io/hook: PreSnyc"})))
	if m.LeftOut == "" {
		t.Error("a hook with a mistake would be applied as an ordinary object")
	}
}

func TestHelmHooks(t *testing.T) {
	for text, want := range map[string][2]stage.Phase{
		"pre-install":              {stage.PreSync, ""},
		"post-install":             {stage.PostSync, ""},
		"pre-install,pre-upgrade":  {stage.PreSync, stage.PreSync},
		"pre-upgrade,pre-rollback": {"", stage.PreSync},
		"post-upgrade, test":       {"", stage.PostSync},
		"pre-install,post-upgrade": {stage.PreSync, stage.PostSync},
	} {
		h := marks(t, "helm.sh/hook: "+text, "helm.sh/hook-weight: -5").Hook
		if h == nil || h.At(false) != want[0] || h.At(true) != want[1] || h.Order != -5 || !h.Before {
			t.Errorf("%s: %+v", text, h)
		}
	}
	for _, text := range []string{"test", "test-success", "pre-rollback,post-rollback"} {
		if m := marks(t, "helm.sh/hook: "+text); m.Hook != nil || m.LeftOut == "" {
			t.Errorf("%s: %+v", text, m)
		}
	}
}
