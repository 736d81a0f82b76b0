//go:build real

package handover_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// apps is a repository as Argo CD is used: an app of apps, one Application with
// things said outside of Git, and a set with one Application a directory.
var apps = map[string]string{
	"apps/argocd/root.yaml": `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: root, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io] }
spec:
  project: default
  source: { repoURL: "https://git.example.com/acme/apps.git", targetRevision: main, path: argocd }
  destination: { server: "https://kubernetes.default.svc", namespace: argocd }
  syncPolicy: { automated: { prune: true, selfHeal: true } }
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: { name: site, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io] }
spec:
  project: default
  source:
    repoURL: https://git.example.com/acme/apps.git
    targetRevision: main
    path: charts/site
    helm: { parameters: [{ name: color, value: green }], values: "replicas: 2\n" }
  destination: { server: "https://kubernetes.default.svc", namespace: site }
  syncPolicy: { automated: { prune: true, selfHeal: true }, syncOptions: [CreateNamespace=true] }
---
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: { name: teams, namespace: argocd }
spec:
  goTemplate: true
  generators: [{ git: { repoURL: "https://git.example.com/acme/apps.git", revision: main, directories: [{ path: teams/* }] } }]
  template:
    metadata: { name: "team-{{ .path.basename }}" }
    spec:
      project: default
      source: { repoURL: "https://git.example.com/acme/apps.git", targetRevision: main, path: "{{ .path.path }}" }
      destination: { server: "https://kubernetes.default.svc", namespace: "team-{{ .path.basename }}" }
      syncPolicy: { automated: { prune: true, selfHeal: true } }
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: { name: default, namespace: argocd }
spec: { sourceRepos: ["*"], destinations: [{ server: "*", namespace: "*" }], clusterResourceWhitelist: [{ group: "*", kind: "*" }] }
`,
	"apps/charts/site/Chart.yaml":          "apiVersion: v2\nname: site\nversion: 1.0.0\n",
	"apps/charts/site/values.yaml":         "color: blue\nreplicas: 1\n",
	"apps/charts/site/templates/site.yaml": siteChart,
	"apps/teams/a/one.yaml":                "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: one }\ndata: { team: a, extra: x }\n",
	"apps/teams/b/two.yaml":                "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: two }\ndata: { team: b }\n",
}

const siteChart = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ .Release.Name }} }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: site } }
  template:
    metadata: { labels: { app: site }, annotations: { color: {{ .Values.color }} } }
    spec: { containers: [{ name: site, image: registry.example.com/site }] }
`

// TestArgoCD moves a cluster from Argo CD to trueup.
func TestArgoCD(t *testing.T) {
	s := newStage(t, "app*-crd.yaml")
	s.write(apps)
	checkout := s.repository("apps")
	s.asArgoCD()
	production := []string{"site:deployment/site", "team-a:configmap/one", "team-b:configmap/two"}
	before := s.look(production...)
	got := s.importing("trueup import argocd --environment prod --out new --checkout " + checkout)
	check := "trueup import argocd --check"
	if out, err := s.sh(s.dir, check); err == nil || !strings.Contains(out, "NOT SAFE") || !strings.Contains(out, "resources-finalizer") || !strings.Contains(out, "without an owner") {
		t.Fatalf("the check finds nothing before the first step: %v\n%s", err, out)
	}
	person := map[string]func(){"Put trueup's configuration in its place": func() { s.settle(checkout) }}
	rest := s.carryOut(got.Steps, "Put trueup's configuration in its place", person)
	plan := "trueup plan --config new/server.yaml --dir " + checkout
	if n := s.actions(s.dir, plan); n["adopt"] != len(production) || len(n) != 1 {
		t.Fatalf("the first plan is not one of adoptions: %v\n%s", n, s.must(s.dir, plan))
	}
	if out, err := s.sh(s.dir, check+" --config new/server.yaml --checkout apps="+checkout); err == nil || strings.Contains(out, "NOT SAFE") || !strings.Contains(out, "not adopted yet") {
		t.Errorf("the definitions are safe, but nothing is adopted yet: %v\n%s", err, out)
	}
	s.carryOut(rest, "", nil)
	after := s.look(production...)
	s.same(before, after)
	for o, a := range after {
		// Applied by the client, Argo CD's manager also has what the server
		// filled in, which Git never had: that stays. What is in Git is
		// trueup's alone, as the field that leaves shows below.
		if !slices.Contains(a.Managers, "trueup") {
			t.Errorf("%s is managed by %v", o, a.Managers)
		}
		if a.Annotations["argocd.argoproj.io/tracking-id"] != "" {
			t.Errorf("%s still has Argo CD's annotation", o)
		}
	}
	if out, err := cluster.Run("get", "applications.argoproj.io", "-A"); err == nil {
		t.Errorf("Argo CD is still there: %s", out)
	}
	s.must(checkout, "sed -i 's/, extra: x//' teams/a/one.yaml && git commit -qam smaller")
	s.must(s.dir, "trueup apply --config new/server.yaml --auto-approve --dir "+checkout)
	if got := cluster.Kubectl(t, "-n", "team-a", "get", "configmap", "one", "-o", "jsonpath={.data}"); got != `{"team":"a"}` {
		t.Errorf("the field that left Git is still there: %s", got)
	}
}

// asArgoCD does what Argo CD has done: it installs itself, makes the
// Applications of its set, applies with its field manager and annotations, and
// says in the status what they have.
func (s *stage) asArgoCD() {
	s.Helper()
	label := "app.kubernetes.io/part-of=argocd"
	s.must(s.dir, "kubectl create namespace argocd && kubectl create namespace site && kubectl create namespace team-a && kubectl create namespace team-b")
	s.must(s.dir, "kubectl -n argocd create deployment argocd-server --image=registry.example.com/argocd && kubectl -n argocd label deployment argocd-server "+label)
	s.must(s.dir, "for crd in $(kubectl get customresourcedefinitions -o name | grep argoproj.io); do kubectl label $crd "+label+" || exit 1; done")
	s.must(s.dir, "kubectl apply --server-side --field-manager=argocd-controller -f apps/argocd/root.yaml")
	set := strings.TrimSpace(s.must(s.dir, "kubectl -n argocd get applicationset teams -o jsonpath={.metadata.uid}"))
	for _, team := range []string{"a", "b"} {
		s.write(map[string]string{"team.yaml": fmt.Sprintf(`
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: team-%[1]s
  namespace: argocd
  finalizers: [resources-finalizer.argocd.argoproj.io]
  ownerReferences: [{ apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: teams, uid: %[2]s, controller: true, blockOwnerDeletion: true }]
