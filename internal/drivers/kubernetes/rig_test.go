package kubernetes_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
	"trueup.dev/trueup/internal/plan"
)

// target is a target that is planned and applied as the engine does it.
type target struct {
	t          *testing.T
	kubeconfig []byte
	session    driver.Session
	spec       kubernetes.Spec
	mode       plan.Mode
	owned      driver.Inventory
	namespace  string
	id         string
	previously map[plan.Address]plan.Address
	journal    func(*drivertest.Journal) // to make it fail
}

// rig is a target on a fake server.
type rig struct {
	*kubefake.Server
	target
}

func newRig(t *testing.T) *rig {
	t.Parallel()
	s := kubefake.New(t)
	s.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	r := &rig{s, target{t: t, kubeconfig: s.Kubeconfig(), mode: plan.Apply, owned: driver.Inventory{}, namespace: "shop"}}
	r.spec.Wait = kubernetes.Wait{Healthy: 20 * time.Second, Hooks: 20 * time.Second, Gone: 20 * time.Second, Kinds: 20 * time.Second}
	r.open()
	return r
}

func (r *target) open() {
	r.t.Helper()
	session, err := kubernetes.New().Open(r.t.Context(), environment(r.kubeconfig, nil), driver.Write)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = session.Close() })
	r.session = session
}

// input puts documents into the target's directory. They are written for the
// namespace shop.
func (r *target) input(docs ...string) driver.Input {
	text := strings.ReplaceAll(join(docs), "namespace: shop", "namespace: "+r.namespace)
	return driver.Input{Target: cmp.Or(r.id, r.namespace), Tree: fstest.MapFS{"app/all.yaml": {Data: []byte(text)}}, Path: "app", Spec: &r.spec, Scope: &kubernetes.Scope{},
		Mode: r.mode, Now: time.Now(), Inventory: maps.Clone(r.owned), Previously: r.previously}
}

// plan plans; a fake server tells that it did not write.
func (r *rig) plan(docs ...string) *plan.Plan {
	r.t.Helper()
	before := r.Count(kubefake.Writes)
	p := r.target.plan(docs...)
	if n := r.Count(kubefake.Writes) - before; n > 0 {
		r.t.Fatalf("the plan made %d writes", n)
	}
	return p
}

