package kubernetes

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// hooks are the desired objects that run instead of standing. A plan has those
// that are due as objects to be created, whatever is there; in the inventory
// they tell for which desired state they ran last.
type hooks struct {
	list   []*object
	digest string
	// leftOut are objects that are neither applied nor pruned.
	leftOut []manifest.Ref
}

// sign marks the hooks with the state that they belong to.
func (h *hooks) sign(key []byte, all []manifest.Object) (err error) {
	if len(h.list) == 0 {
		return nil
	}
	if h.digest, err = stage.Digest(key, all); err != nil {
		return driver.Permanent(err)
	}
	for _, o := range h.list {
		o.hash = h.digest
	}
	return nil
}

func (h *hooks) byKey() map[plan.Key]stage.Hook {
	m := make(map[plan.Key]stage.Hook, len(h.list))
	for _, o := range h.list {
		m[o.key()] = *o.marks.Hook
	}
	return m
}

// settleHooks leaves the hooks in a plan that are due, and takes out what an
// annotation leaves out.
func (s *set) settleHooks(ctx context.Context, p *plan.Plan) error {
	p.Changes = slices.DeleteFunc(p.Changes, func(c plan.Change) bool { return s.leftOut(&c) })
	stage.Settle(p, s.in.Inventory, s.hooks.digest, s.hooks.byKey())
	for i := range p.Changes {
		c := &p.Changes[i]
		if o := s.wanted(c); o != nil && o.marks.Hook != nil {
			if err := s.tryHook(ctx, c, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// leftOut tells that an object is not asked for any more only because its
// manifest is skipped: it stays, and stays ours.
func (s *set) leftOut(c *plan.Change) bool {
	if c.Action != plan.Delete && c.Action != plan.Forget || s.in.Mode == plan.Destroy {
		return false
	}
	ref, err := manifest.ParseAddress(c.Address)
	return err == nil && slices.ContainsFunc(s.hooks.leftOut, func(l manifest.Ref) bool {
		return l == ref || l.Namespace == "" && l.GroupKind() == ref.GroupKind() && l.Name == ref.Name && ref.Namespace == s.spec.Namespace
	})
}

// tryHook looks whether a hook could run: nobody else's object may have its
// name, and the server has to like it.
func (s *set) tryHook(ctx context.Context, c *plan.Change, o *object) error {
	if o.missing != "" {
		o.trial.refused = o.missing
		return nil
	}
	if o.mapping.Resource.Resource == "" || len(o.desired.Unknown) > 0 {
		return nil
	}
	live, err := s.get(ctx, o)
	if err != nil {
		return err
	}
	if live != nil && !s.leftByHook(o, live) {
		stage.Hold(c, "an object of this name is there that is no hook of this target: rename the hook, or delete the object")
		return nil
	}
	if live != nil && !s.stands(o) && live.GetAnnotations()[hookOf] == "" && stage.Of(live).Hook == nil {
		c.Impact = []plan.Impact{{Class: classOf(o.ref), Replace: 1}}
		stage.Hold(c, "it is an ordinary object so far: it is deleted and made anew when it runs as a hook")
	}
	other := &unstructured.Unstructured{Object: o.send.DeepCopy().Object}
	other.SetName(otherName(o.ref.Name))
	_, err = s.cluster.Apply(ctx, o.mapping, other, kube.ApplyOptions{Manager: s.manager(), DryRun: true})
	if err == nil || errors.Is(err, kube.ErrNotFound) && s.want[namespaceRef(o.ref.Namespace)] != nil {
		return nil
	}
	return s.failed(ctx, o, err)
}

// The annotations that hooks get when they are created: whose they are, and
// for which desired state they run.
const (
	hookOf  = "trueup.dev/hook-of"
	hookRun = "trueup.dev/hook-run"
)

func (s *set) hookToken() string { return s.hooks.digest[:16] }

// leftByHook tells that an object is what an earlier run of a hook left: ours,
// or that of the tool that ran it before us. An object that was an ordinary one
// of this target before it became a hook is ours as well.
func (s *set) leftByHook(o *object, live *unstructured.Unstructured) bool {
	if of := live.GetAnnotations()[hookOf]; of != "" {
		return of == s.in.Target
	}
	owned, known := s.in.Inventory[o.key()]
	return known && owned.Hash != "" || stage.Of(live).Hook != nil
}