spec:
  project: default
  source: { repoURL: "https://git.example.com/acme/apps.git", targetRevision: main, path: teams/%[1]s }
  destination: { server: "https://kubernetes.default.svc", namespace: team-%[1]s }
  syncPolicy: { automated: { prune: true, selfHeal: true } }
`, team, set)})
		s.must(s.dir, "kubectl apply --server-side --field-manager=argocd-applicationset-controller -f team.yaml")
	}
	site := strings.NewReplacer("{{ .Release.Name }}", "site", "{{ .Values.replicas }}", "2", "{{ .Values.color }}", "green").Replace(siteChart)
	s.write(map[string]string{"site.yaml": site})
	s.argoApplies("site", "site", "site.yaml", "apps/Deployment/site", `{"group":"apps","version":"v1","kind":"Deployment","namespace":"site","name":"site"}`)
	s.argoApplies("team-a", "team-a", "apps/teams/a/one.yaml", "/ConfigMap/one", `{"version":"v1","kind":"ConfigMap","namespace":"team-a","name":"one"}`)
	s.argoApplies("team-b", "team-b", "apps/teams/b/two.yaml", "/ConfigMap/two", `{"version":"v1","kind":"ConfigMap","namespace":"team-b","name":"two"}`)
	own := func(kind, name string) string {
		return fmt.Sprintf(`{"group":"argoproj.io","version":"v1alpha1","kind":%q,"namespace":"argocd","name":%q}`, kind, name)
	}
	s.argoStatus("root", own("Application", "site"), own("Application", "root"), own("ApplicationSet", "teams"), own("AppProject", "default"))
	for _, x := range []string{"application site", "applicationset teams"} {
		kind, name, _ := strings.Cut(x, " ")
		s.must(s.dir, "kubectl -n argocd annotate "+kind+" "+name+" 'argocd.argoproj.io/tracking-id=root:argoproj.io/"+map[string]string{"application": "Application", "applicationset": "ApplicationSet"}[kind]+":argocd/"+name+"'")
	}
}

// argoApplies applies a file as an Application does: not server-side, with the
// annotation of what was applied last.
func (s *stage) argoApplies(app, namespace, file, object, status string) {
	s.Helper()
	group, rest, _ := strings.Cut(object, "/")
	kind, name, _ := strings.Cut(rest, "/")
	id := fmt.Sprintf("%s:%s/%s:%s/%s", app, group, kind, namespace, name)
	s.must(s.dir, "kubectl annotate --local -o json -f "+file+" 'argocd.argoproj.io/tracking-id="+id+"' > marked.json && kubectl -n "+namespace+" apply --field-manager=argocd-controller -f marked.json")
	s.argoStatus(app, status)
}

func (s *stage) argoStatus(app string, resources ...string) {
	s.Helper()
	s.must(s.dir, "kubectl -n argocd patch application.argoproj.io "+app+` --type merge -p '{"status":{"resources":[`+strings.Join(resources, ",")+`]}}'`)
}
