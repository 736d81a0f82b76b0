package kubernetes_test

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

const canaryOld, canaryNew = "canary-old-1", "canary-new-2"

func (b *bed) withPassword(password string, docs ...string) driver.Input {
	b.spec.Spec = render.Spec{Templates: []string{"*.yaml"}}
	in := b.input(docs...)
	in.Values = map[string]plan.Output{"password": {Value: json.RawMessage(`"` + password + `"`), Sensitive: true}}
	return in
}

func withEnv(env, image string) string {
	return strings.Replace(deployment("api", image), "{name: c,", "{name: c, env: ["+env+"],", 1)
}

// TestSecretsInListsDoNotShow, wherever the lists have them.
func TestSecretsInListsDoNotShow(t *testing.T) {
	const secret, plain, other = "{name: PASSWORD, value: '{{ .password }}'}", "{name: A, value: plain}", "{name: B, value: more}"
	for name, c := range map[string]struct{ first, second string }{
		"put in front": {plain + ", " + other, secret + ", " + plain + ", " + other},
		"moved":        {plain + ", " + secret, secret + ", " + other + ", " + plain},
		"taken out":    {other + ", " + plain + ", " + secret, plain},
		"rotated":      {secret + ", " + plain, plain + ", " + other + ", " + secret},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, nil)
			in := b.withPassword(canaryOld, withEnv(c.first, "1"))
			p, err := b.prepared(in)
			if err != nil {
				t.Fatal(err)
			}
			b.applied(in, p)
			b.Edit("injector", "apps/v1", "Deployment", "shop", "api", "", func(u *unstructured.Unstructured) {
				list, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
				m := list[0].(map[string]any)
				env, _ := m["env"].([]any)
				m["env"] = append([]any{map[string]any{"name": "ZONE", "value": "x"}}, env...)
				_ = unstructured.SetNestedSlice(u.Object, list, "spec", "template", "spec", "containers")
			})
			in = b.withPassword(canaryNew, withEnv(c.second, "2"))
			if p, err = b.prepared(in); err != nil {
				t.Fatal(err)
			}
			b.hides(p, "plain")
			in.Tree = b.input(settings("stays", "1")).Tree
			if p, err = b.prepared(in); err != nil {
				t.Fatal(err)
			}
			b.hides(p, "plain")
		})
	}
}

// applied applies a plan of an input.
func (b *bed) applied(in driver.Input, p *plan.Plan) {
	b.t.Helper()
	j := drivertest.NewJournal(b.owned, p)
	if err := b.session.Apply(b.t.Context(), in, approved(p), j); err != nil {
		b.t.Fatal(err)
	}
	b.owned = j.Inventory()
}

// hides expects a plan to show no password, and something else.
func (b *bed) hides(p *plan.Plan, shows string) {
	b.t.Helper()
	if err := p.Mask(nil); err != nil {
		b.t.Fatal(err)
	}
	raw, err := json.Marshal(p)
	if err != nil || strings.Contains(string(raw), canaryOld) || strings.Contains(string(raw), canaryNew) {
		b.t.Errorf("%v: a secret shows: %s", err, written(p))
	}
	if !strings.Contains(string(raw), shows) {
		b.t.Errorf("too much is hidden: %s", written(p))
	}
}

// TestSecretsThatNobodyWaitsForDoNotShow in what a health check says.
func TestSecretsThatNobodyWaitsForDoNotShow(t *testing.T) {
	r := newRig(t)
	const unasked = "argocd.argoproj.io/ignore-healthcheck: true"
	docs := []string{doc("v1", "Secret", "one", "stringData: {password: "+canaryOld+"}", unasked), doc("v1", "Secret", "two", "stringData: {password: "+canaryNew+"}", preSync),
		job("api")}
	r.slow()
	r.sync(docs...)
	r.Edit("kube-controller-manager", "batch/v1", "Job", "shop", "api", "status", func(u *unstructured.Unstructured) {
		bad := map[string]any{"type": "Failed", "status": "True", "reason": "Test", "message": "Bad-" + canaryOld + "-" + canaryNew}
		_ = unstructured.SetNestedSlice(u.Object, []any{bad}, "status", "conditions")
	})
	err := r.session.(driver.HealthChecker).Health(t.Context(), r.input(docs...), map[string]any{"ready": "all"})
	if err == nil || !strings.Contains(err.Error(), "Bad-") || strings.Contains(err.Error(), canaryOld) || strings.Contains(err.Error(), canaryNew) {
		t.Errorf("%v", err)
	}
}
