package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
)

// Remove deletes the very object that was seen, and waits until it is gone.
func (s *set) Remove(ctx context.Context, old item) error {
	o := old.Value.object
	if o.live.GetDeletionTimestamp() != nil {
		return s.goneUID(ctx, o, o.live.GetUID())
	}
	if err := s.checkContents(ctx, o); err != nil {
		return err
	}
	return s.removeUID(ctx, o, o.live.GetUID())
}

// removeUID deletes an object and waits until it is gone.
func (s *set) removeUID(ctx context.Context, o *object, uid types.UID) error {
	how := stage.Propagation(o.ref.GroupKind())
	if asked := stage.Of(o.live).Propagation; asked != "" {
		how = asked
	}
	err := s.cluster.Delete(ctx, o.mapping, o.ref.Namespace, o.ref.Name, kube.DeleteOptions{UID: uid, Propagation: how})
	if errors.Is(err, kube.ErrNotFound) {
		return nil
	}
	if err != nil {
		return outcome(err)
	}
	return s.goneUID(ctx, o, uid)
}

// goneUID waits until an object is gone. What takes too long is pending: it may
// go later, and the next run looks again. Finalizers are others' business.
func (s *set) goneUID(ctx context.Context, o *object, uid types.UID) error {
	wait, cancel := context.WithTimeout(ctx, s.spec.Wait.gone())
	defer cancel()
	said := ""
	var last *unstructured.Unstructured
	unread := ""
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		u, err := s.cluster.Get(wait, o.mapping, o.ref.Namespace, o.ref.Name)
		switch {
		case errors.Is(err, kube.ErrNotFound), err == nil && u.GetUID() != uid:
			return nil
		case err != nil && wait.Err() == nil:
			unread = ", and can't be read: " + o.mask(err).Error()
		case err == nil:
			last, unread = u, ""
			if why := lingers(u); why != said && delay > 200*time.Millisecond {
				said = why
				s.run.Logf("%s: waiting until it is gone%s", o.ref, why)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.Done():
			return unfinished{fmt.Errorf("it is being deleted and still there after %s%s%s", s.spec.Wait.gone(), unread, lingers(last))}
		case <-time.After(delay):
		}
	}
}

// lingers says why an object that is being deleted is still there.
func lingers(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	var why []string
	if list := u.GetFinalizers(); len(list) > 0 {
		why = append(why, "it waits for its finalizers "+strings.Join(list, ", "))
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		kind, _ := m["type"].(string)
		if message, _ := m["message"].(string); u.GetKind() == "Namespace" && m["status"] == "True" && strings.HasPrefix(kind, "Namespace") && message != "" {
			why = append(why, message)
		}
	}
	if t := u.GetDeletionTimestamp(); t != nil {
		why = append(why, "deleted at "+t.UTC().Format(time.RFC3339))
	}
	if len(why) == 0 {
		return ""
	}
	return ": " + strings.Join(slices.Compact(why), "; ")
}

// explained says what an error of a write means, and of one that a namespace
// brings that is going, when it can be tried again.
func (s *set) explained(ctx context.Context, o *object, err error) error {
	if err == nil || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return outcome(err)
	}
	why := ""
	if m, kindErr := s.cluster.Mapping(ctx, namespaceKind); kindErr == nil {
		if ns, getErr := s.cluster.Get(ctx, m, "", o.ref.Namespace); getErr == nil {
			why = lingers(ns)
		}
	}
	return fmt.Errorf("its namespace %s is being deleted, so nothing can be made in it until it is gone%s", o.ref.Namespace, why)
}
