package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
)

// runHook runs a hook to its end.
func (s *set) runHook(ctx context.Context, st *step) error {
	o := st.New.Value.object
	phase := s.run.phases[o.key()]
	ctx, cancel := context.WithTimeout(ctx, s.spec.Wait.hooks())
	defer cancel()
	live, err := s.beginHook(ctx, o)
	if err == nil {
		err = s.awaitHook(ctx, o, live)
	}
	// What still runs is left to the next run, whatever its policy says.
	runs := err != nil && (ctx.Err() != nil || errors.Is(err, driver.ErrNotReady))
	if live != nil && !runs {
		s.run.end(ended{object: o, uid: live.GetUID(), succeeded: err == nil})
	}
	if err != nil {
		return unfinished{fmt.Errorf("the %s hook did not succeed: %w", phase, err)}
	}
	s.run.Logf("%s: the %s hook succeeded", o.ref, phase)
	return nil
}

// onFailure tells that a step is a hook that runs as well when the sync fails.
func (s *set) onFailure(st *step) bool {
	return st.New != nil && st.New.Value.marks.Hook != nil && st.New.Value.marks.Hook.OnFailure && s.run.trouble() != nil
}

// failureHook runs what has to run when the sync failed. Such a hook stays due:
// the next sync may fail as well.
func (s *set) failureHook(ctx context.Context, st *step) error {
	o := st.New.Value.object
	if s.run.trouble() == nil {
		s.run.Logf("%s: the sync did not fail, so the hook is not needed", o.ref)
		return nil
	}
	s.run.Logf("%s: the sync failed, so the hook runs", o.ref)
	if err := s.runHook(ctx, st); err != nil {
		return err
	}
	return unfinished{errors.New("the sync failed, and the hook ran")}
}

// hookStops notes that nothing is written after a hook failed.
func (s *set) hookStops(st *step, err error) error {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	if phase := s.run.phases[st.Change.Key]; phase != stage.SyncFail && s.run.noWrites == nil {
		s.run.noWrites = fmt.Errorf("%s: %w", st.Change.Key, err)
	}
	if s.run.phases[st.Change.Key] == stage.SyncFail {
		return nil
	}
	return s.run.noWrites
}

// rounds is how often it is tried to get a hook's place free.
const rounds = 5

// beginHook brings a hook about, exactly once: it goes on with one that an
// earlier process began for the same state, and never starts a second one
// beside one that runs.
func (s *set) beginHook(ctx context.Context, o *object) (*unstructured.Unstructured, error) {
	if o.mapping.Resource.Resource == "" {
		if err := s.served(ctx, o); err != nil {
			return nil, err
		}
	}
	for range rounds {
		live, err := s.get(ctx, o)
		if err != nil {
			return nil, err
		}
		if live == nil || s.stands(o) && live.GetDeletionTimestamp() == nil {
			got, err := s.createHook(ctx, o, live)
			if errors.Is(err, errAgain) {
				continue
			}
			return got, err
		}
		mine, err := s.earlierHook(ctx, o, live)
		if mine || err != nil {
			return live, err
		}
	}
	return nil, errors.New("somebody else makes an object of this name again and again")
}

// stands tells that a hook's object is applied instead of being made anew: one
// that nothing runs to an end and that nobody asked to be deleted before, or
// one that takes what it holds along.
func (s *set) stands(o *object) bool {
	switch k := o.ref.GroupKind(); {
	case stage.Holds(k):
		return true
	case stage.Ends(k):
		return false
	}
	return !o.marks.Hook.Before
}

var errAgain = errors.New("again")

