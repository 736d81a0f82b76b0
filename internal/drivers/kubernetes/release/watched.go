package release

import (
	"context"
	"fmt"
	"strings"
	"time"

	helmkube "helm.sh/helm/v4/pkg/kube"
)

// watched is Helm's client; what it waits for goes into the log, and what went
// wrong is told with the pods' own reasons, before a hook's delete policy takes
// them away.
type watched struct {
	*helmkube.Client
	ctx  context.Context
	log  func(format string, args ...any)
	pods func(ctx context.Context, list helmkube.ResourceList) []string
}

// GetWaiter gives a waiter that tells what it does.
func (w *watched) GetWaiter(s helmkube.WaitStrategy) (helmkube.Waiter, error) {
	return w.GetWaiterWithOptions(s)
}

// GetWaiterWithOptions gives a waiter that tells what it does.
func (w *watched) GetWaiterWithOptions(s helmkube.WaitStrategy, o ...helmkube.WaitOption) (helmkube.Waiter, error) {
	in, err := w.Client.GetWaiterWithOptions(s, o...)
	return &waiter{Waiter: in, w: w, quiet: s == helmkube.HookOnlyStrategy}, err
}

type waiter struct {
	helmkube.Waiter
	w     *watched
	quiet bool // it waits for hooks alone
}

// WatchUntilReady waits for hooks.
func (w *waiter) WatchUntilReady(list helmkube.ResourceList, timeout time.Duration) error {
	w.w.log("helm: hook %s", names(list))
	return w.told(list, w.Waiter.WatchUntilReady(list, timeout))
}

// Wait waits for objects.
func (w *waiter) Wait(list helmkube.ResourceList, timeout time.Duration) error {
	w.say("helm: waiting for %d objects to be ready", list)
	return w.told(list, w.Waiter.Wait(list, timeout))
}

// WaitWithJobs waits for objects, and for jobs to end.
func (w *waiter) WaitWithJobs(list helmkube.ResourceList, timeout time.Duration) error {
	w.say("helm: waiting for %d objects to be ready, and for their jobs", list)
	return w.told(list, w.Waiter.WaitWithJobs(list, timeout))
}

func (w *waiter) say(format string, list helmkube.ResourceList) {
	if !w.quiet && len(list) > 0 {
		w.w.log(format, len(list))
	}
}

// told adds the pods' reasons to an error.
func (w *waiter) told(list helmkube.ResourceList, err error) error {
	if err == nil || w.w.ctx.Err() != nil {
		return err
	}
	if why := w.w.pods(w.w.ctx, list); len(why) > 0 {
		return fmt.Errorf("%w (%s)", err, strings.Join(why, "; "))
	}
	return err
}

func names(list helmkube.ResourceList) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.Object.GetObjectKind().GroupVersionKind().Kind + "/" + r.Name
	}
	return strings.Join(out, ", ")
}
