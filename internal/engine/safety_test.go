package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

func TestGrantHoldsWhatLiesOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config = strings.Replace(w.config, "allow: [{repository: infra}]", "allow: [{repository: infra, scope: {files: ['team-a/**', team-a]}}]", 1)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/team-a/x": "ours\n"})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"web/index.html": "not ours\n", "web/team-a/x": "changed\n"})
	held := w.held("infra/site", engine.GateScope)
	if w.file("index.html") != "" || w.file("team-a/x") != "ours\n" {
		t.Fatal("a plan that leaves the grant was applied, if only in part")
	}
	if !strings.Contains(held.Status.Message, "index.html") {
		t.Fatalf("the message does not name what lies outside: %s", held.Status.Message)
	}
	// No approval opens it.
	_, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/site", held.Status.PlanHash, "")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if w.file("index.html") != "" {
		t.Fatal("an approval widened the grant")
	}
}

func TestThreeHundredWrongUpdatesAreHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(many(300))
	w.start()
	w.synced("infra/site", c1)
	wrong := many(300)
	for name := range wrong {
		if name != "trueup.yaml" {
			wrong[name] = "wrong\n"
		}
	}
	w.push(wrong)
	w.held("infra/site", engine.GateGuard)
	if w.file("f123") != "file 123\n" {
		t.Fatal("a mass rewrite passed the guards")
	}
}

func TestTwoEnvironmentsOnOneDirectoryCollide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Symlink(filepath.Join(w.dir, "site"), filepath.Join(w.dir, "alias")); err != nil {
		t.Fatal(err)
	}
	w.config += fmt.Sprintf("  other:\n    driver: files\n    policy: quick\n    connect: {root: %s/alias/.}\n    allow: [{repository: infra}]\n", w.dir)
	c1 := w.push(map[string]string{"web/a": "one\n", "trueup.yaml": baseManifest})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"web2/a": "one\n", "trueup.yaml": baseManifest + "  - {name: other, environment: other, path: web2}\n"})
	w.eventually("the second owner is refused", func() bool {
		s := w.target("infra/other").Status
		return s.Phase == store.Failing && strings.Contains(s.Message, "infra/site")
	})
}

func TestRepointedEnvironmentIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"web/a": "one\n", "web/b": "b\n", "trueup.yaml": baseManifest})
	w.start()
	w.synced("infra/site", c1)
	elsewhere := filepath.Join(w.dir, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(w.config, w.dir+"/site", elsewhere, 1)
	if err := w.e.Reload(context.Background(), w.parse(moved), "user:ann"); err != nil {
		t.Fatal(err)
	}
	held := w.held("infra/site", engine.GateGuard)
	if !strings.Contains(held.Status.Message, "repointed") {
		t.Fatalf("held, but for another reason: %s", held.Status.Message)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "a")); err == nil {
		t.Fatal("another directory was written to without an approval")
	}
}

func TestUnhealthyCommitIsRolledBackAndPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	health := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if strings.Contains(w.file("a"), "bad") {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer health.Close()
	manifest := fmt.Sprintf("version: 1\ntargets:\n  - name: site\n    environment: site\n    path: web\n    onFailure: rollback\n    health: [{http: %q, within: 1s}]\n", health.URL)
	c1 := w.push(map[string]string{"web/a": "good\n", "trueup.yaml": manifest})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"web/a": "bad\n"})
	w.eventually("rolled back", func() bool {
		tt := w.target("infra/site")
		return tt.Desired.Source == "pin" && tt.Status.Phase == store.Synced && w.file("a") == "good\n"
	})
	runs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/site"})
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, r := range runs {
		if r.State == store.RunFailed && strings.Contains(r.Error, "not healthy") {
			failed++
		}
	}
	if failed != 1 {
		t.Fatalf("%d failed runs, want the one that rolled back", failed)
	}
}

