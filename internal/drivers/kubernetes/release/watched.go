package release

import (
	"context"
	"fmt"
	"strings"
	"time"

	helmkube "helm.sh/helm/v4/pkg/kube"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// watched is Helm's client; what it waits for goes into the log, and what went
// wrong is told with the pods' own reasons, before a hook's delete policy takes
// them away.
type watched struct {
	*helmkube.Client
	ctx  context.Context
	log  func(format string, args ...any)
	pods func(ctx context.Context, list helmkube.ResourceList) []string
	// goes tells what may be deleted beside hooks; nil lets Helm decide.
	goes  func(manifest.Ref) bool
	hooks map[manifest.Ref]bool
	// adapt gives an object as it is applied to one that is there; nil leaves it
	// as it is.
	adapt func(*unstructured.Unstructured) (*unstructured.Unstructured, error)
}

// may leaves of a list what may be deleted: what a plan has shown, and hooks,
// which belong to nobody.
func (w *watched) may(list helmkube.ResourceList) helmkube.ResourceList {
	if w.goes == nil {
		return list
	}
	return list.Filter(func(r *resource.Info) bool {
		ref := refOf(r)
		return w.goes(ref) || w.hooks[ref]
	})
}

func refOf(r *resource.Info) manifest.Ref {
	k := r.Mapping.GroupVersionKind
	return manifest.Ref{Group: k.Group, Kind: k.Kind, Namespace: r.Namespace, Name: r.Name}
}

// Update changes objects; of those that are no longer wanted it deletes only
// what may go.
func (w *watched) Update(originals, targets helmkube.ResourceList, o ...helmkube.ClientUpdateOption) (*helmkube.Result, error) {
	stays := originals.Filter(func(r *resource.Info) bool {
		return targets.Contains(r) || len(w.may(helmkube.ResourceList{r})) > 0
	})
	for _, t := range targets {
		u, ok := t.Object.(*unstructured.Unstructured)
		if !ok || w.adapt == nil {
			continue
		}
		given, err := w.adapt(u)
		if err != nil {
			return &helmkube.Result{}, err
		}
		t.Object = given
	}
	return w.Client.Update(stays, targets, o...)
}

// Delete deletes what may go.
func (w *watched) Delete(list helmkube.ResourceList, p metav1.DeletionPropagation) (*helmkube.Result, []error) {
	if list = w.may(list); len(list) == 0 {
		return &helmkube.Result{}, nil
	}
	return w.Client.Delete(list, p)
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

// WaitForDelete waits until what was deleted is gone.
func (w *waiter) WaitForDelete(list helmkube.ResourceList, timeout time.Duration) error {
	if list = w.w.may(list); len(list) == 0 {
		return nil
	}
	return w.Waiter.WaitForDelete(list, timeout)
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
