package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/plan"
)

// batchSize is how many objects are marked and written at a time.
const batchSize = 48

// rank orders the kinds of steps: what others need first, and deletions last,
// in the opposite order.
func rank(st *step) int {
	n := 1
	switch st.Change.Kind {
	case "Namespace", "CustomResourceDefinition.apiextensions.k8s.io":
		n = 0
	}
	if st.Change.Action == plan.Delete {
		return 10 - n
	}
	return n
}

// Batches cuts steps into those that can be written at the same time.
func (s *set) Batches(steps []step) [][]step {
	by := map[int][]step{}
	for i := range steps {
		by[rank(&steps[i])] = append(by[rank(&steps[i])], steps[i])
	}
	var out [][]step
	for _, r := range sortedKeys(by) {
		out = slices.AppendSeq(out, slices.Chunk(by[r], batchSize))
	}
	return out
}

// Write carries out the steps of a batch at the same time.
func (s *set) Write(ctx context.Context, batch []step) []error {
	errs := make([]error, len(batch))
	_ = each(ctx, batch, func(_ context.Context, i int) error {
		errs[i] = s.write(ctx, &batch[i])
		if errs[i] == nil {
			errs[i] = errDone
		}
		return nil
	})
	for i := range errs {
		switch errs[i] {
		case nil:
			errs[i] = fmt.Errorf("%w: %w", setplan.ErrSkipped, context.Cause(ctx))
		case errDone:
			errs[i] = nil
		}
	}
	return errs
}

// errDone marks a step that was carried out, among those that were not begun.
var errDone = errors.New("done")

func (s *set) write(ctx context.Context, st *step) error {
	switch st.Change.Action {
	case plan.Delete:
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
			return fmt.Errorf("%w: it is deleted, but not made anew: %w", setplan.ErrUnknown, err)
		}
		return nil
	}
	var old item
	if st.Old != nil {
		old = *st.Old
	}
	return s.Put(ctx, *st.New, old)
}

// Put applies an object. One that is there has to be the one that was planned
// for.
func (s *set) Put(ctx context.Context, it, old item) error {
	o := it.Value.object
	if o.mapping.Resource.Resource == "" {
		if err := s.served(ctx, o); err != nil {
			return err
		}
	}
	u := o.send
	if old.Value.object != nil {
		u = u.DeepCopy()
		u.SetUID(old.Value.object.live.GetUID())
	}
	opts := kube.ApplyOptions{Manager: manager}
	got, err := s.cluster.Apply(ctx, o.mapping, u, opts)
	var c *kube.Conflict
	if errors.As(err, &c) && len(c.Fields) > 0 {
		if err := s.mayForce(it.Address, c); err != nil {
			return err
		}
		opts.Force = true
		got, err = s.cluster.Apply(ctx, o.mapping, u, opts)
	}
	if err != nil {
		return outcome(o.mask(err))
	}
	if old.Value.object != nil {
		if got, err = s.claim(ctx, o, got); err != nil {
			return err
		}
	}
	s.memo.forget(s, o)
	if diff.Holds(got.Object, o.send.Object) {
		s.memo.keep(s, o, got)
	}
	return nil
}

// Adopt makes the fields of an equal object ours.
func (s *set) Adopt(ctx context.Context, it, old item) error { return s.Put(ctx, it, old) }

// served finds a kind that was not served when the apply began.
func (s *set) served(ctx context.Context, o *object) error {
	for {
		m, err := s.cluster.Mapping(ctx, o.desired.GroupVersionKind())
		if err == nil {
			o.mapping = m
			return nil
		}
		if _, comes := s.kinds[o.ref.GroupKind()]; !errors.Is(err, kube.ErrNoKind) || !comes {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// mayForce lets only those fields be taken over that the plan showed.
func (s *set) mayForce(a plan.Address, c *kube.Conflict) error {
	var more []string
	for _, f := range c.Fields {
		if !slices.Contains(s.planned.Conflicts[a], conflictKey(f)) {
			more = append(more, fmt.Sprintf("%s is owned by %s", f.Field, managerOf(f.Manager)))
		}
	}
	if len(more) > 0 {
		return fmt.Errorf("%w: %s", driver.ErrStale, strings.Join(more, ", "))
	}
	return nil
}

// Remove deletes the very object that was seen, and waits until it is gone.
func (s *set) Remove(ctx context.Context, old item) error {
	o := old.Value.object
	err := s.cluster.Delete(ctx, o.mapping, o.ref.Namespace, o.ref.Name, kube.DeleteOptions{UID: o.live.GetUID()})
	if errors.Is(err, kube.ErrNotFound) {
		return nil
	}
	if err != nil {
		return outcome(err)
	}
	return s.gone(ctx, o)
}

// patience is how long an object may take to go.
const patience = 2 * time.Minute

func (s *set) gone(ctx context.Context, o *object) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		u, err := s.cluster.Get(wait, o.mapping, o.ref.Namespace, o.ref.Name)
		if errors.Is(err, kube.ErrNotFound) || err == nil && u.GetUID() != o.live.GetUID() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.Done():
			return fmt.Errorf("%w: it is being deleted and still there%s", setplan.ErrUnknown, finalizers(u))
		case <-time.After(delay):
		}
	}
}

func finalizers(u *unstructured.Unstructured) string {
	if u == nil || len(u.GetFinalizers()) == 0 {
		return ""
	}
	return ": it waits for its finalizers " + strings.Join(u.GetFinalizers(), ", ")
}

// outcome says what an error means for the journal.
func outcome(err error) error {
	var c *kube.Conflict
	switch {
	case errors.Is(err, kube.ErrUncertain):
		return fmt.Errorf("%w: %w", setplan.ErrUnknown, err)
	case errors.Is(err, kube.ErrMoved), errors.As(err, &c):
		return fmt.Errorf("%w: %w", driver.ErrStale, err)
	}
	return err
}
