//go:build real

package release_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/release"
)

func removal(g *rig) release.Removal { return release.Removal{Logf: g.logf} }

// job is a template of a Job whose pods end with a code.
func job(name, notes string, code int) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: %s, annotations: {%s}}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {kubetest/exit: "%d"}}
    spec: {restartPolicy: Never, containers: [{name: main, image: example.test/c:1}]}
`, name, notes, code)
}

func deployment(name, notes string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}, annotations: {%s}}
    spec: {containers: [{name: main, image: example.test/c:1}]}
`, name, name, name, notes)
}

// TestHooks run in the order of their weights, around the objects, and go as
// their policies say.
func TestHooks(t *testing.T) {
	g := newRig(t, map[string]string{
		"templates/a.yaml":    configMap("a", "x"),
		"templates/pre2.yaml": job("second", `helm.sh/hook: "pre-install", helm.sh/hook-weight: "2"`, 0),
		"templates/pre1.yaml": job("first", `helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "-1", helm.sh/hook-delete-policy: hook-succeeded`, 0),
		"templates/post.yaml": job("last", `helm.sh/hook: "post-install"`, 0),
	})
	w := g.resolve()
	var events []string
	for _, h := range w.Hooks {
		events = append(events, h.GetName()+" "+strings.Join(h.Events, "+"))
	}
	if len(w.Objects) != 1 || len(events) != 3 || !strings.Contains(strings.Join(events, ", "), "first pre-install+pre-upgrade") {
		t.Fatalf("%d objects, hooks %v", len(w.Objects), events)
	}
	g.mustDeploy()
	if got := g.kubectl("get", "jobs", "-o", "jsonpath={.items[*].metadata.name}"); got != "last second" {
		t.Errorf("jobs left: %q", got)
	}
	log := g.logged()
	for _, pair := range [][2]string{{"hook Job/first", "hook Job/second"}, {"hook Job/second", "waiting for 1 objects"}, {"waiting for 1 objects", "hook Job/last"}} {
		if i, k := strings.Index(log, pair[0]), strings.Index(log, pair[1]); i < 0 || k < i {
			t.Errorf("%q does not come before %q:\n%s", pair[0], pair[1], log)
		}
	}
	if w := g.resolve(); !w.Current {
		t.Errorf("%v", w.Differs)
	}
	g.r.Options.DisableHooks = true
	g.files["templates/a.yaml"] = configMap("a", "y")
	g.log = nil
	g.mustDeploy()
	if strings.Contains(g.logged(), "hook") {
		t.Errorf("hooks are disabled:\n%s", g.logged())
	}
}

// TestFailures tell why, with the reasons of the pods, and are taken back where
// that is asked for.
func TestFailures(t *testing.T) {
	g := newRig(t, map[string]string{
		"templates/a.yaml":    configMap("a", "x"),
		"templates/hook.yaml": job("migrate", `helm.sh/hook: "pre-install", helm.sh/hook-delete-policy: "hook-failed"`, 3),
	})
	err := g.deploy()
	var f *release.Failure
	if !errors.As(err, &f) || !f.Wrote || f.Restored || !strings.Contains(err.Error(), "container main ended with 3") {
		t.Fatalf("%v (%+v)", err, f)
	}
	if got := g.history(); got != "1 failed" {
		t.Errorf("history: %s", got)
	}
	if w := g.resolve(); w.Current || strings.Join(w.Differs, " ") != "revision 1 is failed" {
		t.Errorf("%v", w.Differs)
	}
	g.r.Options.RollbackOnFailure = true
	g.files["templates/hook.yaml"] = job("migrate", `helm.sh/hook: "pre-upgrade", helm.sh/hook-delete-policy: "hook-failed"`, 4)
	if err := g.deploy(); !errors.As(err, &f) || !f.Restored || !strings.Contains(err.Error(), "what it had installed was removed") {
		t.Fatalf("%v", err)
	}
	if got := g.history() + g.kubectl("get", "cm", "a", "--ignore-not-found", "-o", "name"); got != "" {
		t.Errorf("left: %s", got)
	}
	delete(g.files, "templates/hook.yaml")
	g.mustDeploy()

	g.r.Options.Timeout = 2 * time.Second
	g.files["templates/a.yaml"] = configMap("a", "changed")
	g.files["templates/web.yaml"] = deployment("web", "kubetest/fail: ImagePullBackOff")
	err = g.deploy()
	if !errors.As(err, &f) || !f.Restored || !strings.Contains(err.Error(), "ImagePullBackOff") || !strings.Contains(err.Error(), "rolled back to revision 1") {
		t.Fatalf("%v", err)
	}
	if got := g.history(); got != "1 superseded, 2 failed, 3 deployed" {
		t.Errorf("history: %s", got)
	}
	if got := g.kubectl("get", "cm", "a", "-o", "jsonpath={.data.value}") + g.kubectl("get", "deploy", "-o", "name"); got != "x" {
		t.Errorf("after the rollback: %q", got)
	}
}

