package kubernetes_test

import (
	"encoding/json"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// TestAHooksNameThatIsSomebodyElsesByNow: a hook's object may go by itself, and
// its name be taken: what is there then is none of the target's.
func TestAHooksNameThatIsSomebodyElsesByNow(t *testing.T) {
	for _, mode := range []plan.Mode{plan.Apply, plan.Destroy} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.good(stays, job("gone", postSync, policy("HookSucceeded")))
			r.Set("kubectl", job("gone"))
			r.mode = mode
			p := r.plan(stays)
			if strings.Contains(show(p), "delete Job.batch/shop/gone") {
				t.Errorf("%s", show(p))
			}
			r.apply(t.Context(), p, stays)
			if !r.there("batch/v1", "Job", "gone") {
				t.Error("somebody else's object was deleted")
			}
			if _, owned := r.owned[plan.Key{Address: "Job.batch/shop/gone"}]; owned {
				t.Error("it is still ours")
			}
		})
	}
}

// TestAnObjectThatBecomesAHook: to run it as a hook deletes what stood there,
// which nobody is to approve without seeing it.
func TestAnObjectThatBecomesAHook(t *testing.T) {
	r := newRig(t)
	r.good(stays, deployment("api", "1"))
	p := r.plan(stays, deployment("api", "1", preSync), settings("new", "1"))
	for _, c := range p.Changes {
		if c.Address == "Deployment.apps/shop/api" && !strings.Contains(c.Conflict, "deleted and made anew") {
			t.Errorf("%s", show(p))
		}
	}
	if im := p.Impact()["object"]; im.Replace != 1 {
		t.Errorf("the impact is %+v", im)
	}
}

// TestARefusedHookShowsNoSecret that the API server quotes.
func TestARefusedHookShowsNoSecret(t *testing.T) {
	const canary = "canary-2718"
	b := newBed(t, nil)
	text := strings.Replace(job("seed", preSync), "image:", "env: [{name: PASSWORD, value: '{{ .password }}'}], image:", 1)
	b.spec.Spec = render.Spec{Templates: []string{"*.yaml"}}
	in := b.input(text, settings("a", "1"))
	in.Values = map[string]plan.Output{"password": {Value: json.RawMessage(`"` + canary + `"`), Sensitive: true}}
	p, err := b.prepared(in)
	if err != nil {
		t.Fatal(err)
	}
	b.Deny(func(q kubefake.Request) error {
		if q.Verb == "create" {
			return kubefake.Status(422, "Invalid", "Invalid value: "+string(q.Body))
		}
		return nil
	})
	j := drivertest.NewJournal(b.owned, p)
	_ = b.session.Apply(t.Context(), in, approved(p), j)
	raw, err := json.Marshal(j.Results())
	if err != nil || !strings.Contains(string(raw), "Invalid value") || strings.Contains(string(raw)+j.Log(), canary) {
		t.Errorf("%v: %s", err, raw)
	}
}
