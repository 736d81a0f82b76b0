//go:build real

package kubetest_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/kubetest"
)

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: example.test/c:1}]}
`

func TestDeploymentRollsOutAndOutlivesARestart(t *testing.T) {
	c := kubetest.Start(t)
	ns := c.Namespace(t)
	if _, err := c.RunIn(deployment, "-n", ns, "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	c.Kubectl(t, "-n", ns, "rollout", "status", "deployment/web", "--timeout=60s")
	c.Stop()
	if _, err := c.Run("get", "namespaces"); err == nil {
		t.Fatal("a stopped cluster answers")
	}
	if err := c.Again(); err != nil {
		t.Fatal(err)
	}
	if out := c.Kubectl(t, "-n", ns, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"); strings.TrimSpace(out) != "2" {
		t.Errorf("after a restart %s pods are ready, not 2", out)
	}
}
