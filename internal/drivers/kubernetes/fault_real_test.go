//go:build real

package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

// site is a target with a namespace of its own on the real server. It is
// planned and applied as the engine does it: the plan goes through JSON, and a
// session that could not reach the server is opened anew.
type site struct {
	t          *testing.T
	ns         string
	kubeconfig []byte
	change     func(*kubernetes.Connect)
	session    driver.Session
	spec       kubernetes.Spec
	owned      driver.Inventory
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, ns: cluster.Namespace(t), kubeconfig: kubeconfig(t), owned: driver.Inventory{}}
	s.spec.Wait = kubernetes.Wait{Healthy: 20 * time.Second, Gone: 2 * time.Second, Kinds: 5 * time.Second}
	return s
}

func (s *site) connected() driver.Session {
	s.t.Helper()
	if s.session == nil {
		var err error
		if s.session, err = kubernetes.New().Open(s.t.Context(), environment(s.kubeconfig, s.change), driver.Write); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { s.drop() })
	}
	return s.session
}

// drop closes the session, as the engine does with one that is of no more use.
func (s *site) drop() {
	if s.session != nil {
		_ = s.session.Close()
	}
	s.session = nil
}

func (s *site) input(docs ...string) driver.Input {
	text := strings.ReplaceAll(strings.Join(docs, "\n---\n"), "namespace: shop", "namespace: "+s.ns)
	return driver.Input{Target: s.ns, Tree: fstest.MapFS{"app/all.yaml": {Data: []byte(text)}}, Path: "app", Spec: &s.spec, Scope: &kubernetes.Scope{},
		Mode: plan.Apply, Now: time.Now(), Inventory: maps.Clone(s.owned)}
}

// try plans; what keeps it from planning is an error, also an unknown scope.
func (s *site) try(docs ...string) (*plan.Plan, error) {
	s.t.Helper()
	p, err := s.connected().Plan(s.t.Context(), s.input(docs...))
	if errors.Is(err, driver.ErrUnreachable) {
		s.drop()
	}
	if err != nil {
		return nil, err
	}
	if u := p.UnknownScopes(); len(u) > 0 {
		if !p.Empty() {
			s.t.Errorf("a scope that is unknown has changes:\n%s", show(p))
		}
		return nil, errors.New(u[0].Unknown)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		s.t.Fatal(err)
	}
	out := &plan.Plan{}
	return out, json.Unmarshal(raw, out)
}

func (s *site) plan(docs ...string) *plan.Plan {
	s.t.Helper()
	p, err := s.try(docs...)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *site) apply(ctx context.Context, p *plan.Plan, docs ...string) outcome {
	s.t.Helper()
	j := drivertest.NewJournal(s.owned, p)
	return s.applyWith(ctx, j, p, docs...)
}

func (s *site) applyWith(ctx context.Context, j *drivertest.Journal, p *plan.Plan, docs ...string) outcome {
	s.t.Helper()
	out := outcome{plan: p, results: map[plan.Address]plan.Result{}}
	out.err = s.connected().Apply(ctx, s.input(docs...), p, j)
	for _, res := range j.Results() {
		if was, twice := out.results[res.Address]; twice {
			s.t.Errorf("%s has two results: %s, %s", res.Address, was.Outcome, res.Outcome)
		}
		out.results[res.Address] = res
	}
	s.owned, out.log = j.Inventory(), j.Log()
	return out
}

func (s *site) sync(docs ...string) outcome {
	s.t.Helper()
	return s.apply(s.t.Context(), s.plan(docs...), docs...)
}

// good syncs, expects success, and that nothing is left to do.
func (s *site) good(docs ...string) outcome {
	s.t.Helper()
	out := s.sync(docs...)
	if out.err != nil {
		s.t.Fatalf("%v\n%s", out.err, out.log)
	}
	for a, res := range out.results {
		if res.Outcome != plan.Applied {
			s.t.Errorf("%s: %s: %s", a, res.Outcome, res.Error)
		}
	}
	if p := s.plan(docs...); !p.Empty() {
		s.t.Errorf("after the apply there is still to do:\n%s", show(p))
	}
	return out
}

// fingerprint gives the target's fingerprint, "" where there is none.
func (s *site) fingerprint(docs ...string) string {
	s.t.Helper()
	fp, err := s.connected().(driver.Fingerprinter).Fingerprint(s.t.Context(), s.input(docs...))
	if err != nil {
		return ""
	}
	return fp[""]
}

// kubectl asks or changes the cluster itself.
func (s *site) kubectl(stdin string, args ...string) string {
	s.t.Helper()
	return realWorld{s.t, s.ns}.kubectl(s.t, stdin, args...)
}

// names lists the objects of a kind in the namespace.
func (s *site) names(kind string) []string {
	s.t.Helper()
	out := strings.Fields(s.kubectl("", "get", kind, "-o", "name"))
	kept := out[:0]
	for _, n := range out {
		if n != "configmap/kube-root-ca.crt" {
			kept = append(kept, n)
		}
	}
	return kept
}

// value gives what a config map of settings holds; "" if it is not there.
func (s *site) value(name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.kubectl("", "get", "configmap", name, "--ignore-not-found", "-o", "jsonpath={.data.value}"))
}

// address of an object in the site's namespace.
func (s *site) address(kind, name string) plan.Address {
	return plan.Address(fmt.Sprintf("%s/%s/%s", kind, s.ns, name))
}

// user makes a service account with a role and acts as it by a token of its own.
func (s *site) user(rules string) {
	s.t.Helper()
	s.kubectl("", "create", "serviceaccount", "deployer")
	s.kubectl(fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer}
rules: %s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: %s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "%[2]s-identity"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: trueup-identity}
subjects: [{kind: ServiceAccount, name: deployer, namespace: %[2]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: trueup-identity}
rules: [{apiGroups: [""], resources: [namespaces], resourceNames: [kube-system], verbs: [get]}]
`, rules, s.ns), "apply", "-f", "-")
	s.kubeconfig = cluster.ByToken(s.t, strings.TrimSpace(s.kubectl("", "create", "token", "deployer")))
	s.drop()
}

const everything = `[{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]`

// eventually waits for something that a server takes a moment for.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 600 {
		if f() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not within 30 s: %s", what)
}
