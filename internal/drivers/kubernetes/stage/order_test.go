package stage_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

const definitions = "apiextensions.k8s.io"

var someKinds = []manifest.Ref{
	{Kind: "Namespace"}, {Group: definitions, Kind: "CustomResourceDefinition"}, {Kind: "ConfigMap"}, {Kind: "ServiceAccount"},
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}, {Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"},
	{Kind: "PersistentVolumeClaim"}, {Kind: "Service"}, {Group: "apps", Kind: "Deployment"}, {Group: "batch", Kind: "Job"},
	{Group: "networking.k8s.io", Kind: "Ingress"}, {Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"},
	{Group: "acme.example.com", Kind: "Widget"},
}

func drawStep(t *rapid.T) stage.Step {
	s := stage.Step{Ref: rapid.SampledFrom(someKinds).Draw(t, "kind")}
	s.Ref.Name = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	s.Action = rapid.SampledFrom([]plan.Action{plan.Create, plan.Update, plan.Replace, plan.Delete, plan.Adopt}).Draw(t, "action")
	if rapid.Bool().Draw(t, "placed") {
		s.Marks.Placed, s.Marks.Wave = true, rapid.IntRange(-2, 2).Draw(t, "wave")
	}
	if s.Action != plan.Delete && rapid.IntRange(0, 3).Draw(t, "hook") == 0 {
		s.Action = plan.Create
		s.Phase = rapid.SampledFrom([]stage.Phase{stage.PreSync, stage.Sync, stage.PostSync, stage.SyncFail}).Draw(t, "phase")
		s.Marks.Hook = &stage.Hook{Install: s.Phase, Upgrade: s.Phase, Order: rapid.IntRange(-2, 2).Draw(t, "order")}
	}
	return s
}

// flat gives the steps in the order of the batches, with the number of the
// batch and the group that each lies in.
type placed struct {
	stage.Step
	index, batch, group int
}

func flat(steps []stage.Step, batches []stage.Batch) []placed {
	var out []placed
	for b := range batches {
		for g, group := range batches[b].Groups {
			for _, i := range group {
				out = append(out, placed{steps[i], i, b, g})
			}
		}
	}
	return out
}

func TestEveryStepOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 0, 20).Draw(t, "steps")
		all := flat(steps, stage.Batches(steps))
		seen := map[int]bool{}
		for _, p := range all {
			seen[p.index] = true
		}
		if len(all) != len(steps) || len(seen) != len(steps) {
			t.Fatalf("%d steps, %d of them different, for %d", len(all), len(seen), len(steps))
		}
	})
}

// TestOrder checks what must hold of any two steps.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 0, 20).Draw(t, "steps")
		all := flat(steps, stage.Batches(steps))
		for i, a := range all {
			for _, b := range all[i+1:] {
				inOrder(t, a, b)
			}
		}
	})
}

// ground tells what is made before all else.
func ground(p placed) bool {
	k := p.Ref.GroupKind()
	return p.Phase == "" && p.Action == plan.Create && !p.Marks.Placed && (stage.IsNamespace(k) || stage.IsDefinition(k))
}

func inOrder(t *rapid.T, a, b placed) {
	deleteA, deleteB := a.Action == plan.Delete, b.Action == plan.Delete
	ordinary := a.Phase == "" && b.Phase == "" && a.Action != plan.Adopt && b.Action != plan.Adopt
	fatal := func(why string) { t.Fatalf("%s:\n%+v\n%+v", why, a, b) }
	switch {
	case deleteA && !deleteB && b.Phase != stage.PostSync && b.Phase != stage.SyncFail:
		fatal("something is deleted before all is written")
	case deleteA && deleteB && a.Marks.Wave < b.Marks.Wave:
		fatal("an earlier wave is deleted before a later one")
	case deleteA && deleteB && a.Marks.Wave == b.Marks.Wave && stage.IsNamespace(a.Ref.GroupKind()) && !stage.IsNamespace(b.Ref.GroupKind()):
		fatal("a namespace is not deleted last")
	case deleteA && deleteB && a.Marks.Wave == b.Marks.Wave && stage.IsDefinition(a.Ref.GroupKind()) && stage.IsCustom(b.Ref.GroupKind()):
		fatal("a definition is deleted before its objects")
	case ordinary && !deleteA && !deleteB && a.Marks.Placed && b.Marks.Placed && a.Marks.Wave > b.Marks.Wave:
		fatal("a later wave comes first")
	case ground(b) && !ground(a):
		fatal("something is written before a namespace or definition that is not there")
	case ordinary && !deleteA && !deleteB && a.Marks.Wave == b.Marks.Wave && stage.IsCustom(a.Ref.GroupKind()) && !stage.IsCustom(b.Ref.GroupKind()):
		fatal("a custom resource comes before ordinary kinds of its wave")
	case a.Phase != "" && b.Phase != "" && a.batch == b.batch && a.group == b.group:
		fatal("two hooks run at once")
	case a.Phase != "" && a.Phase == b.Phase && a.Marks.Hook.Order > b.Marks.Hook.Order:
		fatal("hooks are out of order")
	case b.Phase == stage.PreSync && a.Phase != stage.PreSync && a.Action != plan.Adopt && (a.Action != plan.Create || a.Marks.Placed):
		fatal("a PreSync hook runs after an ordinary write")
	case a.Phase == stage.PostSync && b.Phase != stage.PostSync && b.Phase != stage.SyncFail:
		fatal("a PostSync hook runs before something else")
	case a.Phase == stage.SyncFail && b.Phase != stage.SyncFail:
		fatal("a SyncFail hook is not last")
	}
}

func TestOrderOfStepsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfNDistinct(rapid.Custom(drawStep), 0, 12, func(s stage.Step) manifest.Ref { return s.Ref }).Draw(t, "steps")
		other := slices.Clone(steps)
		slices.Reverse(other)
		one, two := flat(steps, stage.Batches(steps)), flat(other, stage.Batches(other))
		for i := range one {
			if !reflect.DeepEqual(one[i].Step, two[i].Step) || one[i].batch != two[i].batch || one[i].group != two[i].group {
				t.Fatalf("%+v is not %+v", one[i], two[i])
			}
		}
	})
}

// TestOneWaveIsOneBatch: what has no waves and no hooks is journalled in one go.
func TestOneWaveIsOneBatch(t *testing.T) {
	var steps []stage.Step
	for _, k := range someKinds {
		steps = append(steps, stage.Step{Ref: k, Action: plan.Update})
	}
	batches := stage.Batches(steps)
	if len(batches) != 1 || batches[0].Part != stage.Writes {
		t.Fatalf("%+v", batches)
	}
	var kinds []string
	for _, p := range flat(steps, batches) {
		kinds = append(kinds, p.Ref.Kind)
	}
	want := []string{"Namespace", "CustomResourceDefinition", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim", "Role", "RoleBinding",
		"Service", "Deployment", "Job", "Ingress", "ValidatingWebhookConfiguration", "Widget"}
	if !slices.Equal(kinds, want) {
		t.Errorf("%v", kinds)
	}
}
