package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/plan"
)

// Batches puts all that Helm does at once into one batch. Objects that only
// drifted are written as any others, without a new revision.
func (h *releases) Batches(steps []step) [][]step {
	var own, rest []step
	acts := false
	for _, st := range steps {
		if !h.about(&st) {
			rest = append(rest, st)
			continue
		}
		own = append(own, st)
		acts = acts || st.Change.Action.Writes()
	}
	switch {
	case len(own) == 0:
		return h.set.Batches(rest)
	case acts && !h.handsOver():
		return [][]step{steps}
	}
	// What is handed over is an ordinary object before its release goes.
	return append(h.set.Batches(rest), own)
}

func (h *releases) about(st *step) bool {
	it := st.New
	if it == nil {
		it = st.Old
	}
	return h.of(*it) != nil
}

// Write carries out a batch.
func (h *releases) Write(ctx context.Context, batch []step) []error {
	if !slices.ContainsFunc(batch, func(st step) bool { return h.about(&st) }) {
		return h.set.Write(ctx, batch)
	}
	errs := make([]error, len(batch))
	err := h.act(ctx, batch, errs)
	for i := range batch {
		switch st := &batch[i]; {
		case err == nil:
		case errs[i] != nil:
		case h.about(st):
			errs[i] = err
		default:
			errs[i] = shortened(err)
		}
	}
	return errs
}

// shortened is what an object's result says of a failure that the result of
// its release tells in full.
func shortened(err error) error {
	why := errors.New("its release could not be brought about")
	for _, kind := range []error{setplan.ErrUnknown, setplan.ErrSkipped, driver.ErrStale, context.Canceled} {
		if errors.Is(err, kind) {
			return fmt.Errorf("%w: %w", kind, why)
		}
	}
	return why
}

// job is what a batch asks of Helm.
type job struct {
	deploy        bool
	gone          []*released
	goes, creates map[manifest.Ref]bool
	first         []int // steps of objects that are not the release's
	replaced      []*step
	live          map[manifest.Ref]*unstructured.Unstructured
	forced, taken bool
}

func (h *releases) jobOf(batch []step) *job {
	j := &job{goes: map[manifest.Ref]bool{}, creates: map[manifest.Ref]bool{}, live: map[manifest.Ref]*unstructured.Unstructured{}, forced: len(h.planned.Conflicts) > 0}
	for i := range batch {
		st := &batch[i]
		x := h.of(firstOf(st))
		if x == nil && st.New != nil && h.wants() && !h.holds(st.New.Value.ref) {
			j.first = append(j.first, i)
			continue
		}
		switch a := st.Change.Action; {
		case x != nil && x == h.asked:
			j.deploy = j.deploy || a.Writes()
		case x != nil:
			j.gone = append(j.gone, x)
		case a == plan.Delete:
			j.goes[st.Old.Value.ref] = true
		case a == plan.Rename:
			j.goes[st.Old.Value.ref], j.creates[st.New.Value.ref] = true, true
			continue
		case a == plan.Replace:
			j.replaced = append(j.replaced, st)
		case a == plan.Create:
			j.creates[st.New.Value.ref] = true
		}
		if x == nil && st.New != nil && st.Old != nil && st.Change.Action != plan.Delete {
			j.live[st.New.Value.ref] = st.Old.Value.object.live
			j.taken = j.taken || release.Owner(st.Old.Value.object.live) != h.asked.r.String()
		}
	}
	return j
}

func firstOf(st *step) item {
	if st.New != nil {
		return *st.New
	}
	return *st.Old
}

// act has Helm do what a batch asks for: first what comes, then what goes.
func (h *releases) act(ctx context.Context, batch []step, errs []error) error {
	if h.handsOver() {
		return h.handOver(ctx)
	}
	j := h.jobOf(batch)
	if !j.deploy && len(j.gone) == 0 {
		return nil // adopted as it is
	}
	for _, i := range j.first {
		if errs[i] = h.set.write(ctx, &batch[i]); errs[i] != nil {
			return fmt.Errorf("%w: %s comes first: %w", setplan.ErrSkipped, batch[i].Change.Address, errs[i])
		}
	}
	if j.deploy {
		for _, st := range j.replaced {
			if err := h.Remove(ctx, *st.Old); err != nil {
				return unfinished{fmt.Errorf("%s has to be gone before Helm can make it anew: %w", st.Change.Address, err)}
			}
		}
		if err := h.deploy(ctx, j); err != nil {
			return err
		}
	}
	for _, x := range j.gone {
		if err := h.uninstall(ctx, x, j); err != nil {
			return err
		}
	}
	h.finish(ctx, batch, errs, j.first)
	return nil
}

