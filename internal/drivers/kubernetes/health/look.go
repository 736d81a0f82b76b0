package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// Cluster is what health asks of an API server; *kube.Cluster is one.
type Cluster interface {
	Mapping(ctx context.Context, k schema.GroupVersionKind) (kube.Mapping, error)
	Get(ctx context.Context, m kube.Mapping, namespace, name string) (*unstructured.Unstructured, error)
	List(ctx context.Context, m kube.Mapping, namespace string, opts metav1.ListOptions) ([]unstructured.Unstructured, string, error)
}

// finding is one object with what was found.
type finding struct {
	manifest.Ref
	Verdict
	live *unstructured.Unstructured // nil where it is not there
}

const (
	fewGets = 3 // so many objects of a kind are read one by one
	atOnce  = 8 // requests
	grace   = 10 * time.Second
	aged    = time.Hour
)

// look judges objects as they are now: one list for each kind and namespace.
// Kinds that have no health are not read: that they are as desired, the plan
// has found out.
func (c *Checker) look(ctx context.Context, cluster Cluster, objects []manifest.Object, own Rules) ([]finding, error) {
	out := make([]finding, len(objects))
	groups, err := c.group(ctx, cluster, objects, own, out)
	if err != nil {
		return nil, err
	}
	lazy := classes(ctx, cluster)
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for g, members := range groups {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			live, err := read(ctx, cluster, g, objects, members)
			for _, i := range members {
				if err == nil {
					out[i].live = live[objects[i].GetName()]
					out[i].Verdict, err = c.judge(ctx, out[i], own, Facts{Managers: c.managers, Lazy: lazy, Reports: g.reports})
				}
			}
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// group is what one list gives.
type group struct {
	gvk       schema.GroupVersionKind
	namespace string
	reports   bool
}

func (c *Checker) group(ctx context.Context, cluster Cluster, objects []manifest.Object, own Rules, out []finding) (map[group][]int, error) {
	groups := map[group][]int{}
	for i, o := range objects {
		out[i].Ref = o.Ref()
		if still(out[i].GroupKind()) && own.find(out[i].Ref) == nil && c.rules.find(out[i].Ref) == nil {
			continue
		}
		m, err := cluster.Mapping(ctx, o.GroupVersionKind())
		if errors.Is(err, kube.ErrNoKind) {
			out[i].Verdict = waiting("the API server does not know this kind yet")
			continue
		}
		if err != nil {
			return nil, err
		}
		g := group{m.Kind, o.GetNamespace(), m.Status}
		groups[g] = append(groups[g], i)
	}
	return groups, nil
}

// read gives the live objects of a group by name.
func read(ctx context.Context, cluster Cluster, g group, objects []manifest.Object, members []int) (map[string]*unstructured.Unstructured, error) {
	m, err := cluster.Mapping(ctx, g.gvk)
	if err != nil {
		return nil, err
	}
	out := map[string]*unstructured.Unstructured{}
	if len(members) > fewGets {
		list, _, err := cluster.List(ctx, m, g.namespace, metav1.ListOptions{})
		for i := range list {
			out[list[i].GetName()] = &list[i]
		}
		if !errors.Is(err, kube.ErrDenied) || errors.Is(err, driver.ErrUnreachable) {
			return out, err
		}
	}
	for _, i := range members {
		u, err := cluster.Get(ctx, m, g.namespace, objects[i].GetName())
		if errors.Is(err, kube.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[u.GetName()] = u
	}
	return out, nil
}

// judge gives the verdict by the check's expressions, else the operator's,
// else by what is known of the kind.
func (c *Checker) judge(ctx context.Context, f finding, own Rules, facts Facts) (Verdict, error) {
	if f.live == nil {
		return waiting("it is not there"), nil
	}
	facts.Young = c.young(f.live)
	for _, rules := range []Rules{own, c.rules} {
		r := rules.find(f.Ref)
		if r == nil {
			continue
		}
		if f.live.GetDeletionTimestamp() != nil {
			return waiting("it is being deleted"), nil
		}
		if v := unseen(f.live, facts); v.State != Ready {
			return v, nil
		}
		v, err := r.assess(ctx, f.live)
		if err != nil {
			return v, driver.Permanent(fmt.Errorf("%s: the expression for %s can't be evaluated: %w", f.Ref, r.of.text, err))
		}
		return v, nil
	}
	return Assess(f.live, facts), nil
}

// mark notes when an object was first seen as it is.
type mark struct {
	changed, seen time.Time
}

// young tells that an object was first seen in this form only just now. The
// clocks of the server and of this machine are not compared.
func (c *Checker) young(u *unstructured.Unstructured) bool {
	at, now := changed(u, c.managers), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.marks[u.GetUID()]
	if !ok || !m.changed.Equal(at) {
		m = mark{at, now}
		c.marks[u.GetUID()] = m
	}
	if now.Sub(c.swept) > aged {
		c.swept = now
		for uid, m := range c.marks {
			if now.Sub(m.seen) > aged {
				delete(c.marks, uid)
			}
		}
	}
	return now.Sub(m.seen) < grace
}

// classes asks, once for each, which storage classes wait for a first pod.
func classes(ctx context.Context, cluster Cluster) func(string) bool {
	var mu sync.Mutex
	known := map[string]bool{}
	return func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		lazy, ok := known[name]
		if ok || name == "" {
			return lazy
		}
		m, err := cluster.Mapping(ctx, schema.GroupVersionKind{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass"})
		if err == nil {
			var u *unstructured.Unstructured
			if u, err = cluster.Get(ctx, m, "", name); err == nil {
				lazy = str(u, "volumeBindingMode") == "WaitForFirstConsumer"
			}
		}
		known[name] = lazy
		return lazy
	}
}

// still tells the kinds that are ready by being there.
func still(gk schema.GroupKind) bool {
	switch gk.Group {
	case "":
		switch gk.Kind {
		case "ConfigMap", "Secret", "ServiceAccount", "Endpoints", "LimitRange", "ResourceQuota":
			return true
		}
	case "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "scheduling.k8s.io", "node.k8s.io", "coordination.k8s.io", "discovery.k8s.io":
		return true
	case "networking.k8s.io":
		return gk.Kind == "NetworkPolicy" || gk.Kind == "IngressClass" || gk.Kind == "Ingress"
	case "storage.k8s.io":
		return gk.Kind == "StorageClass" || gk.Kind == "CSIDriver"
	case "batch":
		return gk.Kind == "CronJob"
	}
	return false
}
