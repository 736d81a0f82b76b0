//go:build real

package kubernetes_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/plan"
)

// throttle lets a user write one object at a time: the rest is answered 429,
// with the advice to come again a second later.
const throttle = `apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: tight}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: tight}
spec:
  priorityLevelConfiguration: {name: tight}
  matchingPrecedence: 2
  rules: [{subjects: [{kind: ServiceAccount, serviceAccount: {namespace: NS, name: deployer}}], resourceRules: [{verbs: [patch], apiGroups: [""], resources: [configmaps], namespaces: [NS]}]}]
`

// refused tells how many requests the server has turned away.
func refused(t *testing.T) int {
	t.Helper()
	for line := range strings.Lines(cluster.Kubectl(t, "get", "--raw", "/debug/api_priority_and_fairness/dump_priority_levels")) {
		if f := strings.Split(line, ","); strings.TrimSpace(f[0]) == "tight" {
			n, err := strconv.Atoi(strings.TrimSpace(f[7]))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return -1
}

// TestBusyServer: a server that turns requests away is asked again when it says
// so, as long as a request may last; after that it is a failure, and certain.
func TestBusyServer(t *testing.T) {
	s := newSite(t)
	s.change = func(c *kubernetes.Connect) { c.Timeout = 20 * time.Second }
	s.user(everything)
	text := strings.ReplaceAll(throttle, "NS", s.ns)
	if _, err := cluster.RunIn(text, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cluster.RunIn(text, "delete", "--ignore-not-found", "-f", "-") })
	eventually(t, "the limit is in force", func() bool { return refused(t) == 0 })
	s.good(many(12, "one")...)
	if n := refused(t); n < 1 {
		t.Errorf("%d requests were turned away, the test shows nothing", n)
	}
	docs := many(12, "two")
	p := s.plan(docs...)
	s.change = func(c *kubernetes.Connect) { c.Timeout = 4 * time.Second }
	s.drop()
	hook := slow(t, s.ns, 8*time.Second, 10)
	out := s.apply(t.Context(), p, docs...)
	count := map[plan.Outcome]int{}
	for a, r := range out.results {
		count[r.Outcome]++
		want := map[plan.Outcome]string{plan.Unknown: "no answer within 4s", plan.Failed: "busy"}[r.Outcome]
		if want == "" || !strings.Contains(r.Error, want) {
			t.Errorf("%s is %s: %s", a, r.Outcome, r.Error)
		}
	}
	if count[plan.Failed] < 6 || count[plan.Unknown] < 1 {
		t.Errorf("%v", count)
	}
	hook.remove()
	s.change = nil
	s.drop()
	s.good(docs...)
	for _, n := range s.names("configmap") {
		if got := s.value(strings.TrimPrefix(n, "configmap/")); got != "two" {
			t.Errorf("%s is %q", n, got)
		}
	}
}

// TestRequestTimesOut: a server that answers too late leaves the outcome open,
// also where it did it in the end.
func TestRequestTimesOut(t *testing.T) {
	s := newSite(t)
	s.change = func(c *kubernetes.Connect) { c.Timeout = 2 * time.Second }
	docs := many(3, "one")
	p := s.plan(docs...)
	hook := slow(t, s.ns, 4*time.Second, 20)
	out := s.apply(t.Context(), p, docs...)
	for a, r := range out.results {
		if r.Outcome != plan.Unknown || !strings.Contains(r.Error, "no answer within 2s") {
			t.Errorf("%s is %s: %s", a, r.Outcome, r.Error)
		}
		if !s.owned[r.Key].Pending {
			t.Errorf("%s is not marked as one that may be there", a)
		}
	}
	hook.remove()
	s.drop()
	s.good(docs...)
	s.good(docs[0])
	if n := len(s.names("configmap")); n != 1 {
		t.Errorf("%d config maps are left", n)
	}
}