// deploy installs or upgrades.
func (h *releases) deploy(ctx context.Context, j *job) error {
	x := h.asked
	err := h.client.Deploy(ctx, x.r, x.rec, x.wanted, release.Order{
		Adapt: h.adapt(j), TakeOwnership: j.taken, ForceConflicts: j.forced, Description: "applied by trueup for target " + h.in.Target,
		Goes: func(r manifest.Ref) bool { return j.goes[r] }, New: func(r manifest.Ref) bool { return j.creates[r] }, Logf: h.run.Logf})
	var f *release.Failure
	switch {
	case err == nil:
		return nil
	case errors.Is(err, release.ErrBusy):
		return fmt.Errorf("%w: %w", driver.ErrStale, err)
	case errors.As(err, &f) && (!f.Wrote || f.Restored) && len(j.replaced) == 0 && ctx.Err() == nil:
		return err
	}
	return unfinished{err}
}

// adapt leaves out of an object what is left to others on the one that is there.
func (h *releases) adapt(j *job) func(*unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return func(u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		live := j.live[manifest.RefOf(u)]
		if live == nil {
			return u, nil
		}
		return h.ignored.Strip(u, live, h.manager())
	}
}

func (h *releases) uninstall(ctx context.Context, x *released, j *job) error {
	err := h.client.Uninstall(ctx, x.r, release.Removal{KeepHistory: x.r.Options.KeepHistory, Logf: h.run.Logf,
		Goes: func(r manifest.Ref) bool { return j.goes[r] }})
	if err != nil {
		return unfinished{fmt.Errorf("release %s could not be uninstalled: %w", x.r, err)}
	}
	return nil
}

// finish does what Helm leaves undone: it removes what is to go and no revision
// knows of, and takes fields over from managers that trueup takes the place of.
func (h *releases) finish(ctx context.Context, batch []step, errs []error, first []int) {
	_ = each(ctx, batch, func(ctx context.Context, i int) error {
		st := &batch[i]
		if h.about(st) || slices.Contains(first, i) {
			return nil
		}
		if st.Change.Action == plan.Delete {
			errs[i] = h.leftover(ctx, st)
			return nil
		}
		if st.Change.Action == plan.Rename {
			if errs[i] = h.leftover(ctx, st); errs[i] != nil {
				return nil
			}
		}
		o := st.New.Value.object
		if o.mapping.Resource.Resource == "" {
			if errs[i] = h.served(ctx, o); errs[i] != nil {
				return nil
			}
		}
		live, err := h.get(ctx, o)
		switch {
		case err != nil:
			errs[i] = unfinished{fmt.Errorf("it can't be read back: %w", err)}
		case live == nil:
			errs[i] = unfinished{errors.New("it is not there after the release was installed")}
		default:
			if _, err = h.claim(ctx, o, live); err != nil {
				errs[i] = err
			}
		}
		h.memo.forget(h.set, o)
		return nil
	})
}

// leftover removes an object that is to go and that Helm did not remove.
func (h *releases) leftover(ctx context.Context, st *step) error {
	o := st.Old.Value.object
	live, err := h.get(ctx, o)
	switch {
	case err != nil:
		return unfinished{err}
	case live == nil || live.GetUID() != o.live.GetUID():
		return nil
	case live.GetDeletionTimestamp() == nil && h.others(&object{live: live}) != "":
		return fmt.Errorf("%w: it belongs to release %s by now", driver.ErrStale, release.Owner(live))
	}
	return h.Remove(ctx, *st.Old)
}

// handOver makes ordinary objects of those of a release: its records go, and
// its marks.
func (h *releases) handOver(ctx context.Context) error {
	for _, x := range h.old {
		refs, err := h.client.Holds(ctx, x.rec, x.r)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if err := h.unmark(ctx, x, ref); err != nil {
				return unfinished{fmt.Errorf("%s still has the marks of release %s: %w", ref, x.r, err)}
			}
		}
		if err := h.client.Forget(ctx, x.r); err != nil {
			return unfinished{err}
		}
		h.run.Logf("release %s: Helm's records are removed, its objects stay", x.r)
	}
	return nil
}

// unmark takes the marks of a release off an object, if it still has them.
func (h *releases) unmark(ctx context.Context, x *released, ref manifest.Ref) error {
	o := h.set.want[ref]
	if o == nil {
		o = &object{ref: ref}
		if err := h.set.find(ctx, o); err != nil || o.mapping.Resource.Resource == "" {
			return err
		}
	}
	live, err := h.get(ctx, o)
	if err != nil || live == nil || release.Owner(live) != x.r.String() {
		return err
	}
	patch := []map[string]any{{"op": "test", "path": "/metadata/uid", "value": live.GetUID()}}
	wanted := map[string]map[string]string{"labels": {}, "annotations": {}}
	if o.desired != nil {
		wanted = map[string]map[string]string{"labels": o.send.GetLabels(), "annotations": o.send.GetAnnotations()}
	}
	for _, m := range [][2]string{{"labels", release.ManagedByLabel}, {"annotations", release.NameAnnotation}, {"annotations", release.NamespaceAnnotation}} {
		if _, asked := wanted[m[0]][m[1]]; !asked {
			patch = append(patch, map[string]any{"op": "remove", "path": "/metadata/" + m[0] + "/" + escape(m[1])})
		}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = h.cluster.Patch(ctx, o.mapping, ref.Namespace, ref.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: h.manager()})
	if errors.Is(err, kube.ErrNotFound) {
		return nil
	}
	return err
}
