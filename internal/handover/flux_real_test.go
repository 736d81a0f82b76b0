//go:build real

package handover_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fleet is a repository as Flux is used: definitions in clusters, what they
// apply in apps, and one definition among the objects of production.
var fleet = map[string]string{
	"fleet/clusters/prod/flux.yaml": `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: { name: flux-system, namespace: flux-system }
spec: { interval: 1m0s, ref: { branch: main }, url: "https://git.example.com/acme/fleet.git" }
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: { name: flux-system, namespace: flux-system }
spec: { interval: 10m0s, path: ./clusters/prod, prune: true, sourceRef: { kind: GitRepository, name: flux-system } }
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: { name: infra, namespace: flux-system }
spec: { interval: 10m0s, path: ./infra, prune: true, sourceRef: { kind: GitRepository, name: flux-system } }
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: { name: apps, namespace: flux-system }
spec:
  interval: 10m0s
  path: ./apps
  prune: true
  wait: true
  timeout: 1m0s
  sourceRef: { kind: GitRepository, name: flux-system }
  dependsOn: [{ name: infra }]
  targetNamespace: web
  images: [{ name: registry.example.com/web, newTag: "2" }]
`,
	"fleet/infra/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: web, labels: { tier: front } }\n",
	"fleet/infra/role.yaml":      "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: \"web:reader\" }\nrules: [{ apiGroups: [\"\"], resources: [pods], verbs: [get] }]\n",
	"fleet/apps/settings.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\ndata: { color: blue, size: large }\n",
	"fleet/apps/web.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: "registry.example.com/web:1" }] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
`,
	"fleet/apps/chart.yaml": `
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: { name: charts }
spec: { interval: 1h, url: "https://charts.example.com" }
`,
}

// production is what Flux has applied.
var production = []string{":namespace/web", ":clusterrole/web:reader", "web:deployment/web", "web:service/web", "web:configmap/settings"}

// TestFlux moves a cluster from Flux to trueup.
func TestFlux(t *testing.T) {
	s := newStage(t, "*.toolkit.fluxcd.io_*.yaml")
	s.write(fleet)
	checkout := s.repository("fleet")
	s.asFlux()
	before := s.look(production...)
	got := s.importing("trueup import flux --environment prod --out new --checkout " + checkout)

	// Before the first step nothing may be deleted, and the check says so.
	check := "trueup import flux --check"
	if out, err := s.sh(s.dir, check); err == nil || !strings.Contains(out, "NOT SAFE") || !strings.Contains(out, "without an owner") {
		t.Fatalf("the check finds nothing before the first step: %v\n%s", err, out)
	}
	rest := s.carryOut(got.Steps, "Put trueup's configuration in its place", map[string]func(){
		"Put trueup's configuration in its place": func() { s.settle(checkout) }})
	plan := "trueup plan --config new/server.yaml --dir " + checkout
	if n := s.actions(s.dir, plan); n["adopt"] != len(production) || len(n) != 1 {
		t.Fatalf("the first plan is not one of adoptions: %v\n%s", n, s.must(s.dir, plan))
	}
	if out, err := s.sh(s.dir, check); err == nil || strings.Contains(out, "NOT SAFE") || !strings.Contains(out, "without an owner") {
		t.Errorf("the definitions are safe, but nothing is adopted yet: %v\n%s", err, out)
	}
	rest = s.carryOut(rest, "Ask whether the old definitions can go", nil)
	s.same(before, s.look(production...))
	s.carryOut(rest, "", nil)

	after := s.look(production...)
	s.same(before, after)
	for o, a := range after {
		if !slices.Contains(a.Managers, "trueup") || slices.Contains(a.Managers, "kustomize-controller") {
			t.Errorf("%s is managed by %v", o, a.Managers)
		}
		for l := range a.Labels {
			if strings.Contains(l, "fluxcd.io") {
				t.Errorf("%s still has the label %s", o, l)
			}
		}
	}
	if out, err := cluster.Run("get", "kustomizations.kustomize.toolkit.fluxcd.io", "-A"); err == nil {
		t.Errorf("Flux is still there: %s", out)
	}
	s.leaves(checkout)
}

// asFlux does what Flux has done: it installs itself, applies with its field
// manager and labels, and writes its finalizers and inventory.
func (s *stage) asFlux() {
	s.Helper()
	label := "app.kubernetes.io/part-of=flux"
	s.must(s.dir, "kubectl create namespace flux-system && kubectl label namespace flux-system "+label)
	for _, c := range []string{"kustomize-controller", "helm-controller", "source-controller"} {
		s.must(s.dir, "kubectl -n flux-system create deployment "+c+" --image=registry.example.com/"+c+" && kubectl -n flux-system label deployment "+c+" "+label)
	}
	s.must(s.dir, "for crd in $(kubectl get customresourcedefinitions -o name | grep fluxcd.io); do kubectl label $crd "+label+" || exit 1; done")
	s.must(s.dir, "kubectl apply --server-side --field-manager=kustomize-controller -f fleet/clusters/prod/flux.yaml")
	kinds := "flux-system_%s_kustomize.toolkit.fluxcd.io_Kustomization"
	s.fluxApplies("flux-system", "fleet/clusters/prod", "flux-system", fmt.Sprintf(kinds, "infra"), fmt.Sprintf(kinds, "apps"), fmt.Sprintf(kinds, "flux-system"),
		"flux-system_flux-system_source.toolkit.fluxcd.io_GitRepository")
	s.fluxApplies("infra", "fleet/infra", "default", "_web__Namespace", "_web__reader_rbac.authorization.k8s.io_ClusterRole")
	s.write(map[string]string{"overlay/kustomization.yaml": "resources: [settings.yaml, web.yaml, chart.yaml]\nnamespace: web\nimages: [{ name: registry.example.com/web, newTag: \"2\" }]\n"})
	s.must(s.dir, "cp fleet/apps/*.yaml overlay/ && kubectl kustomize overlay > overlay.yaml")
	s.fluxApplies("apps", "overlay.yaml", "web", "web_settings__ConfigMap", "web_web_apps_Deployment", "web_web__Service", "web_charts_source.toolkit.fluxcd.io_HelmRepository")
}

// fluxApplies applies a path as a Kustomization does.
func (s *stage) fluxApplies(name, path, namespace string, inventory ...string) {
	s.Helper()
	labels := "kustomize.toolkit.fluxcd.io/name=" + name + " kustomize.toolkit.fluxcd.io/namespace=flux-system"
	s.must(s.dir, "kubectl label --local -o json -f "+path+" "+labels+" > labelled.json && kubectl -n "+namespace+" apply --server-side --force-conflicts --field-manager=kustomize-controller -f labelled.json")
	var entries []string
	for _, id := range inventory {
		entries = append(entries, fmt.Sprintf(`{"id":%q,"v":"v1"}`, id))
	}
	k := "kubectl -n flux-system patch kustomization.kustomize.toolkit.fluxcd.io " + name + " --type merge "
	s.must(s.dir, k+`-p '{"metadata":{"finalizers":["finalizers.fluxcd.io"]}}'`)
	s.must(s.dir, k+`--subresource=status -p '{"status":{"inventory":{"entries":[`+strings.Join(entries, ",")+`]}}}'`)
}

// settle does what the import leaves to a person: a way into the cluster, and
// the files in the repository.
func (s *stage) settle(checkout string) {
	s.Helper()
	body, err := os.ReadFile(cluster.Kubeconfig)
	if err != nil {
		s.Fatal(err)
	}
	s.write(map[string]string{"new/secrets/prod-kubeconfig": string(body)})
	s.must(s.dir, "cp -r new/"+filepath.Base(checkout)+"/. "+checkout)
	s.must(checkout, "git add -A && git commit -qm 'trueup takes over'")
}

// leaves takes a field out of Git: trueup owns it, so that it goes.
func (s *stage) leaves(checkout string) {
	s.Helper()
	s.must(checkout, "sed -i 's/, size: large//' apps/settings.yaml && git commit -qam smaller")
	s.must(s.dir, "trueup apply --config new/server.yaml --auto-approve --dir "+checkout)
	if got := cluster.Kubectl(s, "-n", "web", "get", "configmap", "settings", "-o", "jsonpath={.data}"); got != `{"color":"blue"}` {
		s.Errorf("the field that left Git is still there: %s", got)
	}
}
