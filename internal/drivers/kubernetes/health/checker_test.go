package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// world is a fake server whose workloads stay as the tests make them.
func world(t *testing.T) (*kubefake.Server, *kube.Cluster) {
	t.Helper()
	s := kubefake.New(t)
	s.Settle(func(*unstructured.Unstructured) {})
	c, err := kube.New(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func put(t *testing.T, s *kubefake.Server, texts ...string) []manifest.Object {
	t.Helper()
	var out []manifest.Object
	for _, text := range texts {
		s.Set("trueup", text)
		out = append(out, manifest.Object{Unstructured: object(t, text)})
	}
	return out
}

func check(t *testing.T, fields map[string]any) *Check {
	t.Helper()
	c, diags := ParseCheck(fields)
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	return c
}

func deploymentText(name string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + ", namespace: default}\nspec: {replicas: 1, selector: {matchLabels: {app: " + name + "}}, template: {metadata: {labels: {app: " + name + "}}, spec: {containers: [{name: c, image: i}]}}}"
}

var all = map[string]any{"ready": "all"}

// rolled makes a Deployment rolled out.
func rolled(s *kubefake.Server, name string) {
	s.Edit("kube-controller-manager", "apps/v1", "Deployment", "default", name, "status", func(u *unstructured.Unstructured) {
		u.Object["status"] = map[string]any{"observedGeneration": u.GetGeneration(), "replicas": int64(1), "updatedReplicas": int64(1), "readyReplicas": int64(1),
			"availableReplicas": int64(1), "conditions": []any{map[string]any{"type": "Available", "status": "True"}, map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}}}
	})
}

func TestCheckSaysWhatIsMissing(t *testing.T) {
	s, cluster := world(t)
	objects := put(t, s, deploymentText("a"), deploymentText("b"), deploymentText("c"), deploymentText("d"), deploymentText("e"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: f, namespace: default}")
	rolled(s, "b")
	s.Forget()
	c := New([]string{"trueup"}, nil)
	err := c.Check(context.Background(), cluster, "t", check(t, all), objects)
	if !errors.Is(err, driver.ErrNotReady) || driver.IsPermanent(err) ||
		err.Error() != "not ready: 2 of 6 ready; Deployment.apps/default/a: 0 of 1 pods there; Deployment.apps/default/c: 0 of 1 pods there; Deployment.apps/default/d: 0 of 1 pods there; and 1 more" {
		t.Errorf("%v", err)
	}
	if n := s.Count(kubefake.On("deployments", "list")); n != 1 {
		t.Errorf("%d lists of one kind in one namespace", n)
	}
	if n := s.Count(kubefake.On("deployments", "get")) + s.Count(kubefake.On("configmaps", "get", "list")); n != 0 {
		t.Errorf("%d requests for single objects, or for kinds that have no health", n)
	}
	for _, name := range []string{"a", "c", "d", "e"} {
		rolled(s, name)
	}
	if err := c.Check(context.Background(), cluster, "t", check(t, all), objects); err != nil {
		t.Error(err)
	}
	s.Unset("apps/v1", "Deployment", "default", "a")
	if err := c.Check(context.Background(), cluster, "t", check(t, all), objects); !errors.Is(err, driver.ErrNotReady) || !strings.Contains(err.Error(), "a: it is not there") {
		t.Errorf("an object that is gone: %v", err)
	}
	if err := c.Check(context.Background(), cluster, "t", check(t, map[string]any{"ready": "all", "except": "Deployment/*/a"}), objects); err != nil {
		t.Errorf("what is left out counts: %v", err)
	}
	if err := c.Check(context.Background(), cluster, "t", check(t, map[string]any{"ready": []any{"Deployment.apps/default/b"}}), objects); err != nil {
		t.Errorf("what was not asked for counts: %v", err)
	}
	if err := c.Check(context.Background(), cluster, "t", check(t, map[string]any{"ready": []any{"Deploiment"}}), objects); !driver.IsPermanent(err) || !strings.Contains(err.Error(), `"Deploiment" matches none`) {
		t.Errorf("a pattern for nothing: %v", err)
	}
}

const jobText = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: default}\nspec: {selector: {matchLabels: {job: j}}, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}"

// A failure comes with its reasons, without secrets, and is bounded.
func TestCheckSaysWhyItFailed(t *testing.T) {
	s, cluster := world(t)
	const canary = "s3cr3t-canary"
	objects := put(t, s, jobText, "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: default}\nstringData: {password: "+canary+"}")
	uid := string(s.Get("batch/v1", "Job", "default", "j").GetUID())
	owner := "ownerReferences: [{apiVersion: batch/v1, kind: Job, name: j, uid: " + uid + "}]"
	pod := func(name, more, status string) {
		s.Set("job-controller", "apiVersion: v1\nkind: Pod\nmetadata: {name: "+name+", namespace: default, labels: {job: j}, "+more+"}\nspec: {containers: [{name: c, image: i}]}")
		s.Edit("kubelet", "v1", "Pod", "default", name, "status", func(u *unstructured.Unstructured) {
			u.Object["status"] = object(t, "apiVersion: v1\nkind: Pod\nstatus: "+status).Object["status"]
		})
	}
	pod("j-1", owner, "{phase: Failed, containerStatuses: [{name: c, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 7, message: \"can't log in with "+canary+"\\nat all "+strings.Repeat("x", 9000)+"\"}}}]}")
	pod("stranger", "annotations: {}", "{phase: Failed, message: not ours}")
	event := func(name, uid, reason, kind string) {
		s.Set("events", fmt.Sprintf("apiVersion: v1\nkind: Event\nmetadata: {name: %s, namespace: default}\ninvolvedObject: {kind: Job, name: j, uid: %s}\nreason: %s\nmessage: because of %s\ntype: %s\nlastTimestamp: %s", name, uid, reason, canary, kind, time.Now().UTC().Format(time.RFC3339)))
	}
	event("e1", uid, "BackoffLimitExceeded", "Warning")
	event("e2", "another", "NotMine", "Warning")
	event("e3", uid, "Fine", "Normal")
	s.Edit("job-controller", "batch/v1", "Job", "default", "j", "status", func(u *unstructured.Unstructured) {
		u.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "with " + canary}}}
	})
	err := New([]string{"trueup"}, nil).Check(context.Background(), cluster, "t", check(t, all), objects)
	if !driver.IsPermanent(err) || errors.Is(err, driver.ErrNotReady) {
		t.Fatalf("a failed Job is waited for: %v", err)
	}
	text := err.Error()
	for _, want := range []string{"1 of 2 ready", "Job.batch/default/j: it failed: BackoffLimitExceeded", "pod j-1: container c: ended with 7: can't log in with ***", "job j: BackoffLimitExceeded: because of ***"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	for _, bad := range []string{canary, canary[:6], "not ours", "NotMine", "Fine", "\n", strings.Repeat("x", 400)} {
		if strings.Contains(text, bad) {
			t.Errorf("%q shows in %s", bad, text)
		}
	}
}

