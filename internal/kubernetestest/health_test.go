//go:build real

package kubernetestest

import (
	"strings"
	"testing"
)

const rollback = "    health: [{ready: all, within: 90s}]\n    onFailure: rollback\n"

// A version that does not come up ends with the reason, and the last healthy
// one is back and pinned; the bad commit is not tried again, a new one is.
func TestABadVersionIsRolledBackAndPinned(t *testing.T) {
	w := newWorld(t, "driftInterval: 2s", "")
	good := w.push(map[string]string{"trueup.yaml": w.manifest(rollback), "app/web.yaml": deployment("web", "1", "", ""), "app/settings.yaml": settings("settings", "one")})
	w.start()
	w.eventually("the first version", func() bool { s := w.target("app").Status; return s.Phase == "synced" && s.Good == good })

	bad := w.push(map[string]string{"app/web.yaml": deployment("web", "2", "  progressDeadlineSeconds: 4\n", "kubetest/fail: ImagePullBackOff"), "app/settings.yaml": settings("settings", "two")})
	w.eventually("rolled back", func() bool {
		x := w.target("app")
		return x.Desired.Source == "pin" && x.Desired.Commit == good && x.Status.Phase == "synced" && x.Status.Applied == good
	})
	if image := w.field("deployment/web", ".spec.template.spec.containers[0].image"); image != "example.test/c:1" {
		t.Errorf("the image is %s", image)
	}
	if v := w.field("configmap/settings", ".data.value"); v != "one" {
		t.Errorf("the settings are %s", v)
	}
	if n := w.field("deployment/web", ".status.readyReplicas"); n != "2" {
		t.Errorf("%s pods are ready", n)
	}
	if x := w.target("app"); x.Desired.Bad == "" {
		t.Errorf("the bad state is not remembered: %+v", x)
	}
	runs, _ := w.cli("get", "runs", "--target", "infra/app", "-o", "yaml")
	for _, want := range []string{"Deployment.apps/" + w.ns + "/web: the rollout made no progress", "container c: ImagePullBackOff: the annotation kubetest/fail asks for it", bad} {
		if !strings.Contains(runs, want) {
			t.Errorf("no run says %q:\n%s", want, runs)
		}
	}

	// What is not the target's own leaves it pinned.
	w.push(map[string]string{"README.md": "hello\n"})
	w.cli("sync", "infra/app", "--wait", "20s")
	if x := w.target("app"); x.Desired.Source != "pin" || w.field("deployment/web", ".spec.template.spec.containers[0].image") != "example.test/c:1" {
		t.Errorf("another commit took the pin away: %+v", x)
	}

	fixed := w.push(map[string]string{"app/web.yaml": deployment("web", "3", "", "")})
	w.eventually("the mended version", func() bool { s := w.target("app").Status; return s.Phase == "synced" && s.Good == fixed })
	if image := w.field("deployment/web", ".spec.template.spec.containers[0].image"); image != "example.test/c:3" {
		t.Errorf("the image is %s", image)
	}
	if v := w.field("configmap/settings", ".data.value"); v != "two" {
		t.Errorf("the settings are %s", v)
	}
}

// Without a deadline of its own, the time of the check ends the wait, and the
// reason is there as well. Without onFailure nothing is taken back.
func TestTheTimeOfACheckEnds(t *testing.T) {
	w := newWorld(t, "driftInterval: 1h", "")
	w.push(map[string]string{"trueup.yaml": w.manifest("    health: [{ready: Deployment, within: 4s}]\n"), "app/web.yaml": deployment("web", "1", "", "kubetest/fail: CrashLoopBackOff"),
		"app/job.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: never}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}\n"})
	w.start()
	w.eventually("failing", func() bool { return w.target("app").Status.Phase == "failed" })
	message := w.target("app").Status.Message
	for _, want := range []string{"not healthy within 4s", "0 of 1 ready", "0 of 2 pods available", "CrashLoopBackOff"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is missing in %s", want, message)
		}
	}
	if w.field("deployment/web", ".spec.replicas") != "2" {
		t.Error("the deployment was taken back")
	}
}

// A Job that fails ends the check at once, long before its time is over.
func TestAFailedJobEndsTheCheckAtOnce(t *testing.T) {
	w := newWorld(t, "driftInterval: 1h", "")
	w.push(map[string]string{"trueup.yaml": w.manifest("    health: [{ready: all, within: 1h}]\n"),
		"app/job.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\nspec: {backoffLimit: 0, template: {metadata: {annotations: {kubetest/exit: '3'}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}\n"})
	w.start()
	w.eventually("failing", func() bool { return w.target("app").Status.Phase == "failed" })
	message := w.target("app").Status.Message
	for _, want := range []string{"Job.batch/" + w.ns + "/migrate: it failed: BackoffLimitExceeded", "container c: ended with 3"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is missing in %s", want, message)
		}
	}
}

// A check with a mistake is found with the configuration, before anything is
// applied.
func TestABadCheckIsFoundEarly(t *testing.T) {
	w := newWorld(t, "driftInterval: 1h", "")
	w.push(map[string]string{"trueup.yaml": w.manifest("    health:\n      - ready: all\n        expressions: [{kind: Certificate.cert-manager.io, ready: 'object.status.'}]\n"), "app/s.yaml": settings("s", "1")})
	w.start()
	out := ""
	w.eventually("the mistake is shown", func() bool {
		out, _ = w.cli("get", "repositories", "-o", "json")
		return strings.Contains(out, "expressions[0].ready")
	})
	for _, want := range []string{"trueup.yaml", "targets[0].health[0].expressions[0].ready", "line 1, column 15"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in %s", want, out)
		}
	}
	if w.field("configmap/s", ".data.value") != "" {
		t.Error("it was applied")
	}
}
