package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
)

// trial is what a dry run said about a desired object.
type trial struct {
	// after is what the object would be; nil where that can't be told.
	after *unstructured.Unstructured
	equal bool
	// owned tells that the fields are ours on the server as they should be.
	owned     bool
	conflicts []kube.Owner
	// replace says why the object can't be changed, only made anew.
	replace string
	// unsure says why the outcome is known only after the apply.
	unsure string
	// refused is the server's reason for not taking the object.
	refused string
	// warnings are what the server remarks on the object.
	warnings []string
	// leaving says since when the object is being deleted; it has to be gone
	// before it can be made anew.
	leaving string
}

// tries is how often a dry run is repeated for an object that changes while it
// is looked at.
const tries = 4

// try asks the server what an apply would do.
func (s *set) try(ctx context.Context, o *object) error {
	switch {
	case o.missing != "":
		o.trial.refused = o.missing
		return nil
	case o.mapping.Resource.Resource == "":
		o.trial.unsure = "its kind comes with the same commit"
		return nil
	}
	later := len(o.desired.Unknown) > 0
	if o.unread && (later || s.ignored.About(o.ref)) {
		var err error
		if o.live, err = s.get(ctx, o); err != nil {
			return err
		}
		o.unread = false
	}
	if later {
		o.trial.unsure = "it holds values that are known only after another target is applied"
		return nil
	}
	return s.tryHere(ctx, o)
}

// tryHere makes the dry run of an object whose kind is served.
func (s *set) tryHere(ctx context.Context, o *object) error {
	var last trial
	for range tries {
		if o.leaves() {
			return nil
		}
		err := s.dryRun(ctx, o)
		if err == nil && o.unread && revision(o.trial.after) == "" {
			return nil // it is not there
		}
		if o.unread {
			o.unread = false
			var err2 error
			if o.live, err2 = s.get(ctx, o); err2 != nil {
				return err2
			}
			if o.leaves() {
				return nil
			}
		}
		if err != nil {
			return s.failed(ctx, o, err)
		}
		was, now := revision(o.live), revision(o.trial.after)
		if was == now {
			return s.compare(o)
		}
		// Somebody wrote between our two reads: what differs may be theirs.
		if o.live, err = s.get(ctx, o); err != nil {
			return err
		}
		if now == revision(o.live) {
			return s.compare(o)
		}
		last = o.trial
		o.trial = trial{}
	}
	// A controller that writes status all the time is no reason to know nothing:
	// status is not compared.
	if o.live != nil && last.after != nil && o.live.GetUID() == last.after.GetUID() {
		o.trial = last
		return s.compare(o)
	}
	return fmt.Errorf("%s changes all the time: %w", o.ref, driver.ErrStale)
}

// leaves notes that the object is being deleted.
func (o *object) leaves() bool {
	if o.live == nil || o.live.GetDeletionTimestamp() == nil {
		return false
	}
	o.trial = trial{leaving: "it is being deleted" + lingers(o.live)}
	return true
}

// given is the desired object as it is applied to a live one: without the
// fields that are left to others.
func (s *set) given(o *object, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	u, err := s.ignored.Strip(o.send, live, s.manager())
	return u, o.mask(err)
}

func revision(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	return u.GetResourceVersion()
}

func (s *set) get(ctx context.Context, o *object) (*unstructured.Unstructured, error) {
	u, err := s.cluster.Get(ctx, o.mapping, o.ref.Namespace, o.ref.Name)
	if errors.Is(err, kube.ErrNotFound) {
		return nil, nil
	}
	return u, err
}

// dryRun fills in what the apply would give, and which fields others own.
func (s *set) dryRun(ctx context.Context, o *object) (err error) {
	u, err := s.given(o, o.live)
	if err != nil {
		return unruly{err}
	}
	var warned kube.Warnings
	defer func() { o.trial.warnings = warned.List() }()
	ctx = warned.In(ctx)
	opts := kube.ApplyOptions{Manager: s.manager(), DryRun: true}
	o.trial.after, err = s.cluster.Apply(ctx, o.mapping, u, opts)
	var conflict *kube.Conflict
	if errors.As(err, &conflict) && len(conflict.Fields) > 0 {
		o.trial.conflicts = conflict.Fields
		opts.Force = true
		o.trial.after, err = s.cluster.Apply(ctx, o.mapping, u, opts)
	}
	return err
}

// unruly is the error of a rule that can't be kept to.
type unruly struct{ error }

func (u unruly) Unwrap() error { return u.error }

// compare looks at what a dry run gave.
func (s *set) compare(o *object) error {
	if o.live == nil {
		return nil
	}
	o.trial.equal = diff.Equal(diff.Clean(o.live), diff.Clean(o.trial.after))
	same, err := diff.SameOwner(o.live, o.trial.after, o.send, s.manager())
	if err != nil {
		return err
	}
	_, shared, err := diff.Yield(o.trial.after, s.manager(), s.ours)
	o.trial.owned = same && !shared
	return err
}

// failed makes of an error what the plan says of the object. What concerns
// more than this object is an error.
func (s *set) failed(ctx context.Context, o *object, err error) error {
	o.trial.after = nil
	var status apierrors.APIStatus
	var rule unruly
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &rule):
		o.trial.refused = err.Error()
		return nil
	case errors.Is(err, driver.ErrUnreachable), errors.Is(err, kube.ErrUncertain), !errors.As(err, &status):
		return fmt.Errorf("%s: %w", o.ref, o.mask(err))
	case strings.Contains(err.Error(), "does not support dry run"):
		o.trial.unsure = "an admission webhook takes no dry runs"
	case errors.Is(err, kube.ErrNotFound) && s.want[namespaceRef(o.ref.Namespace)] != nil:
		o.trial.unsure = "its namespace comes with the same commit"
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		s.inLeaving(o)
	case apierrors.IsInvalid(err) && o.live != nil && s.fresh(ctx, o):
		o.trial.replace = o.reason(err)
	default:
		o.trial.refused = o.reason(err)
	}
	// What was applied and still stands needs no leave to be changed.
	if given, ruleErr := s.given(o, o.live); o.live != nil && ruleErr == nil && s.settled(o) && diff.Holds(o.live.Object, given.Object) {
		o.trial = trial{equal: true, owned: true}
	}
	return nil
}

// inLeaving says what becomes of an object in a namespace that is being deleted.
func (s *set) inLeaving(o *object) {
	if s.want[namespaceRef(o.ref.Namespace)] != nil {
		o.trial.unsure = "its namespace is being deleted, and made anew when it is gone"
		return
	}
	o.trial.refused = fmt.Sprintf("its namespace %s is being deleted, so nothing can be made in it until it is gone", o.ref.Namespace)
}

// settled tells that the very same was applied last.
func (s *set) settled(o *object) bool {
	owned, ok := s.in.Inventory[o.key()]
	return ok && !owned.Pending && owned.Hash == o.hash
}