// Without a rollback an unhealthy state stays a failure, also when it is read
// again and found as desired.
func TestUnhealthyStateNeverTurnsIntoSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifest := "version: 1\ntargets:\n  - name: site\n    environment: site\n    path: web\n    health: [{tcp: '127.0.0.1:1', within: 1s}]\n"
	w.push(map[string]string{"web/a": "x\n", "trueup.yaml": manifest})
	w.start()
	w.eventually("failed", func() bool { return w.target("infra/site").Status.Phase == store.Failing })
	for range 30 {
		time.Sleep(100 * time.Millisecond)
		if p := w.target("infra/site").Status.Phase; p != store.Failing {
			t.Fatalf("an unhealthy target became %s", p)
		}
	}
}

func TestDependentsWaitAndFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(filepath.Join(w.dir, "second"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.config += fmt.Sprintf("  second:\n    driver: files\n    policy: quick\n    connect: {root: %s/second}\n    allow: [{repository: infra}]\n", w.dir)
	manifest := "version: 1\ntargets:\n  - {name: b, environment: second, path: b, dependsOn: [a]}\n  - {name: a, environment: site, path: a, suspend: not yet}\n"
	w.push(map[string]string{"a/x": "a\n", "b/x": "b\n", "trueup.yaml": manifest})
	w.start()
	w.held("infra/b", engine.GateDependency)
	if _, err := os.Stat(filepath.Join(w.dir, "second", "x")); err == nil {
		t.Fatal("a target ran before what it depends on")
	}
	c2 := w.push(map[string]string{"trueup.yaml": strings.Replace(manifest, ", suspend: not yet", "", 1)})
	w.synced("infra/a", c2)
	w.eventually("the dependent followed", func() bool { return w.target("infra/b").Status.Phase == store.Synced })
}

func TestFlappingIsReportedNotFought(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config = strings.Replace(w.config, "quick: {driftInterval: 1s}", "quick: {driftInterval: 1s, flapping: 3}", 1)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "ours\n"})
	w.start()
	w.synced("infra/site", c1)
	for i := range 3 {
		w.write("a", fmt.Sprintf("theirs %d\n", i))
		w.eventually("corrected", func() bool { return w.file("a") == "ours\n" })
		w.synced("infra/site", c1)
	}
	w.write("a", "theirs again\n")
	held := w.held("infra/site", engine.GateFlapping)
	if !strings.Contains(held.Status.Message, "theirs again") {
		t.Fatalf("the other writer's trace is missing: %s", held.Status.Message)
	}
	time.Sleep(time.Second)
	if w.file("a") != "theirs again\n" {
		t.Fatal("a flapping object was fought for in silence")
	}
}

func TestDriftIsOnlyReportedWhereThePolicySaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config = strings.Replace(w.config, "quick: {driftInterval: 1s}", "quick: {driftInterval: 1s, drift: report}", 1)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "ours\n"})
	w.start()
	w.synced("infra/site", c1)
	w.write("a", "theirs\n")
	held := w.held("infra/site", engine.GateDrift)
	if held.Status.Phase != store.OutOfSync || held.Status.Drift != 1 || w.file("a") != "theirs\n" {
		t.Fatalf("phase %s, drift %d", held.Status.Phase, held.Status.Drift)
	}
	if err := w.e.Sync(context.Background(), "user:ann", "infra/site", engine.SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("a person may correct it", func() bool { return w.file("a") == "ours\n" })
}

func TestNotificationsAreSentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var kinds []string
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var m struct {
			Kind string `json:"kind"`
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		kinds = append(kinds, m.Kind)
		mu.Unlock()
	}))
	defer hook.Close()
	if err := os.WriteFile(filepath.Join(w.dir, "hook"), []byte(hook.URL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config += "notify: [{on: [held, failed, recovered], to: \"file:hook\"}]\n"
	c1 := w.push(many(40))
	w.start()
	w.synced("infra/site", c1)
	w.push(deletions(5))
	w.held("infra/site", engine.GateGuard)
	time.Sleep(1500 * time.Millisecond) // several drift checks find it held still
	w.synced("infra/site", w.push(many(40)))
	got := func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(kinds, " ") }
	w.eventually("held and recovered were told once each", func() bool { return got() == "held recovered" })
	time.Sleep(time.Second)
	if got() != "held recovered" {
		t.Fatalf("told again: %s", got())
	}
}

func TestControlRepositoryChangesTheConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config += "control: {repository: infra, path: server.yaml}\n"
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "x\n", "server.yaml": w.config})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"server.yaml": w.config + "environmentz: {}\n", "web/a": "y\n"})
	w.eventually("a bad configuration is refused, and said so", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && strings.Contains(r.Error, "environmentz")
	})
	if w.file("a") != "x\n" {
		t.Fatal("work went on past a refused configuration")
	}
	w.push(map[string]string{"server.yaml": w.config + "freeze: quarter end\n", "web/a": "y\n"})
	w.held("infra/site", engine.GateFreeze)
	w.stop()
	w.start() // the file that it is started with knows of no freeze
	w.held("infra/site", engine.GateFreeze)
	c4 := w.push(map[string]string{"server.yaml": w.config + "\n", "web/a": "z\n"})
	w.synced("infra/site", c4)
}

func TestRestoredStoreOnlyPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "x\n"})
	w.start()
	w.synced("infra/site", c1)
	ctx := context.Background()
	if err := w.st.PutHold(ctx, store.Hold{Kind: "restore", Reason: "backup of yesterday", Actor: "user:ann"}); err != nil {
		t.Fatal(err)
	}
	w.push(map[string]string{"web/a": "y\n"})
	w.held("infra/site", engine.GateRestore)
	if w.file("a") != "x\n" {
		t.Fatal("a restored store wrote before it was confirmed")
	}
	if err := w.e.ConfirmRestore(ctx, "user:ann"); err != nil {
		t.Fatal(err)
	}
	w.eventually("goes on once confirmed", func() bool { return w.file("a") == "y\n" })
}

func TestAnObjectOfSomebodyElseIsTakenOverOnlyOnApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("a", "theirs\n")
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "ours\n", "web/b": "b\n"})
	w.start()
	held := w.held("infra/site", engine.GateGuard)
	if w.file("a") != "theirs\n" {
		t.Fatal("somebody else's file was overwritten")
	}
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/site", held.Status.PlanHash, "agreed"); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c1)
	if w.file("a") != "ours\n" || w.file("b") != "b\n" {
		t.Fatal("the approved take-over did not happen")
	}
}

// Two targets may put files into one directory.
func TestTwoTargetsShareADirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: one, environment: site, path: one, scope: {files: ['d/a*', d]}}\n  - {name: two, environment: site, path: two, scope: {files: ['d/b*', d]}}\n",
		"one/d/a": "a\n", "two/d/b": "b\n"})
	w.start()
	w.synced("infra/one", c1)
	w.synced("infra/two", c1)
	if w.file("d/a") != "a\n" || w.file("d/b") != "b\n" {
		t.Fatal("one of the two is missing")
	}
}

func TestWhatAnotherTargetOwnsIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	two := "version: 1\ntargets:\n  - {name: site, environment: site, path: web, scope: {files: ['a', 'b']}}\n  - {name: other, environment: site, path: other, scope: {files: ['a', 'c']}}\n"
	c1 := w.push(map[string]string{"trueup.yaml": two, "web/a": "one\n", "other/c": "c\n"})
	w.start()
	w.synced("infra/site", c1)
	w.synced("infra/other", c1)
	w.push(map[string]string{"other/a": "two\n"})
	w.eventually("refused, with the owner's name", func() bool {
		s := w.target("infra/other").Status
		return s.Phase == store.Failing && strings.Contains(s.Message, "infra/site")
	})
	if w.file("a") != "one\n" {
		t.Fatal("another target's file was overwritten")
	}
}
