package metacache

import (
	"context"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// told gathers notices.
type told struct {
	mu  sync.Mutex
	ids []string
}

func (x *told) add(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ids = append(x.ids, id)
}

func (x *told) take() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := x.ids
	x.ids = nil
	slices.Sort(out)
	return out
}

func TestNotices(t *testing.T) {
	r := newRig(t)
	c := r.cache(Options{Watch: true})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got told
	go c.Notices(ctx, got.add)
	await(t, "it listens", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.noticing == 1 })
	c.Read("both", r.wants, r.live(r.wants))
	c.Read("one", r.wants[:1], r.live(r.wants[:1]))
	await(t, "the feeds are there", func() bool { _, ok := c.glance(c.targets["both"].items); return ok })
	mapPrint := r.print(c, "one")

	r.edit("apps/v1", "Deployment", "a", "status", set(int64(3), "status", "readyReplicas"))
	r.edit("v1", "ConfigMap", "b", "", set("x", "data", "k"))
	await(t, "a change is told", func() bool { ids := got.take(); return slices.Equal(ids, []string{"both"}) })

	// What trueup writes itself is no news, nor is what it read since.
	c.Writing("both")
	c.Writing("one")
	r.apply(configMaps, "default", "b", nil)
	r.apply(deployments, "default", "a", map[string]any{"replicas": int64(1), "paused": true, "selector": map[string]any{"matchLabels": map[string]any{"app": "a"}},
		"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "a"}}, "spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i:1"}}}}})
	c.Read("both", r.wants, r.live(r.wants))
	c.Read("one", r.wants[:1], r.live(r.wants[:1]))
	await(t, "the watch has seen the writes", func() bool {
		now, ok := c.glance(c.targets["one"].items)
		return ok && now != mapPrint
	})

	// The same change is told once; the next one again.
	r.s.CutWatches()
	r.s.Unset("apps/v1", "Deployment", "default", "a")
	await(t, "a deletion while the watch was broken is told, to both and nothing before it", func() bool {
		ids := got.take()
		if len(ids) > 0 && !slices.Contains(ids, "one") && !slices.Contains(ids, "both") {
			t.Errorf("told of %v", ids)
		}
		return slices.Contains(ids, "one") || slices.Contains(ids, "both")
	})
	got.take()
	r.edit("rbac.authorization.k8s.io/v1", "ClusterRole", "c", "", func(u *unstructured.Unstructured) { u.SetLabels(nil) })
	await(t, "one change more", func() bool { return slices.Equal(got.take(), []string{"both"}) })
}

// What changes before the watch has begun is told once it has.
func TestNoticesOfTheBeginning(t *testing.T) {
	r := newRig(t)
	c := r.cache(Options{Watch: true})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got told
	go c.Notices(ctx, got.add)
	await(t, "it listens", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.noticing == 1 })
	live := r.live(r.wants)
	was := []metav1.Object{live(0), live(1), live(2)}
	r.edit("v1", "ConfigMap", "b", "", set("x", "data", "k"))
	c.Read("t", r.wants, func(i int) metav1.Object { return was[i] })
	await(t, "it is told", func() bool { return slices.Equal(got.take(), []string{"t"}) })
}
