//go:build real

package metacache

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"trueup.dev/trueup/internal/client/kube"
)

// heap is the memory in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCheck measures the check that nothing moved, of N ConfigMaps and
// Deployments in targets of ten: by dry runs of everything, by a metadata list
// and by the watch; idle, and while 50 statuses are written in a second.
//
//	go test -tags real -run - -bench Check -benchtime 20x -timeout 1h ./internal/drivers/kubernetes/metacache
func BenchmarkCheck(b *testing.B) {
	config, err := clientcmd.BuildConfigFromFlags("", server.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	config.QPS = -1
	cluster, err := kube.New(config)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{100, 1000, 10_000} {
		bed := fill(b, cluster, n)
		for _, churn := range []bool{false, true} {
			name := fmt.Sprintf("%d/%s", n, map[bool]string{false: "idle", true: "churn"}[churn])
			stop := func() {}
			if churn {
				stop = bed.churn(b)
			}
			if n <= 1000 {
				b.Run(name+"/dryrun", func(b *testing.B) {
					for b.Loop() {
						bed.each(b, func(u *unstructured.Unstructured, m kube.Mapping) error {
							_, err := cluster.Apply(context.Background(), m, u, kube.ApplyOptions{Manager: "trueup", DryRun: true})
							return err
						})
					}
				})
			}
			for _, watched := range []bool{false, true} {
				b.Run(name+"/"+map[bool]string{false: "list", true: "watch"}[watched], func(b *testing.B) { bed.check(b, cluster, watched) })
			}
			stop()
		}
	}
}

// bed is a namespace full of objects.
type bed struct {
	ns      string
	objects []*unstructured.Unstructured
	mapping map[string]kube.Mapping
	targets [][]Want
	cluster *kube.Cluster
}

func fill(b *testing.B, cluster *kube.Cluster, n int) *bed {
	x := &bed{ns: server.Namespace(b), mapping: map[string]kube.Mapping{}, cluster: cluster}
	for _, k := range []struct{ kind, api string }{{"ConfigMap", "v1"}, {"Deployment", "apps/v1"}} {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion(k.api)
		u.SetKind(k.kind)
		m, err := cluster.Mapping(context.Background(), u.GroupVersionKind())
		if err != nil {
			b.Fatal(err)
		}
		x.mapping[k.kind] = m
	}
	for i := range n {
		u := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"a": "1", "b": "2"}}}
		u.SetAPIVersion("v1")
		u.SetKind("ConfigMap")
		if i%5 == 0 {
			u.Object = map[string]any{"spec": map[string]any{"replicas": int64(0), "selector": map[string]any{"matchLabels": map[string]any{"app": "a"}},
				"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "a"}}, "spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}}}}}
			u.SetAPIVersion("apps/v1")
			u.SetKind("Deployment")
		}
		u.SetName(fmt.Sprintf("o%05d", i))
		u.SetNamespace(x.ns)
		u.SetLabels(map[string]string{"app.kubernetes.io/name": "x", "app.kubernetes.io/part-of": "y"})
		x.objects = append(x.objects, u)
		w := Want{Mapping: x.mapping[u.GetKind()], Namespace: x.ns, Name: u.GetName()}
		if i%10 == 0 {
			x.targets = append(x.targets, nil)
		}
		x.targets[len(x.targets)-1] = append(x.targets[len(x.targets)-1], w)
	}
	x.each(b, func(u *unstructured.Unstructured, m kube.Mapping) error {
		_, err := cluster.Apply(context.Background(), m, u, kube.ApplyOptions{Manager: "trueup"})
		return err
	})
	time.Sleep(2 * time.Second) // for the controllers
	return x
}

// each does something with all objects, eight at a time.
func (x *bed) each(b *testing.B, do func(*unstructured.Unstructured, kube.Mapping) error) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(x.objects); i = next.Add(1) - 1 {
				if err := do(x.objects[i], x.mapping[x.objects[i].GetKind()]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// churn writes 50 statuses in a second until it is stopped.
func (x *bed) churn(b *testing.B) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	client, err := dynamic.NewForConfig(x.cluster.Rest())
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			u := x.objects[(i*5)%len(x.objects)]
			body := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"X","status":"True","reason":"r%d"}]}}`, i)
			if _, err := client.Resource(x.mapping["Deployment"].Resource).Namespace(x.ns).Patch(ctx, u.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: "churn"}, "status"); err != nil && ctx.Err() == nil {
				b.Error(err)
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// check asks for the fingerprints of all targets.
func (x *bed) check(b *testing.B, cluster *kube.Cluster, watched bool) {
	before := heap()
	c := New(cluster, Options{Managers: []string{"trueup"}, Watch: watched})
	defer c.Close()
	for i, wants := range x.targets {
		c.Remember(fmt.Sprint(i), wants)
	}
	all := func() {
		for i := range x.targets {
			if fp, err := c.Fingerprint(context.Background(), fmt.Sprint(i)); err != nil || fp == "" {
				b.Fatal(err)
			}
		}
	}
	all()
	kept := heap() - before
	for b.Loop() {
		if !watched {
			c.mu.Lock()
			for _, k := range c.kinds {
				for _, f := range k.feeds {
					f.last = nil // as after an interval
				}
			}
			c.mu.Unlock()
		}
		all()
	}
	b.ReportMetric(float64(kept)/1024, "KiB")
}
