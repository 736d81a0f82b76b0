//go:build real

package kubernetestest

import (
	"fmt"
	"strings"
	"testing"
)

// byHand changes the cluster in all the ways that people do, and waits until
// each is put right.
func (w *world) byHand() {
	w.t.Helper()
	for _, step := range []struct {
		name  string
		args  []string
		right func() bool
	}{
		{"scale", []string{"scale", "deployment/web", "--replicas=5"}, func() bool { return w.field("deployment/web", ".spec.replicas") == "2" }},
		{"label", []string{"label", "--overwrite", "deployment/web", "tier=back"}, func() bool { return w.field("deployment/web", ".metadata.labels.tier") == "front" }},
		{"label away", []string{"label", "deployment/web", "tier-"}, func() bool { return w.field("deployment/web", ".metadata.labels.tier") == "front" }},
		{"data", []string{"patch", "configmap/settings", "-p", `{"data":{"value":"by hand"}}`}, func() bool { return w.field("configmap/settings", ".data.value") == "one" }},
		{"delete", []string{"delete", "configmap/settings"}, func() bool { return w.field("configmap/settings", ".data.value") == "one" }},
		{"delete a deployment", []string{"delete", "deployment/web"}, func() bool { return w.field("deployment/web", ".spec.replicas") == "2" }},
	} {
		w.must(step.args...)
		w.eventually(step.name+" is put right", step.right)
	}
}

func TestDriftIsCorrectedByTheClock(t *testing.T) {
	w := newWorld(t, "driftInterval: 1s, notice: off, flapping: 100", ", watch: off")
	c := w.push(map[string]string{"trueup.yaml": w.manifest(""), "app/web.yaml": deployment("web", "1", "", ""), "app/settings.yaml": settings("settings", "one")})
	w.start()
	w.eventually("synced", func() bool { s := w.target("app").Status; return s.Phase == "synced" && s.Applied == c })
	w.byHand()
	// What is not trueup's stays.
	w.must("annotate", "configmap/settings", "note=mine")
	w.must("patch", "configmap/settings", "-p", `{"data":{"more":"mine"}}`)
	w.must("scale", "deployment/web", "--replicas=3")
	w.eventually("the scale is put right", func() bool { return w.field("deployment/web", ".spec.replicas") == "2" })
	if w.field("configmap/settings", ".metadata.annotations.note") != "mine" || w.field("configmap/settings", ".data.more") != "mine" {
		t.Error("what others own was taken away")
	}
}

// With a watch, nobody waits for the clock.
func TestDriftIsCorrectedWhenItHappens(t *testing.T) {
	w := newWorld(t, "driftInterval: 1h, flapping: 100", "")
	c := w.push(map[string]string{"trueup.yaml": w.manifest(""), "app/web.yaml": deployment("web", "1", "", ""), "app/settings.yaml": settings("settings", "one")})
	w.start()
	w.eventually("synced", func() bool { s := w.target("app").Status; return s.Phase == "synced" && s.Applied == c })
	// The rollout's own status writes are no drift.
	w.must("rollout", "status", "deployment/web", "--timeout=60s")
	w.must("scale", "deployment/web", "--replicas=5")
	w.eventually("the scale is put right", func() bool { return w.field("deployment/web", ".spec.replicas") == "2" })
	w.must("delete", "configmap/settings")
	w.eventually("the deletion is put right", func() bool { return w.field("configmap/settings", ".data.value") == "one" })
	runs, _ := w.cli("get", "runs", "--target", "infra/app")
	if n := strings.Count(runs, "system:watch"); n != 2 {
		t.Errorf("%d runs by notices, not 2:\n%s", n, runs)
	}
}

// A report of drift changes nothing until somebody says so.
func TestDriftIsReported(t *testing.T) {
	w := newWorld(t, "driftInterval: 1s, drift: report", "")
	w.push(map[string]string{"trueup.yaml": w.manifest(""), "app/settings.yaml": settings("settings", "one")})
	w.start()
	w.eventually("synced", func() bool { return w.target("app").Status.Phase == "synced" })
	w.must("patch", "configmap/settings", "-p", `{"data":{"value":"by hand"}}`)
	w.eventually("reported", func() bool { s := w.target("app").Status; return s.Phase == "outofsync" && s.Drift == 1 })
	if w.field("configmap/settings", ".data.value") != "by hand" {
		t.Error("it was corrected")
	}
	if out, err := w.cli("sync", "infra/app", "--wait", "60s"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if w.field("configmap/settings", ".data.value") != "one" {
		t.Error("a person's sync does not correct it")
	}
}

// Too many deletions wait for an approval of this very plan; meanwhile the last
// state is kept up.
func TestAMassDeletionIsHeld(t *testing.T) {
	const n = 20
	w := newWorld(t, "driftInterval: 1s, guard: {delete: 5}", "")
	files := map[string]string{"trueup.yaml": w.manifest("")}
	for i := range n {
		files[fmt.Sprintf("app/s%02d.yaml", i)] = settings(fmt.Sprintf("s%02d", i), "one")
	}
	first := w.push(files)
	w.start()
	count := func() int {
		return len(strings.Fields(w.kubectl("get", "configmaps", "-l", "!kube", "-o", "jsonpath={.items[?(@.data.value)].metadata.name}")))
	}
	w.eventually("all are there", func() bool { return w.target("app").Status.Applied == first && count() == n })
	gone := map[string]string{}
	for i := range n - 5 {
		gone[fmt.Sprintf("app/s%02d.yaml", i)] = ""
	}
	second := w.push(gone)
	w.eventually("held", func() bool { s := w.target("app").Status; return s.Phase == "held" && s.Gate == "guard" })
	if count() != n {
		t.Fatal("something was deleted")
	}
	held := w.target("app").Status
	w.must("delete", "configmap/s00")
	w.eventually("the last state is kept up", func() bool { return count() == n && w.target("app").Status.PlanHash == held.PlanHash })
	if out, err := w.cli("approve", "infra/app", held.PlanHash, "--reason", "they are not needed"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.eventually("deleted", func() bool { return count() == 5 && w.target("app").Status.Applied == second })
}
