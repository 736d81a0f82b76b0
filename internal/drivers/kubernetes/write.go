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
		var err error
		if u, err = s.given(o, old.Value.object.live); err != nil {
			return err
		}
		u = u.DeepCopy()
		u.SetUID(old.Value.object.live.GetUID())
	}
	opts := kube.ApplyOptions{Manager: s.manager()}
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
		return s.explained(ctx, o, o.mask(err))
	}
	if old.Value.object != nil {
		if got, err = s.claim(ctx, o, got); err != nil {
			return err
		}
	} else if m := s.foreign(got); m != "" {
		return errors.Join(fmt.Errorf("%w: %s made it meanwhile", driver.ErrStale, m), s.withdraw(ctx, o, got))
	}
	s.memo.forget(s, o)
	if diff.Holds(got.Object, u.Object) {
		s.memo.keep(s, o, got)
	}
	return nil
}

// foreign names a manager other than us of an object that was to be new: then
// it was not. Without force nothing of theirs was changed, and the object stays
// theirs until a plan says otherwise.
func (s *set) foreign(u *unstructured.Unstructured) string {
	for _, m := range u.GetManagedFields() {
		if m.Manager != s.manager() && m.Subresource == "" {
			return m.Manager
		}
	}
	return ""
}

// withdraw takes our fields back out of an object that turned out to be
// somebody else's: an apply that asks for nothing gives up all that it had.
func (s *set) withdraw(ctx context.Context, o *object, got *unstructured.Unstructured) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(o.mapping.Kind)
	u.SetName(o.ref.Name)
	u.SetNamespace(o.ref.Namespace)
	u.SetUID(got.GetUID())
	if _, err := s.cluster.Apply(context.WithoutCancel(ctx), o.mapping, u, kube.ApplyOptions{Manager: s.manager()}); err != nil {
		return fmt.Errorf("what was added to it could not be taken out again: %w", o.mask(err))
	}
	return nil
}

// Adopt makes the fields of an equal object ours.
func (s *set) Adopt(ctx context.Context, it, old item) error { return s.Put(ctx, it, old) }

// served finds a kind that was not served when the apply began.
func (s *set) served(ctx context.Context, o *object) error {
	wait, cancel := context.WithTimeout(ctx, s.spec.Wait.kinds())
	defer cancel()
	for said := false; ; said = true {
		m, err := s.cluster.Mapping(ctx, o.desired.GroupVersionKind())
		if err == nil {
			o.mapping = m
			return nil
		}
		if !errors.Is(err, kube.ErrNoKind) {
			return err
		}
		if !said {
			s.run.Logf("%s: waiting: the API server does not serve its kind", o.ref)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.Done():
			return err
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