// Reasons cost requests: they are asked for when something waits for longer,
// and not at every look.
func TestReasonsAreNotAskedForEveryTime(t *testing.T) {
	s, cluster := world(t)
	objects := put(t, s, deploymentText("a"))
	c := New([]string{"trueup"}, nil)
	s.Forget()
	for range 5 {
		if err := c.Check(context.Background(), cluster, "t", check(t, all), objects); !errors.Is(err, driver.ErrNotReady) {
			t.Fatal(err)
		}
	}
	if n := s.Count(kubefake.On("events", "list")); n > 2 {
		t.Errorf("%d lists of events in five looks", n)
	}
}

func TestCheckErrors(t *testing.T) {
	s, cluster := world(t)
	objects := put(t, s, deploymentText("a"))
	c := New([]string{"trueup"}, nil)
	undo := s.Deny(func(r kubefake.Request) error { return kubefake.Status(403, "Forbidden", "no") })
	if err := c.Check(context.Background(), cluster, "t", check(t, all), objects); !driver.IsPermanent(err) || !errors.Is(err, kube.ErrDenied) {
		t.Errorf("what may not be read: %v", err)
	}
	undo()
	undo = s.Deny(func(r kubefake.Request) error { return kubefake.Status(503, "ServiceUnavailable", "later") })
	if err := c.Check(context.Background(), cluster, "t", check(t, all), objects); err == nil || driver.IsPermanent(err) {
		t.Errorf("a server that is busy: %v", err)
	}
	undo()
	unknown := []manifest.Object{{Unstructured: object(t, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: default}")}}
	if err := c.Check(context.Background(), cluster, "t", check(t, all), unknown); !errors.Is(err, driver.ErrNotReady) || !strings.Contains(err.Error(), "does not know this kind") {
		t.Errorf("a kind that is not there: %v", err)
	}
}

func TestWait(t *testing.T) {
	s, cluster := world(t)
	objects := put(t, s, deploymentText("a"), deploymentText("b"))
	c := New([]string{"trueup"}, nil)
	var mu sync.Mutex
	var lines []string
	logf := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	}
	said := func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(strings.Join(lines, "\n"), text)
	}
	done := make(chan error, 1)
	go func() {
		done <- c.Wait(context.Background(), cluster, objects, WaitOptions{Within: time.Minute, Log: logf})
	}()
	await(t, func() bool { return said("0 of 2 ready") })
	rolled(s, "a")
	await(t, func() bool { return said("1 of 2 ready; Deployment.apps/default/b: ") })
	rolled(s, "b")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(lines) != 2 {
		t.Errorf("not one line for each change: %q", lines)
	}
	s.Unset("apps/v1", "Deployment", "default", "b")
	err := c.Wait(context.Background(), cluster, objects, WaitOptions{Within: 300 * time.Millisecond})
	if !errors.Is(err, driver.ErrNotReady) || driver.IsPermanent(err) || !strings.Contains(err.Error(), "b: it is not there") {
		t.Errorf("when the time is over: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := c.Wait(ctx, cluster, objects, WaitOptions{Within: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	failing := put(t, s, jobText)
	s.Edit("job-controller", "batch/v1", "Job", "default", "j", "status", func(u *unstructured.Unstructured) {
		u.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Failed", "status": "True"}}}
	})
	if err := c.Wait(context.Background(), cluster, failing, WaitOptions{Within: time.Hour}); !driver.IsPermanent(err) {
		t.Errorf("what failed is waited for: %v", err)
	}
}

func await(t *testing.T, check func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !check(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never comes")
		}
	}
}
