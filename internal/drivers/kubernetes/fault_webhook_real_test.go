//go:build real

package kubernetes_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admission "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"trueup.dev/trueup/internal/plan"
)

// webhook is an admission webhook for the config maps of one namespace.
type webhook struct {
	t     *testing.T
	ns    string
	text  string
	delay time.Duration
	asked atomic.Int64
	ended chan struct{} // closed when the test ends
}

// newWebhook serves a webhook from the test process and puts it in force.
func newWebhook(t *testing.T, ns, sideEffects string, timeout int, delay time.Duration, review func(*admission.AdmissionRequest) *admission.AdmissionResponse) *webhook {
	t.Helper()
	x := &webhook{t: t, ns: ns, delay: delay, ended: make(chan struct{})}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in admission.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Request == nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		x.asked.Add(1)
		select {
		case <-time.After(x.delay):
		case <-x.ended:
		}
		out := admission.AdmissionReview{TypeMeta: in.TypeMeta, Response: review(in.Request)}
		out.Response.UID = in.Request.UID
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	}))
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(func() { close(x.ended); h.Close() })
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	x.text = fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: guard.example.com
  admissionReviewVersions: [v1]
  sideEffects: %[2]s
  failurePolicy: Fail
  timeoutSeconds: %[3]d
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  clientConfig: {url: %[4]q, caBundle: %[5]q}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
`, ns, sideEffects, timeout, h.URL, base64.StdEncoding.EncodeToString(ca))
	if _, err := cluster.RunIn(x.text, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.remove)
	eventually(t, "the webhook is in force", func() bool {
		_, err := x.probe()
		return x.asked.Load() > 0 || err != nil && strings.Contains(err.Error(), "does not support dry run")
	})
	return x
}

func (x *webhook) probe() (string, error) {
	return cluster.Run("-n", x.ns, "create", "configmap", "probe", "--dry-run=server", "--request-timeout=1s")
}

// remove takes the webhook out of force.
func (x *webhook) remove() {
	x.t.Helper()
	if _, err := cluster.RunIn(x.text, "delete", "--ignore-not-found", "-f", "-"); err != nil {
		x.t.Fatal(err)
	}
	eventually(x.t, "the webhook is out of force", func() bool {
		before := x.asked.Load()
		_, err := x.probe()
		return err == nil && x.asked.Load() == before
	})
}

func allow() *admission.AdmissionResponse { return &admission.AdmissionResponse{Allowed: true} }

func deny(why string) *admission.AdmissionResponse {
	return &admission.AdmissionResponse{Result: &metav1.Status{Message: why, Code: http.StatusForbidden}}
}

// slow is a webhook that allows everything, after a while.
func slow(t *testing.T, ns string, takes time.Duration, timeout int) *webhook {
	t.Helper()
	return newWebhook(t, ns, "None", timeout, takes, func(*admission.AdmissionRequest) *admission.AdmissionResponse { return allow() })
}

func TestWebhookThatDenies(t *testing.T) {
	s := newSite(t)
	s.good(settings("a", "one"), settings("b", "one"))
	hook := newWebhook(t, s.ns, "None", 5, 0, func(r *admission.AdmissionRequest) *admission.AdmissionResponse {
		if r.Name == "b" {
			return deny("b is sacred")
		}
		return allow()
	})
	p := s.plan(settings("a", "two"), settings("b", "two"))
	if text := show(p); !strings.Contains(text, "b is sacred") || len(p.Changes) != 2 {
		t.Errorf("the plan does not show that b is refused:\n%s", text)
	}
	out := s.apply(t.Context(), p, settings("a", "two"), settings("b", "two"))
	out.is(t, s.address("ConfigMap", "a"), plan.Applied, "")
	out.is(t, s.address("ConfigMap", "b"), plan.Failed, "b is sacred")
	if s.value("a") != "two" || s.value("b") != "one" {
		t.Errorf("a is %q, b is %q", s.value("a"), s.value("b"))
	}
	if o, owned := s.owned[plan.Key{Address: s.address("ConfigMap", "b")}]; !owned || o.Pending {
		t.Errorf("b is still ours, and certain: %+v", o)
	}
	hook.remove()
	s.good(settings("a", "two"), settings("b", "two"))
}

// A webhook whose server is silent or away, and that has to be asked.
func TestWebhookThatTimesOut(t *testing.T) {
	s := newSite(t)
	s.good(settings("a", "one"), deployment("web", "1"))
	hook := slow(t, s.ns, 3*time.Second, 1)
	docs := []string{settings("a", "two"), settings("new", "one"), deployment("web", "2")}
	p := s.plan(docs...)
	if text := show(p); strings.Count(text, "guard.example.com") != 2 {
		t.Errorf("the plan does not show what is refused:\n%s", text)
	}
	out := s.apply(t.Context(), p, docs...)
	out.is(t, s.address("ConfigMap", "a"), plan.Failed, "failed calling webhook")
	out.is(t, s.address("ConfigMap", "new"), plan.Failed, "failed calling webhook")
	if s.value("a") != "one" || s.value("new") != "" {
		t.Errorf("a is %q, new is %q", s.value("a"), s.value("new"))
	}
	if _, owned := s.owned[plan.Key{Address: s.address("ConfigMap", "new")}]; owned {
		t.Error("what was not made is owned")
	}
	hook.remove()
	s.good(docs...)
}

// A webhook that wants to know nothing of dry runs. (Servers themselves refuse
// them for webhooks with side effects, which have not been allowed since 1.22.)
func TestWebhookThatTakesNoDryRuns(t *testing.T) {
	s := newSite(t)
	s.good(settings("a", "one"), settings("still", "one"))
	newWebhook(t, s.ns, "NoneOnDryRun", 5, 0, func(r *admission.AdmissionRequest) *admission.AdmissionResponse {
		if r.DryRun != nil && *r.DryRun && r.Name != "probe" {
			return deny("this webhook does not support dry run")
		}
		return allow()
	})
	docs := []string{settings("a", "two"), settings("new", "one"), settings("still", "one")}
	s.drop() // what the session remembers needs no dry run
	p := s.plan(docs...)
	for _, c := range p.Changes {
		if !c.Simulated || !strings.Contains(c.Note, "known after apply") {
			t.Errorf("%s %s: %q: it is shown as if it were certain", c.Action, c.Address, c.Note)
		}
	}
	if len(p.Changes) != 2 {
		t.Errorf("expected a change of a and of new:\n%s", show(p))
	}
	s.good(docs...)
	if s.value("a") != "two" || s.value("new") != "one" {
		t.Errorf("a is %q, new is %q", s.value("a"), s.value("new"))
	}
	s.drop()
	if p := s.plan(docs...); !p.Empty() {
		t.Errorf("in a new session there is still to do:\n%s", show(p))
	}
}

// A webhook that changes what is applied: that is no difference afterwards.
func TestWebhookThatMutates(t *testing.T) {
	s := newSite(t)
	kind := admission.PatchTypeJSONPatch
	newWebhook(t, s.ns, "None", 5, 0, func(r *admission.AdmissionRequest) *admission.AdmissionResponse {
		return &admission.AdmissionResponse{Allowed: true, PatchType: &kind, Patch: []byte(`[{"op": "add", "path": "/data/injected", "value": "yes"}]`)}
	})
	s.good(settings("a", "one"))
	s.drop()
	if p := s.plan(settings("a", "one")); !p.Empty() {
		t.Errorf("in a new session there is still to do:\n%s", show(p))
	}
	if got := s.kubectl("", "get", "configmap", "a", "-o", "jsonpath={.data.injected}"); got != "yes" {
		t.Errorf("the webhook's field is %q", got)
	}
	s.good(settings("a", "two"))
}
