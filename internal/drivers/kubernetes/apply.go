package kubernetes

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// batchSize is how many objects are marked and written at a time.
const batchSize = 48

// stageStep gives what the order of a step depends on.
func (s *set) stageStep(st *step) stage.Step {
	out := stage.Step{Action: st.Change.Action}
	if st.New == nil {
		o := st.Old.Value.object
		out.Ref, out.Marks = o.ref, stage.Of(o.live)
		if k := keptOf(s.in.Inventory[o.key()]); !out.Marks.Placed && k.Wave != 0 {
			out.Marks.Wave, out.Marks.Placed = k.Wave, true
		}
		out.Marks.Hook = nil
		return out
	}
	o := st.New.Value.object
	out.Ref, out.Marks = o.ref, o.marks
	if o.marks.Hook != nil {
		out.Phase = s.run.phases[o.key()]
	}
	return out
}

func (s *set) stages(steps []step) []stage.Batch {
	list := make([]stage.Step, len(steps))
	for i := range steps {
		list[i] = s.stageStep(&steps[i])
	}
	return stage.Batches(list)
}

// Batches cuts steps into those that are journalled together. Cut once more, a
// batch gives the same groups.
func (s *set) Batches(steps []step) [][]step {
	var out [][]step
	for _, b := range s.stages(steps) {
		var part []step
		for _, group := range b.Groups {
			for _, i := range group {
				if len(part) == batchSize {
					out, part = append(out, part), nil
				}
				part = append(part, steps[i])
			}
		}
		out = append(out, part)
	}
	return out
}

// Write carries out a batch: its groups one after the other, the steps of a
// group at the same time.
func (s *set) Write(ctx context.Context, batch []step) []error {
	errs := make([]error, len(batch))
	for _, b := range s.stages(batch) {
		blocked := s.enter(ctx, b)
		for _, group := range b.Groups {
			if blocked == nil && ctx.Err() != nil {
				blocked = context.Cause(ctx)
			}
			s.group(ctx, b, group, batch, errs, blocked)
			if blocked == nil {
				blocked = s.between(ctx, group, batch, errs)
			}
		}
	}
	return errs
}

// group carries out the steps of one group, or says why it does not.
func (s *set) group(ctx context.Context, b stage.Batch, group []int, batch []step, errs []error, blocked error) {
	_ = each(ctx, group, func(_ context.Context, n int) error {
		i := group[n]
		st := &batch[i]
		why := blocked
		if why == nil {
			why = s.missing(st)
		}
		switch {
		case b.Part == stage.Failure:
			errs[i] = s.failureHook(ctx, st)
		case why != nil && s.onFailure(st):
			errs[i] = s.failureHook(ctx, st)
		case why != nil:
			errs[i] = fmt.Errorf("%w: %w", setplan.ErrSkipped, why)
		default:
			errs[i] = s.write(ctx, st)
		}
		if errs[i] == nil {
			errs[i] = errDone
		}
		return nil
	})
	for _, i := range group {
		switch errs[i] {
		case nil:
			errs[i] = fmt.Errorf("%w: %w", setplan.ErrSkipped, context.Cause(ctx))
		case errDone:
			errs[i] = nil
		default:
			s.run.note(&batch[i], errs[i])
		}
	}
}

// errDone marks a step that was carried out, among those that were not begun.
var errDone = errors.New("done")

// missing tells what a step needs that this apply could not bring about.
func (s *set) missing(st *step) error {
	if st.New == nil {
		return s.occupied(st.Old.Value.object)
	}
	ref := st.New.Value.ref
	if ref.Namespace != "" && s.run.lost(namespaceRef(ref.Namespace)) != nil {
		return fmt.Errorf("its namespace %s could not be made", ref.Namespace)
	}
	for _, failed := range s.run.undone() {
		if d := s.want[failed]; d != nil && defines(d.send, ref) {
			return fmt.Errorf("the definition of its kind, %s, could not be applied", failed)
		}
	}
	return nil
}

// occupied tells what has to be gone before a namespace or a definition goes.
func (s *set) occupied(o *object) error {
	for _, failed := range s.run.undone() {
		if stage.IsNamespace(o.ref.GroupKind()) && failed.Namespace == o.ref.Name || defines(o.live, failed) {
			return fmt.Errorf("%s has to be gone first", failed)
		}
	}
	return nil
}

// defines tells that an object is the definition of a kind.
func defines(u *unstructured.Unstructured, ref manifest.Ref) bool {
	if u == nil || !stage.IsDefinition(u.GroupVersionKind().GroupKind()) {
		return false
	}
	_, ok := definitions([]manifest.Object{{Unstructured: u}})[ref.GroupKind()]
	return ok
}

// write carries out one step.
func (s *set) write(ctx context.Context, st *step) error {
	if st.New != nil && st.New.Value.marks.Hook != nil {
		return s.runHook(ctx, st)
	}
	switch st.Change.Action {
	case plan.Delete:
		old := st.Old.Value.object.live
		if keep := stage.Of(old).Keep; keep != "" && old.GetDeletionTimestamp() == nil {
			return fmt.Errorf("%w: it was to be deleted, and says by now that it is to be kept (%s)", driver.ErrStale, keep)
		}
		return s.Remove(ctx, *st.Old)
	case plan.Rename:
		if err := s.Put(ctx, *st.New, item{}); err != nil {
			return err
		}
		if err := s.Remove(ctx, *st.Old); err != nil {
			return fmt.Errorf("%w: %s is written, but %s is still there: %w", setplan.ErrUnknown, st.New.Key, st.Old.Key, err)
		}
		return nil
	case plan.Replace:
		if err := s.Remove(ctx, *st.Old); err != nil {
			return err
		}
		if err := s.Put(ctx, *st.New, item{}); err != nil {
			return unfinished{fmt.Errorf("it is deleted, but not made anew: %w", err)}
		}
		return nil
	}
	if st.Old == nil || s.run.swept(st.Old.Value.object) {
		return s.Put(ctx, *st.New, item{})
	}
	if old := st.Old.Value.object; old.live.GetDeletionTimestamp() != nil {
		if err := s.goneUID(ctx, old, old.live.GetUID()); err != nil {
			return err
		}
		s.run.again(old)
		return s.Put(ctx, *st.New, item{})
	}
	return s.Put(ctx, *st.New, *st.Old)
}

// unfinished is an error of something that did not come to its end: the next
// run has to look at it again, whatever else it finds.
type unfinished struct{ error }

func (u unfinished) Unwrap() error        { return u.error }
func (u unfinished) Is(target error) bool { return target == setplan.ErrUnknown }
