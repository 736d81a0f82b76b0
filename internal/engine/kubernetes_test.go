package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

const clusterConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
policies:
  quick: {driftInterval: 1s}
environments:
  cluster:
    driver: kubernetes
    policy: quick
    connect: {kubeconfig: "file:kubeconfig"}
    allow: [{repository: infra}]
`

func newClusterWorld(t *testing.T) (*world, *kubefake.Server) {
	s := kubefake.New(t)
	s.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.dir, "kubeconfig"), s.Kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config = fmt.Sprintf(clusterConfig, w.dir)
	return w, s
}

func shopMap(name, value, annotations string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop, annotations: {%s}}\ndata: {value: %q}\n", name, annotations, value)
}

func shopHook(annotations string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: check, namespace: shop, annotations: {argocd.argoproj.io/hook: PostSync" + annotations + "}}\n" +
		"spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c}]}}}\n"
}

func jobsMade(s *kubefake.Server) int { return s.Count(kubefake.On("jobs", "create")) }

// TestAFailedHookIsNoSuccess: a target whose hook failed is never synced, it is
// tried again, and a hook that ran does not run for drift or after a restart.
func TestAFailedHookIsNoSuccess(t *testing.T) {
	w, s := newClusterWorld(t)
	w.start()
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: shop, environment: cluster, path: shop}\n",
		"shop/map.yaml": shopMap("settings", "1", ""), "shop/hook.yaml": shopHook(", kubetest/fail: Broken")})
	w.eventually("the hook is tried again", func() bool { return jobsMade(s) >= 3 })
	if st := w.target("infra/shop").Status; st.Phase == store.Synced || !strings.Contains(st.Message, "the PostSync hook did not succeed") {
		t.Errorf("%s: %s", st.Phase, st.Message)
	}
	if s.Get("v1", "ConfigMap", "shop", "settings") == nil {
		t.Error("the ordinary object is not there")
	}
	commit := w.push(map[string]string{"shop/hook.yaml": shopHook("")})
	w.synced("infra/shop", commit)
	made := jobsMade(s)
	w.stop()
	w.start()
	s.Edit("kubectl-edit", "v1", "ConfigMap", "shop", "settings", "", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(u.Object, "drifted", "data", "value")
	})
	w.eventually("drift is corrected", func() bool {
		v, _, _ := unstructured.NestedString(s.Get("v1", "ConfigMap", "shop", "settings").Object, "data", "value")
		return v == "1"
	})
	if n := jobsMade(s); n != made {
		t.Errorf("the hook ran %d times more", n-made)
	}
	w.synced("infra/shop", w.push(map[string]string{"shop/map.yaml": shopMap("settings", "2", "")}))
	if n := jobsMade(s); n != made+1 {
		t.Errorf("for a new state the hook ran %d times", n-made)
	}
}

// TestAConfirmationHoldsTheRun, and what is kept is given up.
func TestAConfirmationHoldsTheRun(t *testing.T) {
	w, s := newClusterWorld(t)
	w.start()
	w.synced("infra/shop", w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: shop, environment: cluster, path: shop}\n",
		"shop/stays.yaml": shopMap("stays", "1", ""), "shop/kept.yaml": shopMap("kept", "1", "trueup.dev/prune: disabled"),
		"shop/asked.yaml": shopMap("asked", "1", `argocd.argoproj.io/sync-options: "Prune=confirm"`)}))
	w.synced("infra/shop", w.push(map[string]string{"shop/kept.yaml": ""}))
	w.push(map[string]string{"shop/asked.yaml": ""})
	w.held("infra/shop", engine.GateGuard)
	if s.Get("v1", "ConfigMap", "shop", "asked") == nil || s.Get("v1", "ConfigMap", "shop", "kept") == nil {
		t.Error("something was deleted")
	}
}
