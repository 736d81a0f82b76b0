package kubernetes_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/plan"
)

const twoKeys = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\ndata: {value: v1, other: x}\n"

// TestAdoptedFieldsCanLeaveGit: kubectl applied an object, trueup adopts it,
// and a field that leaves Git then goes, while what Git never had stays.
func TestAdoptedFieldsCanLeaveGit(t *testing.T) {
	b := newBed(t, nil)
	b.Set("kubectl-client-side-apply", strings.Replace(twoKeys, "other: x", "other: x, extra: theirs", 1))
	before := b.Get("v1", "ConfigMap", "shop", "one")
	p := b.plan(twoKeys)
	b.only(p, "ConfigMap/shop/one", plan.Adopt)
	b.mustApply(p, twoKeys)
	after := b.Get("v1", "ConfigMap", "shop", "one")
	if after.GetUID() != before.GetUID() {
		t.Error("adopting made another object")
	}
	b.sync(configMap("one", "v1"))
	data, _, _ := unstructured.NestedStringMap(b.Get("v1", "ConfigMap", "shop", "one").Object, "data")
	if data["value"] != "v1" || data["extra"] != "theirs" || data["other"] != "" {
		t.Errorf("the data is %v: other left Git, extra never was in it", data)
	}
}

// TestOthersKeepWhatTheyShare: the fields of a manager that trueup does not
// take the place of stay its own.
func TestOthersKeepWhatTheyShare(t *testing.T) {
	b := newBed(t, nil)
	b.Set("operator", twoKeys)
	b.sync(twoKeys)
	b.sync(configMap("one", "v1"))
	data, _, _ := unstructured.NestedStringMap(b.Get("v1", "ConfigMap", "shop", "one").Object, "data")
	if data["other"] != "x" {
		t.Errorf("a field that the operator has as well is gone: %v", data)
	}
}

// TestSharedAgainIsClaimedAgain: somebody applies the same object with another
// tool; nothing differs, and yet a field that leaves Git would stay.
func TestSharedAgainIsClaimedAgain(t *testing.T) {
	b := newBed(t, nil)
	b.sync(twoKeys)
	b.disown("one")
	p := b.plan(twoKeys)
	if c := b.only(p, "ConfigMap/shop/one", plan.Adopt); c.Note == "" {
		t.Error("it does not say why")
	}
	b.mustApply(p, twoKeys)
	b.sync(configMap("one", "v1"))
	data, _, _ := unstructured.NestedStringMap(b.Get("v1", "ConfigMap", "shop", "one").Object, "data")
	if _, there := data["other"]; there {
		t.Errorf("a field that left Git is still there: %v", data)
	}
}

// TestClaimOutlivesAWriteInBetween: the object moves between the apply and the
// transfer of its fields.
func TestClaimOutlivesAWriteInBetween(t *testing.T) {
	b := newBed(t, nil)
	b.Set("kubectl-client-side-apply", twoKeys)
	p := b.plan(twoKeys)
	n := 0
	b.Deny(func(r kubefake.Request) error {
		if r.Verb == "patch" {
			if n++; n == 1 {
				return kubefake.Status(409, "Conflict", "the object has been modified")
			}
		}
		return nil
	})
	b.mustApply(p, twoKeys)
	if n != 2 {
		t.Errorf("%d patches", n)
	}
	b.sync(configMap("one", "v1"))
}

// disown takes all ownership of fields off a config map.
func (b *bed) disown(name string) {
	b.t.Helper()
	c, err := kube.New(b.Config())
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := c.Mapping(b.t.Context(), schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := c.Patch(b.t.Context(), m, "shop", name, types.MergePatchType, []byte(`{"metadata":{"managedFields":[{}]}}`), metav1.PatchOptions{}); err != nil {
		b.t.Fatal(err)
	}
}
