//go:build real

package metacache

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/servertest/kubetest"
)

var server *kubetest.Cluster

func TestMain(m *testing.M) { os.Exit(start(m)) }

func start(m *testing.M) int {
	dir, err := os.MkdirTemp("", "metacache-")
	if err == nil {
		defer os.RemoveAll(dir)
		server, err = kubetest.StartIn(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	return m.Run()
}

const realObjects = `apiVersion: apps/v1
kind: Deployment
metadata: {name: a, labels: {own: "1"}}
spec:
  replicas: 1
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: "i:1", env: [{name: A, value: a}, {name: "B<&>", value: b}]}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, annotations: {"example.com/a.b": "<1>"}}
data: {k: v}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: p}
data: {password: Y2FuYXJ5}
---
apiVersion: v1
kind: Secret
metadata: {name: q}
stringData: {password: canary}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
`

// The real server's own bookkeeping of fields is what all of this rests on:
// every way to change what is ours is seen, by lists, watches and whole objects
// alike, and what is not ours is not.
func TestWhatCountsOnARealServer(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t}
	if r.cluster, err = kube.New(config); err != nil {
		t.Fatal(err)
	}
	ns := server.Namespace(t)
	apply := func(text, manager string) {
		t.Helper()
		if _, err := server.RunIn(text, "-n", ns, "apply", "--server-side", "--force-conflicts", "--field-manager", manager, "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	kubectl := func(args ...string) func() {
		return func() { t.Helper(); server.Kubectl(t, append([]string{"-n", ns}, args...)...) }
	}
	apply(realObjects, "trueup")
	server.Kubectl(t, "-n", ns, "rollout", "status", "deployment/a", "--timeout=60s")
	for _, x := range []struct{ kind, name string }{{"ConfigMap", "b"}, {"Service", "s"}, {"Secret", "p"}, {"Secret", "q"}} {
		r.wants = append(r.wants, r.want(configMaps.GroupVersion().WithKind(x.kind), ns, x.name))
	}
	r.wants = append(r.wants, r.want(deployments, ns, "a"), r.want(clusterRoles.GroupVersion().WithKind("Role"), ns, "r"))
	watching, listing, planning := r.cache(Options{Watch: true}), r.cache(Options{}), r.cache(Options{})
	watching.Remember("t", r.wants)
	listing.Remember("t", r.wants)
	last := r.print(listing, "t")
	for _, step := range []struct {
		name   string
		do     func()
		counts bool
	}{
		{"nothing", func() {}, false},
		{"the same applied again", func() { apply(realObjects, "trueup") }, false},
		{"a pod dies", kubectl("delete", "pod", "-l", "app=a"), false},
		{"status", kubectl("patch", "service", "s", "--subresource=status", "--type=merge", "-p", `{"status":{"conditions":[{"type":"X","status":"True","reason":"x","message":"","lastTransitionTime":"2030-01-01T00:00:00Z"}]}}`), false},
		{"a stranger's annotation", kubectl("annotate", "configmap", "b", "other=x"), false},
		{"a stranger's label", kubectl("label", "secret", "p", "other=x"), false},
		{"a stranger's data", kubectl("patch", "configmap", "b", "-p", `{"data":{"other":"x"}}`), false},
		{"the same value by a stranger", func() {
			apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: v}", "stranger")
		}, false},
		{"scale", kubectl("scale", "deployment/a", "--replicas=2"), true},
		{"edit of data", kubectl("patch", "configmap", "b", "-p", `{"data":{"k":"w"}}`), true},
		{"put back by a stranger", kubectl("patch", "configmap", "b", "-p", `{"data":{"k":"v"}}`), false},
		{"edit of a secret", kubectl("patch", "secret", "p", "-p", `{"stringData":{"password":"other"}}`), true},
		{"edit of a list", kubectl("set", "env", "deployment/a", "A=b"), true},
		{"a port that is not ours to name", kubectl("patch", "service", "s", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/targetPort","value":82}]`), false},
		{"our port", kubectl("patch", "service", "s", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/port","value":81}]`), true},
		{"it put back by a stranger", kubectl("patch", "service", "s", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/port","value":80}]`), false},
		{"edit of a secret's text", kubectl("patch", "secret", "q", "-p", `{"stringData":{"password":"other"}}`), true},
		{"rules", kubectl("patch", "role", "r", "--type=merge", "-p", `{"rules":[]}`), true},
		{"our annotation", kubectl("annotate", "--overwrite", "configmap", "b", "example.com/a.b=2"), true},
		{"our label, away", kubectl("label", "deployment/a", "own-"), true},
		{"all ours again", func() { apply(realObjects, "trueup") }, true},
		{"taken over by force", func() {
			apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: x}", "stranger")
		}, true},
		{"deleted", kubectl("delete", "configmap", "b"), true},
		{"made anew", func() { apply(realObjects, "trueup") }, true},
		{"replaced", func() {
			if _, err := server.RunIn("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: "+ns+"}\ndata: {k: other}", "replace", "-f", "-"); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		step.do()
		now := r.print(listing, "t")
		if (now != last) != step.counts {
			t.Errorf("%s: counts %v, not %v", step.name, now != last, step.counts)
		}
		if got := planning.Read("t", r.wants, r.live(r.wants)); got != now {
			t.Errorf("%s: what a plan reads has another fingerprint than the metadata", step.name)
		}
		await(t, step.name+": the watch gets there", func() bool { return r.print(watching, "t") == now })
		last = now
	}
}

// A server that goes away and comes back leaves no old answer behind.
func TestServerAway(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = 5 * time.Second
	r := &rig{T: t}
	if r.cluster, err = kube.New(config); err != nil {
		t.Fatal(err)
	}
	ns := server.Namespace(t)
	if _, err := server.RunIn(realObjects, "-n", ns, "apply", "--server-side", "--field-manager=trueup", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	r.wants = []Want{r.want(configMaps, ns, "b")}
	c := r.cache(Options{Watch: true})
	before := c.Read("t", r.wants, r.live(r.wants))
	if got := r.print(c, "t"); got != before {
		t.Error("the watch has another fingerprint than what was read")
	}
	server.Kill()
	await(t, "it is noticed that nobody answers", func() bool { fp, err := c.Fingerprint(context.Background(), "t"); return err != nil && fp == "" })
	if err := server.Again(); err != nil {
		t.Fatal(err)
	}
	server.Kubectl(t, "-n", ns, "patch", "configmap", "b", "-p", `{"data":{"k":"changed"}}`)
	await(t, "the change is seen", func() bool {
		fp, err := c.Fingerprint(context.Background(), "t")
		if err == nil && fp == before {
			return false
		}
		return err == nil
	})
}
