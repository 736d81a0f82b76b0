package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/health"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
)

// awaitHook waits until a hook is through: a Job complete, a Pod ended, all
// else healthy. The object has to be the same all the time.
func (s *set) awaitHook(ctx context.Context, o *object, live *unstructured.Unstructured) error {
	if o.ref.Kind == "Pod" && o.ref.Group == "" {
		return s.awaitPod(ctx, o, live)
	}
	left := s.spec.Wait.hooks()
	if end, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(end))
	}
	// The checker has to say what it saw before the context ends.
	err := s.checks.Wait(ctx, s.cluster, []manifest.Object{o.sent()}, health.WaitOptions{Within: max(left-time.Second, time.Second), Secrets: s.secretive(),
		Log: func(format string, args ...any) { s.run.Logf("%s: %s", o.ref, fmt.Sprintf(format, args...)) }})
	if err != nil {
		return err
	}
	now, err := s.get(ctx, o)
	if err != nil {
		return err
	}
	if now == nil || now.GetUID() != live.GetUID() {
		return errDeleted
	}
	if over, _ := hookEnded(now); !over {
		return errors.New("it does not run: it is suspended")
	}
	return nil
}

var errDeleted = errors.New("it was deleted by somebody else while it ran")

// awaitPod waits until a Pod has ended.
func (s *set) awaitPod(ctx context.Context, o *object, live *unstructured.Unstructured) error {
	said := ""
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		now, err := s.cluster.Get(ctx, o.mapping, o.ref.Namespace, o.ref.Name)
		switch {
		case errors.Is(err, kube.ErrNotFound) || err == nil && now.GetUID() != live.GetUID():
			return errDeleted
		case err == nil:
			over, failed := hookEnded(now)
			if failed != "" {
				return errors.New(s.scrub(failed))
			}
			if over {
				return nil
			}
			if phase, _, _ := unstructured.NestedString(now.Object, "status", "phase"); phase != said {
				said = phase
				s.run.Logf("%s: waiting: the pod is %s", o.ref, phase)
			}
		case !errors.Is(err, driver.ErrUnreachable):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the pod did not end (%s): %w", said, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// hookEnded tells whether a hook's object came to its end, and how it failed.
// What runs to no end is over at once.
func hookEnded(u *unstructured.Unstructured) (over bool, failed string) {
	if !stage.Ends(u.GroupVersionKind().GroupKind()) {
		return true, ""
	}
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	switch phase {
	case "Succeeded":
		return true, ""
	case "Failed", "Error":
		message, _, _ := unstructured.NestedString(u.Object, "status", "message")
		return true, strings.TrimSuffix("it failed: "+message, ": ")
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["status"] != "True" {
			continue
		}
		switch m["type"] {
		case "Complete", "Completed":
			return true, ""
		case "Failed":
			return true, fmt.Sprintf("it failed: %v: %v", m["reason"], m["message"])
		}
	}
	return false, ""
}