// plan plans, and sends the plan through JSON.
func (r *target) plan(docs ...string) *plan.Plan {
	r.t.Helper()
	p, err := r.session.Plan(r.t.Context(), r.input(docs...))
	if err != nil {
		r.t.Fatal(err)
	}
	if len(p.UnknownScopes()) > 0 {
		r.t.Fatalf("unknown: %+v", p.Scopes)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		r.t.Fatal(err)
	}
	out := &plan.Plan{}
	if err := json.Unmarshal(raw, out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

func join(docs []string) string { return strings.Join(docs, "\n---\n") }

// outcome is what came of a sync.
type outcome struct {
	plan    *plan.Plan
	results map[plan.Address]plan.Result
	err     error
	log     string
}

// apply applies a plan as an approval lets it.
func (r *target) apply(ctx context.Context, p *plan.Plan, docs ...string) outcome {
	r.t.Helper()
	for i := range p.Changes {
		p.Changes[i].Conflict = ""
	}
	j := drivertest.NewJournal(r.owned, p)
	if r.journal != nil {
		r.journal(j)
	}
	out := outcome{plan: p, results: map[plan.Address]plan.Result{}}
	out.err = r.session.Apply(ctx, r.input(docs...), p, j)
	for _, res := range j.Results() {
		out.results[res.Address] = res
	}
	r.owned, out.log = j.Inventory(), j.Log()
	return out
}

// sync plans and applies.
func (r *target) sync(docs ...string) outcome {
	r.t.Helper()
	return r.apply(r.t.Context(), r.plan(docs...), docs...)
}

// good syncs, expects success, and that nothing is left to do.
func (r *target) good(docs ...string) outcome {
	r.t.Helper()
	out := r.sync(docs...)
	if out.err != nil {
		r.t.Fatal(out.err)
	}
	for a, res := range out.results {
		if res.Outcome != plan.Applied {
			r.t.Errorf("%s: %s: %s", a, res.Outcome, res.Error)
		}
	}
	if p := r.plan(docs...); !p.Empty() {
		r.t.Errorf("after the apply there is still to do:\n%s", show(p))
	}
	return out
}

func show(p *plan.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s %s %q %q\n", c.Action, c.Address, c.Reason, c.Note, c.Conflict)
	}
	return b.String()
}

// is expects an outcome whose error says something.
func (o outcome) is(t testing.TB, a plan.Address, want plan.Outcome, says string) {
	t.Helper()
	if res := o.results[a]; res.Outcome != want || !strings.Contains(res.Error, says) {
		t.Errorf("%s: %s: %s; it should be %s: …%s…", a, res.Outcome, res.Error, want, says)
	}
}

// written gives the objects that were written since the last Forget, in order.
func (r *rig) written() []string {
	var out []string
	for _, q := range r.Requests() {
		if kubefake.Writes(q) {
			out = append(out, q.Verb+" "+q.Resource.Resource+"/"+q.Name)
		}
	}
	return out
}

// before expects one write before another.
func (r *rig) before(first, second string) {
	r.t.Helper()
	all := r.written()
	a, b := slices.Index(all, first), slices.Index(all, second)
	if a < 0 || b < 0 || a > b {
		r.t.Errorf("%s should come before %s: %v", first, second, all)
	}
}

func (r *rig) there(apiVersion, kind, name string) bool {
	return r.Get(apiVersion, kind, "shop", name) != nil
}

// doc writes a manifest in the namespace shop.
func doc(apiVersion, kind, name, rest string, annotations ...string) string {
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n  namespace: shop\n", apiVersion, kind, name)
	if len(annotations) > 0 {
		text += "  annotations:\n"
		for _, a := range annotations {
			k, v, _ := strings.Cut(a, ": ")
			text += fmt.Sprintf("    %s: %q\n", k, v)
		}
	}
	return text + rest + "\n"
}

func settings(name, value string, annotations ...string) string {
	return doc("v1", "ConfigMap", name, "data: {value: \""+value+"\"}", annotations...)
}

func job(name string, annotations ...string) string {
	return doc("batch/v1", "Job", name, "spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c:1}]}}}", annotations...)
}

func deployment(name, image string, annotations ...string) string {
	return doc("apps/v1", "Deployment", name, `spec:
  selector: {matchLabels: {app: `+name+`}}
  template:
    metadata: {labels: {app: `+name+`}}
    spec: {containers: [{name: c, image: "example.test/c:`+image+`"}]}`, annotations...)
}

const (
	widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.acme.example.com}
spec:
  group: acme.example.com
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}]
`
	namespaceLab = "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n"
)

func widget(name string, annotations ...string) string {
	return doc("acme.example.com/v1", "Widget", name, "spec: {size: 1}", annotations...)
}

func scopeOf(namespaces ...string) *kubernetes.Scope {
	return &kubernetes.Scope{Namespaces: namespaces}
}

// set makes a config map from outside and gives its name.
func (r *rig) set(name string) string {
	r.Set("kubectl", settings(name, "1"))
	return name
}

// deleter deletes from outside, by the API.
type deleter struct{ dynamic.ResourceInterface }

func (d deleter) Delete(ctx context.Context, name string) error {
	return d.ResourceInterface.Delete(ctx, name, metav1.DeleteOptions{})
}

func (r *rig) dynamic(resource string) dynamic.NamespaceableResourceInterface {
	r.t.Helper()
	d, err := dynamic.NewForConfig(r.Config())
	if err != nil {
		r.t.Fatal(err)
	}
	return d.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource})
}

func (r *rig) client() deleter     { return deleter{r.dynamic("configmaps").Namespace("shop")} }
func (r *rig) namespaces() deleter { return deleter{r.dynamic("namespaces")} }

func replicasOf(kind string) []ignore.Rule {
	return []ignore.Rule{{Kind: kind, Pointers: []string{"/spec/replicas"}}}
}