func (s *set) createHook(ctx context.Context, o *object, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if live != nil && !s.leftByHook(o, live) {
		return nil, errForeign
	}
	u := &unstructured.Unstructured{Object: o.send.DeepCopy().Object}
	notes := u.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	notes[hookOf], notes[hookRun] = s.in.Target, s.hookToken()
	u.SetAnnotations(notes)
	visible(u)
	if s.stands(o) {
		got, err := s.cluster.Apply(ctx, o.mapping, u, kube.ApplyOptions{Manager: manager, Force: true})
		return got, s.explained(ctx, o, o.mask(err))
	}
	s.run.Logf("%s: starting the %s hook", o.ref, s.run.phases[o.key()])
	got, err := s.cluster.Create(ctx, o.mapping, u, manager)
	var there *kube.Conflict
	var answer apierrors.APIStatus
	if errors.As(err, &there) || err != nil && ctx.Err() == nil && (errors.Is(err, kube.ErrUncertain) || !errors.As(err, &answer)) {
		return nil, errAgain // it is there, or nobody knows
	}
	return got, s.explained(ctx, o, o.mask(err))
}

// seenFor is how long a Job stays at least after it ended.
const seenFor = 300

// visible keeps a Job from taking itself away before its end was seen.
func visible(u *unstructured.Unstructured) {
	if u.GetKind() != "Job" {
		return
	}
	if ttl, there, err := unstructured.NestedInt64(u.Object, "spec", "ttlSecondsAfterFinished"); there && err == nil && ttl < seenFor {
		_ = unstructured.SetNestedField(u.Object, int64(seenFor), "spec", "ttlSecondsAfterFinished")
	}
}

var errForeign = errors.New("an object of this name is there that is no hook of this target: rename the hook, or delete the object")

// earlierHook looks at what an earlier run left. It tells that the object is
// the one that is wanted now; else it takes it away.
func (s *set) earlierHook(ctx context.Context, o *object, live *unstructured.Unstructured) (mine bool, err error) {
	if live.GetDeletionTimestamp() != nil {
		return false, s.goneUID(ctx, o, live.GetUID())
	}
	if !s.leftByHook(o, live) {
		return false, errForeign
	}
	same := live.GetAnnotations()[hookOf] == s.in.Target && live.GetAnnotations()[hookRun] == s.hookToken()
	over, failed := hookEnded(live)
	switch {
	case same && over && failed == "":
		s.run.Logf("%s: the hook has already run for this state", o.ref)
		return true, nil
	case same && !over:
		s.run.Logf("%s: the hook is already running for this state", o.ref)
		return true, nil
	case !over && stage.Ends(o.ref.GroupKind()):
		s.run.Logf("%s: waiting for the hook of an earlier state to end", o.ref)
		if err := s.awaitHook(ctx, o, live); err != nil && ctx.Err() != nil {
			return false, fmt.Errorf("the hook of an earlier state still runs: %w", err)
		}
	}
	s.run.Logf("%s: taking away what an earlier run of the hook left", o.ref)
	return false, s.removeUID(ctx, o, live.GetUID())
}

// ended is a hook that came to its end in this apply.
type ended struct {
	*object
	uid       types.UID
	succeeded bool
}

func (r *run) end(e ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, e)
}

// tidyTime bounds the removal of hooks that ran.
const tidyTime = 8 * time.Second

// tidy deletes the hooks that ran, as they ask for. They go only when all
// hooks are through: one may be the service account of another. What can't be
// deleted is replaced when the hook runs next.
func (s *set) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	s.run.mu.Lock()
	list := s.run.ended
	s.run.ended = nil
	s.run.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		e := list[i]
		h := e.marks.Hook
		if !(e.succeeded && h.Succeeded || !e.succeeded && h.Failed) || stage.Holds(e.ref.GroupKind()) {
			continue
		}
		o := kube.DeleteOptions{UID: e.uid, Propagation: stage.Propagation(e.ref.GroupKind())}
		if err := s.cluster.Delete(ctx, e.mapping, e.ref.Namespace, e.ref.Name, o); err != nil && !errors.Is(err, kube.ErrNotFound) {
			s.run.Logf("%s: the hook ran, but is not deleted: %v", e.ref, err)
		}
	}
}
