package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

func TestCommitReachesEnvironmentAndDriftIsMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n", "web/a/b": "b\n"})
	w.write("theirs", "left alone\n")
	w.start()
	w.synced("infra/site", c1)
	if w.file("index.html") != "one\n" || w.file("a/b") != "b\n" || w.file("theirs") != "left alone\n" {
		t.Fatal("the environment is not as asked")
	}
	c2 := w.push(map[string]string{"web/index.html": "two\n", "web/a/b": ""})
	w.synced("infra/site", c2)
	if w.file("index.html") != "two\n" || w.file("a/b") != "" || w.file("theirs") != "left alone\n" {
		t.Fatal("the second commit did not arrive")
	}
	w.write("index.html", "by hand\n")
	w.eventually("drift mended", func() bool { return w.file("index.html") == "two\n" })
}

func TestMassDeletionIsHeldUntilExactlyThatPlanIsApproved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(many(40))
	w.start()
	w.synced("infra/site", c1)
	c2 := w.push(deletions(5))
	held := w.held("infra/site", engine.GateGuard)
	if w.file("f030") == "" {
		t.Fatal("files were deleted although the guard holds")
	}
	ctx := context.Background()
	who := engine.Approver{Actor: "user:ann"}
	if _, err := w.e.Approve(ctx, who, "infra/site", "0000000000", ""); err == nil {
		t.Fatal("an approval of another plan was taken")
	}
	// The last applied state stays in force meanwhile.
	w.write("f039", "by hand\n")
	w.eventually("drift of the held target mended", func() bool { return w.file("f039") == "file 39\n" })
	w.eventually("the same plan waits again", func() bool { return w.target("infra/site").Status.PlanHash == held.Status.PlanHash })
	if _, err := w.e.Approve(ctx, who, "infra/site", held.Status.PlanHash, "meant"); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c2)
	if w.file("f030") != "" || w.file("f001") == "" {
		t.Fatal("the approved plan was not carried out")
	}
}

// An approval binds inputs and plan, not a commit: another commit with the
// same inputs (a squash) rests on it, one with other inputs does not.
func TestApprovalSurvivesASquash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	c1 := w.push(many(40))
	w.start()
	w.synced("infra/site", c1)
	if err := w.e.Freeze(ctx, "user:ann", "release"); err != nil {
		t.Fatal(err)
	}
	w.push(deletions(5))
	held := w.held("infra/site", engine.GateFreeze)
	if _, err := w.e.Approve(ctx, engine.Approver{Actor: "user:ann"}, "infra/site", held.Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", w.push(many(40)))
	c4 := w.push(deletions(5))
	w.eventually("planned again", func() bool { return w.target("infra/site").Status.PlanHash == held.Status.PlanHash })
	if err := w.e.Unfreeze(ctx, "user:ann"); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c4)

	w.synced("infra/site", w.push(many(40)))
	w.push(deletions(6))
	w.held("infra/site", engine.GateGuard)
	if w.file("f030") == "" {
		t.Fatal("an approval of another plan let this one pass")
	}
}

// deletions removes all files but the first keep.
func deletions(keep int) map[string]string {
	m := many(40)
	delete(m, "trueup.yaml")
	for i := range keep {
		delete(m, fmt.Sprintf("web/f%03d", i))
	}
	for name := range m {
		m[name] = ""
	}
	return m
}

func TestTargetThatLeavesGitRemovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets: []\n"})
	w.eventually("orphaned", func() bool { return w.target("infra/site").State == store.Orphaned })
	time.Sleep(time.Second)
	if w.file("index.html") != "one\n" {
		t.Fatal("a target that left Git took its files along")
	}
	// It can be destroyed on request, with an approval.
	if err := w.e.Destroy(context.Background(), "user:ann", "infra/site", "done"); err != nil {
		t.Fatal(err)
	}
	held := w.held("infra/site", engine.GateGuard)
	if w.file("index.html") != "one\n" {
		t.Fatal("destroyed without an approval")
	}
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/site", held.Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("destroyed", func() bool { return w.file("index.html") == "" && w.target("infra/site").State == store.Retired })
}

func TestBrokenManifestAndEmptyPathRemoveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {nmae: site}\n"})
	w.eventually("the mistake is shown", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && len(r.Invalid) > 0
	})
	if tt := w.target("infra/site"); tt.State != store.Active {
		t.Fatalf("a broken trueup.yaml made the target %s", tt.State)
	}
	w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "", "web2/index.html": "one\n"})
	w.eventually("an empty path is an error", func() bool { return w.target("infra/site").Status.Phase == store.Failing })
	if w.file("index.html") != "one\n" {
		t.Fatal("an empty desired state pruned")
	}
}

func TestRenameKeepsOwnership(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n", "web/old": "x\n"})
	w.start()
	w.synced("infra/site", c1)
	c2 := w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: www, environment: site, path: web, previously: {names: [site]}}\n", "web/old": ""})
	w.synced("infra/www", c2)
	if w.file("old") != "" || w.file("index.html") != "one\n" {
		t.Fatal("the renamed target did not own what it had written")
	}
}

func TestRollbackPinsUntilInputsChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n", "other": "x\n"})
	w.start()
	w.synced("infra/site", c1)
	c2 := w.push(map[string]string{"web/index.html": "two\n"})
	w.synced("infra/site", c2)
	if err := w.e.Rollback(context.Background(), "user:ann", "infra/site", "", "two is bad"); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", c1)
	if w.file("index.html") != "one\n" {
		t.Fatal("not rolled back")
	}
	w.push(map[string]string{"other": "y\n"})
	time.Sleep(time.Second)
	if w.file("index.html") != "one\n" || w.target("infra/site").Desired.Source != "pin" {
		t.Fatal("an unrelated commit cleared the pin")
	}
	c4 := w.push(map[string]string{"web/index.html": "three\n"})
	w.synced("infra/site", c4)
	if w.file("index.html") != "three\n" {
		t.Fatal("the pin did not clear")
	}
}

func TestGitDownKeepsTheLastStateInForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	w.stop()
	// Git is gone, and so is the mirror.
	if err := os.Rename(filepath.Join(w.dir, "origin.git"), filepath.Join(w.dir, "away.git")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "data", "mirrors")); err != nil {
		t.Fatal(err)
	}
	w.write("index.html", "by hand\n")
	w.start()
	w.eventually("drift mended without Git", func() bool { return w.file("index.html") == "one\n" })
	w.eventually("the outage is shown", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && r.Error != "" && !r.FetchedAt.IsZero()
	})
	if err := os.Rename(filepath.Join(w.dir, "away.git"), filepath.Join(w.dir, "origin.git")); err != nil {
		t.Fatal(err)
	}
	c2 := w.push(map[string]string{"web/index.html": "two\n"})
	w.synced("infra/site", c2)
}

func TestOnRemoveDestroyStillNeedsAnApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifest := "version: 1\ntargets:\n  - {name: site, environment: site, path: web, onRemove: destroy}\n"
	c1 := w.push(map[string]string{"trueup.yaml": manifest, "web/index.html": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets: []\n"})
	held := w.held("infra/site", engine.GateGuard)
	if w.file("index.html") != "one\n" {
		t.Fatal("onRemove destroyed without an approval")
	}
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/site", held.Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("destroyed", func() bool { return w.file("index.html") == "" && w.target("infra/site").State == store.Retired })
}
