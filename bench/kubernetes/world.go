package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/kubetest"
)

const (
	// perTarget is how many objects a target has.
	perTarget = 10
	// perNamespace is how many targets share a namespace.
	perNamespace = 10
	// atOnce is how many requests, or targets, are worked on side by side where
	// a figure says so.
	atOnce = 8
)

// world is a real API server with a session of the driver and bare clients.
type world struct {
	dir     string
	server  *kubetest.Cluster
	bare    *kube.Cluster
	session driver.Session
	now     time.Time
}

func newWorld() (_ *world, err error) {
	w := &world{now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	if w.dir, err = os.MkdirTemp("", "bench-kubernetes-"); err != nil {
		return nil, err
	}
	if w.server, err = kubetest.StartIn(w.dir, "-api-only"); err != nil {
		return nil, err
	}
	if w.bare, err = w.client(); err != nil {
		return nil, err
	}
	w.session, err = w.open()
	return w, err
}

func (w *world) close() {
	if w.session != nil {
		_ = w.session.Close()
	}
	w.server.Stop()
	_ = os.RemoveAll(w.dir)
}

func (w *world) kubeconfig() ([]byte, error) { return os.ReadFile(w.server.Kubeconfig) }

// client is the bare one: client-go without a limit of its own.
func (w *world) client() (*kube.Cluster, error) {
	body, err := w.kubeconfig()
	if err != nil {
		return nil, err
	}
	config, err := kube.Config(kube.Options{Kubeconfig: body, UserAgent: "bench"})
	if err != nil {
		return nil, err
	}
	return kube.New(config)
}

func (w *world) open() (driver.Session, error) {
	env := driver.Environment{Name: "bench", HashKey: []byte("0123456789abcdef0123456789abcdef"), Connect: &kubernetes.Connect{Kubeconfig: "file:kubeconfig"},
		Secret: func(context.Context, secret.Ref) (secret.Value, error) {
			body, err := w.kubeconfig()
			return secret.New(string(body)), err
		}}
	return kubernetes.New().Open(context.Background(), env, driver.Write)
}

// target is ten objects in one file, and what trueup remembers of them.
type target struct {
	name, namespace string
	body            string
	inventory       driver.Inventory
}

// fleet makes targets in namespaces of a name of their own.
func (w *world) fleet(name string, targets int) []*target {
	out := make([]*target, targets)
	for i := range out {
		t := &target{name: fmt.Sprintf("%s-%d", name, i), namespace: fmt.Sprintf("%s-%d", name, i/perNamespace), inventory: driver.Inventory{}}
		t.body = objects(t.namespace, fmt.Sprintf("t%d", i), "one")
		out[i] = t
	}
	return out
}

// objects is one target's desired state: a small service as people write it.
func objects(namespace, name, value string) string {
	var b strings.Builder
	doc := func(format string, args ...any) { fmt.Fprintf(&b, "---\n"+format, args...) }
	meta := fmt.Sprintf("metadata:\n  name: %s\n  namespace: %s\n  labels: {app: %s}\n", name, namespace, name)
	doc("apiVersion: apps/v1\nkind: Deployment\n%sspec:\n  replicas: 2\n  selector: {matchLabels: {app: %s}}\n  template:\n    metadata: {labels: {app: %s}}\n"+
		"    spec:\n      containers:\n      - name: main\n        image: registry.example.com/shop:1\n        ports: [{containerPort: 8080, name: http}]\n"+
		"        resources: {requests: {cpu: 100m, memory: 64Mi}}\n        readinessProbe: {httpGet: {path: /, port: http}}\n", meta, name, name)
	doc("apiVersion: v1\nkind: Service\n%sspec:\n  selector: {app: %s}\n  ports: [{port: 80, targetPort: http}]\n", meta, name)
	doc("apiVersion: v1\nkind: ServiceAccount\n%s", meta)
	doc("apiVersion: v1\nkind: Secret\n%sstringData: {password: not-a-secret}\n", meta)
	doc("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n%srules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]\n", meta)
	for i := range perTarget - 5 {
		doc("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s-%d\n  namespace: %s\ndata: {value: %s, other: text}\n", name, i, namespace, value)
	}
	return b.String()
}

func (t *target) input(now time.Time) driver.Input {
	return driver.Input{Target: t.name, Tree: fstest.MapFS{"app/all.yaml": {Data: []byte(t.body), Mode: 0o644}}, Path: "app",
		Spec: &kubernetes.Spec{}, Scope: &kubernetes.Scope{}, Inventory: t.inventory, Mode: plan.Apply, Now: now}
}

// parsed gives the target's objects for the bare loop.
func (t *target) parsed() ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for doc := range strings.SplitSeq(strings.TrimPrefix(t.body, "---\n"), "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// namespaces makes the namespaces of fleets.
func (w *world) namespaces(fleets ...[]*target) error {
	seen := map[string]bool{}
	var b strings.Builder
	for _, f := range fleets {
		for _, t := range f {
			if !seen[t.namespace] {
				seen[t.namespace] = true
				fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", t.namespace)
			}
		}
	}
	_, err := w.server.RunIn(b.String(), "apply", "--server-side", "-f", "-")
	return err
}

// files writes a fleet into a directory for kubectl.
func (w *world) files(fleet []*target) (string, error) {
	dir, err := os.MkdirTemp(w.dir, "files-")
	for _, t := range fleet {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, t.name+".yaml"), []byte(t.body), 0o600)
		}
	}
	return dir, err
}

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
