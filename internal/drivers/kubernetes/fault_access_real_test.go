//go:build real

package kubernetes_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

func TestExpiredCredentials(t *testing.T) {
	for name, kubeconfig := range map[string][]byte{
		"certificate": cluster.ByCertificate(t, "jane", []string{"system:masters"}, time.Now().Add(-time.Minute)),
		"token":       cluster.ByToken(t, "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"),
	} {
		s := newSite(t)
		s.good(settings("a", "one"))
		good := s.kubeconfig
		s.kubeconfig = kubeconfig
		s.drop()
		_, err := s.try(settings("a", "two"))
		if !errors.Is(err, driver.ErrUnreachable) || !errors.Is(err, kube.ErrDenied) || !strings.Contains(err.Error(), "does not accept the credentials") {
			t.Errorf("%s: %v", name, err)
		}
		if s.session != nil {
			t.Errorf("%s: the session would be kept, with the credentials that are not good", name)
		}
		s.kubeconfig = good
		s.good(settings("a", "two"))
	}
}

// A token that ends between plan and apply, and in the middle of one.
func TestTokenRevokedBeforeAnApply(t *testing.T) {
	s := newSite(t)
	good := s.kubeconfig
	s.user(everything)
	docs := []string{settings("a", "one"), settings("b", "one")}
	p := s.plan(docs...)
	s.kubectl("", "delete", "serviceaccount", "deployer")
	eventually(t, "the token is refused", func() bool { _, err := s.try(docs...); return err != nil })
	out := s.apply(t.Context(), p, docs...)
	if len(s.owned) != 0 || len(s.names("configmap")) != 0 {
		t.Errorf("%v; owned: %v", out.err, s.owned)
	}
	if out.err == nil { // the server was known to be the same a moment ago
		for a, r := range out.results {
			if r.Outcome != plan.Failed || !strings.Contains(r.Error, "does not accept the credentials") {
				t.Errorf("%s is %s: %s", a, r.Outcome, r.Error)
			}
		}
	} else if !errors.Is(out.err, driver.ErrUnreachable) {
		t.Error(out.err)
	}
	s.kubeconfig = good
	s.drop()
	s.good(docs...)
}

// The right to write one kind is taken away: the others go on.
func TestRightToWriteAKindIsRevoked(t *testing.T) {
	s := newSite(t)
	s.user(everything)
	docs := []string{settings("a", "one"), deployment("web", "1")}
	s.good(docs...)
	next := []string{settings("a", "two"), deployment("web", "2"), secretDoc("new", "hidden-value")}
	p := s.plan(next...)
	revoke := func(rules string) {
		s.kubectl("", "patch", "role", "deployer", "--type=merge", "-p", `{"rules": `+rules+`}`)
	}
	revoke(`[{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}, {"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch"]}]`)
	waitDenied(t, s, "patch", "configmaps")
	out := s.apply(t.Context(), p, next...)
	out.is(t, s.address("ConfigMap", "a"), plan.Failed, "forbidden")
	out.is(t, s.address("Secret", "new"), plan.Failed, "access denied")
	out.is(t, s.address("Deployment.apps", "web"), plan.Applied, "")
	if got := s.kubectl("", "get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"); !strings.HasSuffix(got, ":2") || s.value("a") != "one" {
		t.Errorf("the deployment has %q, a is %q", got, s.value("a"))
	}
	if strings.Contains(out.results[s.address("Secret", "new")].Error, "hidden-value") {
		t.Error("the secret shows")
	}
	// The next plan says so before anything is tried.
	p = s.plan(next...)
	if text := show(p); strings.Count(text, "forbidden") == 0 || strings.Contains(text, "web") {
		t.Errorf("the plan does not show what is forbidden:\n%s", text)
	}
	revoke(strings.NewReplacer("apiGroups", `"apiGroups"`, "resources", `"resources"`, "verbs", `"verbs"`).Replace(everything))
	eventually(t, "the right is back", func() bool { return can(s, "patch", "configmaps") })
	s.good(next...)
}

// Without the right to read a kind nothing is known: nothing is written,
// nothing forgotten.
func TestRightToReadAKindIsRevoked(t *testing.T) {
	s := newSite(t)
	s.user(everything)
	docs := []string{settings("a", "one"), settings("b", "one"), deployment("web", "1")}
	s.good(docs...)
	s.kubectl("", "patch", "role", "deployer", "--type=merge", "-p", `{"rules": [{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}]}`)
	waitDenied(t, s, "list", "configmaps")
	owned := len(s.owned)
	_, err := s.try(docs[2], settings("a", "two"))
	if err == nil || !strings.Contains(err.Error(), "configmaps") || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("%v", err)
	}
	if len(s.owned) != owned || s.value("b") != "one" {
		t.Errorf("%d objects are owned, b is %q", len(s.owned), s.value("b"))
	}
}

func can(s *site, verb, resource string) bool {
	out, _ := cluster.Run("-n", s.ns, "auth", "can-i", verb, resource, "--as=system:serviceaccount:"+s.ns+":deployer")
	return strings.TrimSpace(out) == "yes"
}

func waitDenied(t *testing.T, s *site, verb, resource string) {
	t.Helper()
	eventually(t, "the right is gone", func() bool { return !can(s, verb, resource) })
}

// A target that acts as a service account can do what that may, and no more.
func TestImpersonatedServiceAccount(t *testing.T) {
	s := newSite(t)
	admin := s.kubeconfig
	s.user(`[{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]`)
	s.kubeconfig, s.change = admin, func(c *kubernetes.Connect) { c.ServiceAccounts = []string{s.ns + "/deployer"} }
	s.spec.ServiceAccount = s.ns + "/deployer"
	s.good(settings("a", "one"))
	_, err := s.try(settings("a", "two"), deployment("web", "1"))
	if err == nil || !strings.Contains(err.Error(), "system:serviceaccount:"+s.ns+":deployer") || !strings.Contains(err.Error(), "deployments") {
		t.Errorf("a kind that it may not even read: %v", err)
	}
	if got := s.names("deployment"); len(got) != 0 || s.value("a") != "one" {
		t.Errorf("%v, %q", got, s.value("a"))
	}
	s.good(settings("a", "two"))
}

func secretDoc(name, value string) string {
	return doc("v1", "Secret", name, "stringData: {value: \""+value+"\"}")
}
