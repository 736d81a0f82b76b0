package kubernetes_test

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

func (b *bed) scale(by string, to int64) {
	b.Edit(by, "apps/v1", "Deployment", "shop", "web", "", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, to, "spec", "replicas")
	})
}

func (b *bed) replicas() int64 {
	n, _, _ := unstructured.NestedInt64(b.Get("apps/v1", "Deployment", "shop", "web").Object, "spec", "replicas")
	return n
}

const webAddress = "Deployment.apps/shop/web"

// TestFieldsOfOthersAreHeld: an autoscaler has taken a field; the change is
// held, names it and its owner, and an approval takes it over.
func TestFieldsOfOthersAreHeld(t *testing.T) {
	b := newBed(t, nil)
	b.sync(web("2", "1"))
	b.scale("autoscaler", 5)
	p := b.plan(web("2", "1"))
	c := b.only(p, webAddress, plan.Update)
	contains(t, c.Conflict, ".spec.replicas", "autoscaler")
	if c.Reason != plan.ByDrift {
		t.Errorf("the reason is %s", c.Reason)
	}
	contains(t, string(c.Before), `"replicas":5`)
	contains(t, string(c.After), `"replicas":2`)
	if _, err := b.apply(p, web("2", "1")); err != nil || b.replicas() != 5 {
		t.Fatalf("a held change is applied: %v, %d", err, b.replicas())
	}
	b.mustApply(approved(p), web("2", "1"))
	if b.replicas() != 2 {
		t.Errorf("%d replicas", b.replicas())
	}
}

// TestFieldsOfOthersThatGitLeavesOut are nobody's business here.
func TestFieldsOfOthersThatGitLeavesOut(t *testing.T) {
	b := newBed(t, nil)
	b.sync(twoKeys)
	b.Edit("operator", "v1", "ConfigMap", "shop", "one", "", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, "theirs", "data", "extra")
		u.SetLabels(map[string]string{"team": "theirs"})
	})
	if p := b.plan(twoKeys); !p.Empty() {
		t.Errorf("fields of others make a difference:\n%s", written(p))
	}
	b.sync(configMap("one", "v2"))
	data, _, _ := unstructured.NestedStringMap(b.Get("v1", "ConfigMap", "shop", "one").Object, "data")
	if data["extra"] != "theirs" || data["value"] != "v2" {
		t.Errorf("%v", data)
	}
}

func TestForceTakesFieldsOver(t *testing.T) {
	b := newBed(t, func(c *kubernetes.Connect) { c.Conflicts = kubernetes.Force })
	b.sync(web("2", "1"))
	b.scale("autoscaler", 5)
	p := b.plan(web("2", "1"))
	c := b.only(p, webAddress, plan.Update)
	if c.Conflict != "" {
		t.Errorf("held: %s", c.Conflict)
	}
	contains(t, c.Note, ".spec.replicas", "autoscaler")
	b.mustApply(p, web("2", "1"))
}

// TestEditsByHandAreDrift, whatever the policy says about other managers.
func TestEditsByHandAreDrift(t *testing.T) {
	b := newBed(t, nil)
	b.sync(web("2", "1"))
	b.scale("kubectl-edit", 5)
	p := b.plan(web("2", "1"))
	c := b.only(p, webAddress, plan.Update)
	if c.Conflict != "" || c.Reason != plan.ByDrift {
		t.Errorf("%s, held by %q", c.Reason, c.Conflict)
	}
	contains(t, c.Note, "kubectl-edit")
	b.mustApply(p, web("2", "1"))
}

// TestManagersSayWhoseFieldsAreTaken: a list of the operator's own takes the
// place of the usual one.
func TestManagersSayWhoseFieldsAreTaken(t *testing.T) {
	b := newBed(t, func(c *kubernetes.Connect) { c.Managers = []string{"autosc*"} })
	b.sync(web("2", "1"))
	b.scale("autoscaler", 5)
	p := b.plan(web("2", "1"))
	if c := b.only(p, webAddress, plan.Update); c.Conflict != "" {
		t.Errorf("held: %s", c.Conflict)
	}
	b.mustApply(p, web("2", "1"))
	b.scale("kubectl-edit", 5)
	if c := b.only(b.plan(web("2", "1")), webAddress, plan.Update); c.Conflict == "" {
		t.Error("a manager that the list leaves out is no drift")
	}
}

// TestOnlyPlannedConflictsAreForced: what somebody takes after the plan was
// made makes the plan stale.
func TestOnlyPlannedConflictsAreForced(t *testing.T) {
	b := newBed(t, nil)
	b.sync(web("2", "1"))
	b.scale("autoscaler", 5)
	p := approved(b.plan(web("2", "1")))
	// The image is taken between Apply's own look and its write.
	done := false
	b.Deny(func(r kubefake.Request) error {
		if r.Verb == "apply" && !r.DryRun && !r.Force && !done {
			done = true
			return conflictWith(map[string]string{".spec.replicas": `conflict with "autoscaler" using apps/v1`, `.spec.template.spec.containers[name="c"].image`: `conflict with "deployer" using apps/v1`})
		}
		return nil
	})
	res, err := b.apply(p, web("2", "1"))
	if !errors.Is(err, driver.ErrStale) || len(res) != 1 || b.replicas() != 5 {
		t.Fatalf("%v, %+v, %d replicas", err, res, b.replicas())
	}
	contains(t, res[0].Error, "deployer", "image")
}

// TestForeignObjectIsHeldAndTakenOver: one that nobody owns and that differs.
func TestForeignObjectIsHeldAndTakenOver(t *testing.T) {
	b := newBed(t, nil)
	b.Set("operator", configMap("one", "theirs"))
	p := b.plan(configMap("one", "ours"))
	c := b.only(p, "ConfigMap/shop/one", plan.Update)
	contains(t, c.Conflict, "no target owns it", ".data.value", "operator")
	b.mustApply(approved(p), configMap("one", "ours"))
}

// TestWhatWasMadeMeanwhileIsNotTaken: an object that the plan found missing was
// made by somebody else before the apply, with other fields or with the same.
func TestWhatWasMadeMeanwhileIsNotTaken(t *testing.T) {
	for _, theirs := range []string{"value: theirs", "extra: theirs"} {
		b := newBed(t, nil)
		p := b.plan(twoKeys)
		b.Set("kubectl", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\ndata: {"+theirs+"}\n")
		results, err := b.apply(p, twoKeys)
		if !errors.Is(err, driver.ErrStale) {
			t.Errorf("%s: the error is %v", theirs, err)
		}
		for _, r := range results {
			if r.Outcome == plan.Applied {
				t.Errorf("%s: %s counts as applied", theirs, r.Key)
			}
		}
		u := b.Get("v1", "ConfigMap", "shop", "one")
		data := u.Object["data"].(map[string]any)
		if k, v, _ := strings.Cut(theirs, ": "); data[k] != v {
			t.Errorf("what they wrote is overwritten: %v", data)
		}
		if len(data) != 1 {
			t.Errorf("something was added to what is theirs: %v", data)
		}
		for _, m := range u.GetManagedFields() {
			if m.Manager == "trueup" {
				t.Errorf("trueup manages fields of what is theirs: %+v", m)
			}
		}
	}
}