// TestCancelled actions end soon, write nothing more, and leave a record from
// which the next one goes on.
func TestCancelled(t *testing.T) {
	for _, first := range []bool{true, false} {
		g := newRig(t, map[string]string{"templates/a.yaml": configMap("a", "x")})
		if !first {
			g.mustDeploy()
		}
		hook := "pre-install,pre-upgrade"
		g.files["templates/a.yaml"] = configMap("a", "y")
		g.files["templates/hook.yaml"] = strings.ReplaceAll(job("slow", fmt.Sprintf("helm.sh/hook: %q", hook), 0), `kubetest/exit: "0"`, `kubetest/fail: Stuck`)
		ctx, cancel := context.WithCancel(t.Context())
		o := g.order()
		o.Logf = func(format string, args ...any) {
			g.logf(format, args...)
			if strings.Contains(fmt.Sprintf(format, args...), "hook Job/slow") {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
		}
		began := time.Now()
		err := g.client.Deploy(ctx, g.r, g.records(), g.resolve(), o)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if got := g.kubectl("get", "cm", "a", "--ignore-not-found", "-o", "jsonpath={.data.value}"); got == "y" {
			t.Error("it went on in the background")
		}
		if got := g.history(); !strings.HasSuffix(got, "failed") && !strings.Contains(got, "pending") {
			t.Errorf("history: %s", got)
		}
		delete(g.files, "templates/hook.yaml")
		g.mustDeploy()
		if got := g.kubectl("get", "cm", "a", "-o", "jsonpath={.data.value}"); got != "y" {
			t.Errorf("after the next one: %s", got)
		}
	}
}

// TestUnlock: a revision that was left pending is marked as failed, then the
// upgrade goes on.
func TestUnlock(t *testing.T) {
	g := newRig(t, map[string]string{"templates/a.yaml": configMap("a", "{{ .Values.a }}")})
	g.values = map[string]any{"a": "x"}
	g.mustDeploy()
	for _, status := range []string{"pending-upgrade", "pending-rollback", "pending-install", "uninstalling", "unknown"} {
		last := g.records().Last
		g.setStatus(last.Version, status)
		if w := g.resolve(); w.Current || !strings.Contains(strings.Join(w.Differs, " "), status) {
			t.Errorf("%s: %v", status, w.Differs)
		}
		g.log = nil
		g.mustDeploy()
		if !strings.Contains(g.logged(), "was left "+status+": marked as failed") {
			t.Errorf("%s: nothing says so:\n%s", status, g.logged())
		}
		if w := g.resolve(); !w.Current || w.Revision != last.Version+1 {
			t.Errorf("%s: %v", status, w.Differs)
		}
	}
}

// TestTests run once for a revision.
func TestTests(t *testing.T) {
	pod := func(code int) string {
		return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: check, annotations: {helm.sh/hook: test, kubetest/exit: "%d"}}
spec: {restartPolicy: Never, containers: [{name: main, image: example.test/c:1}]}
`, code)
	}
	g := newRig(t, map[string]string{"templates/a.yaml": configMap("a", "x"), "templates/test.yaml": pod(0)})
	test := func() error { return g.client.Test(t.Context(), g.r, true, g.logf) }
	if err := test(); err == nil {
		t.Error("what is not deployed can't be tested")
	}
	g.mustDeploy()
	if err := test(); err != nil {
		t.Fatal(err)
	}
	uid := func() string { return g.kubectl("get", "pod", "check", "-o", "jsonpath={.metadata.uid}") }
	was := uid()
	if err := test(); err != nil || uid() != was {
		t.Errorf("again: %v", err)
	}
	if w := g.resolve(); !w.Current {
		t.Errorf("after a test: %v", w.Differs)
	}
	g.files["templates/test.yaml"] = pod(5)
	g.mustDeploy()
	err := test()
	if err == nil || !strings.Contains(err.Error(), "ended with 5") {
		t.Fatalf("%v", err)
	}
	was = uid()
	if err = test(); err == nil || uid() != was {
		t.Errorf("a failed test is run again: %v", err)
	}
	if out := g.helm.Run(t, "-n", g.ns, "status", "shop"); !strings.Contains(out, "Phase:          Failed") {
		t.Errorf("helm says:\n%s", out)
	}
}
