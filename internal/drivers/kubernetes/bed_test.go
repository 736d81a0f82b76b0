package kubernetes_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

// bed is a target on a fake server, planned and applied as the engine does it:
// through JSON, in one session.
type bed struct {
	*kubefake.Server
	t       *testing.T
	session driver.Session
	spec    kubernetes.Spec
	scope   kubernetes.Scope
	now     time.Time
	owned   driver.Inventory
}

func newBed(t *testing.T, change func(*kubernetes.Connect)) *bed {
	t.Helper()
	s := kubefake.New(t)
	s.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	b := &bed{Server: s, t: t, spec: kubernetes.Spec{Wait: kubernetes.Wait{Kinds: 2 * time.Second}}, now: time.Unix(1_800_000_000, 0), owned: driver.Inventory{}}
	b.open(change)
	return b
}

func (b *bed) open(change func(*kubernetes.Connect)) {
	b.t.Helper()
	var err error
	if b.session, err = kubernetes.New().Open(b.t.Context(), environment(b.Kubeconfig(), change), driver.Write); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) input(docs ...string) driver.Input {
	return driver.Input{Target: "t", Tree: fstest.MapFS{"app/all.yaml": {Data: []byte(strings.Join(docs, "\n---\n"))}}, Path: "app",
		Spec: &b.spec, Scope: &b.scope, Mode: plan.Apply, Now: b.now, Inventory: maps.Clone(b.owned)}
}

func (b *bed) plan(docs ...string) *plan.Plan {
	b.t.Helper()
	p, err := b.session.Plan(b.t.Context(), b.input(docs...))
	if err != nil {
		b.t.Fatal(err)
	}
	if u := p.UnknownScopes(); len(u) > 0 {
		b.t.Fatalf("unknown: %s", u[0].Unknown)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		b.t.Fatal(err)
	}
	out := &plan.Plan{}
	if err := json.Unmarshal(raw, out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// approved is a plan with its conflicts lifted, as the engine hands it to
// Apply.
func approved(p *plan.Plan) *plan.Plan {
	for i := range p.Changes {
		p.Changes[i].Conflict = ""
	}
	return p
}

func (b *bed) apply(p *plan.Plan, docs ...string) ([]plan.Result, error) {
	b.t.Helper()
	j := drivertest.NewJournal(b.owned, p)
	err := b.session.Apply(b.t.Context(), b.input(docs...), p, j)
	b.owned = j.Inventory()
	return j.Results(), err
}

// sync plans and applies, expects all to be applied and nothing to be left.
func (b *bed) sync(docs ...string) *plan.Plan {
	b.t.Helper()
	p := b.plan(docs...)
	b.mustApply(p, docs...)
	return p
}

func (b *bed) mustApply(p *plan.Plan, docs ...string) {
	b.t.Helper()
	res, err := b.apply(p, docs...)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range res {
		if r.Outcome != plan.Applied {
			b.t.Fatalf("%s is %s: %s", r.Key, r.Outcome, r.Error)
		}
	}
	if p := b.plan(docs...); !p.Empty() {
		b.t.Fatalf("after the apply there is still to do:\n%s", written(p))
	}
}

func written(p *plan.Plan) string {
	raw, err := json.MarshalIndent(p.Changes, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// only expects one change.
func (b *bed) only(p *plan.Plan, address plan.Address, action plan.Action) plan.Change {
	b.t.Helper()
	if len(p.Changes) != 1 || p.Changes[0].Address != address || p.Changes[0].Action != action {
		b.t.Fatalf("expected only %s %s, got:\n%s", action, address, written(p))
	}
	return p.Changes[0]
}

// contains expects texts in a text.
func contains(t *testing.T, in string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if !strings.Contains(in, s) {
			t.Errorf("%q is missing in %q", s, in)
		}
	}
}

func web(replicas, image string, more ...string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {` + strings.Join(more, ", ") + `}}
spec:
  replicas: ` + replicas + `
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "example.test/c:` + image + `"}]}
`
}

// conflictWith is a server's answer to an apply, as it answers when others own
// the fields.
func conflictWith(fields map[string]string) error {
	err := kubefake.Status(409, "Conflict", "Apply failed").(*apierrors.StatusError)
	err.ErrStatus.Details = &metav1.StatusDetails{}
	for f, m := range fields {
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Field: f, Message: m})
	}
	return err
}
