package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

func (w *world) manifest(rollout string) map[string]string {
	return map[string]string{"trueup.yaml": fmt.Sprintf(fleetManifest, rollout)}
}

// settled waits until the target's newest run has ended in a state.
func (w *world) settled(state store.RunState) store.Run {
	w.t.Helper()
	var run store.Run
	w.eventually("a run that is "+string(state), func() bool {
		runs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/web", State: state})
		if err != nil || len(runs) == 0 {
			return false
		}
		run = runs[0]
		return true
	})
	return run
}

// A host that fails within the bounds is taken back by itself; the others go
// on, and it is not tried again.
func TestToleratedFailure(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 6, "")
	w.push(w.manifest("batch: 2, maxFailures: 1, before: drain, after: undrain"))
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.synced("infra/web", c1)
	c2 := w.push(map[string]string{"web/app": "v2 bad-h03\n"})
	w.eventually("all but one", func() bool {
		return w.apps() == "v2 bad-h03 v2 bad-h03 v1 v2 bad-h03 v2 bad-h03 v2 bad-h03" && w.target("infra/web").Status.Phase == store.Partial
	})
	calls := w.calls()
	time.Sleep(time.Second)
	if again := w.calls(); again != calls {
		t.Errorf("what failed is tried again and again: %s", strings.TrimPrefix(again, calls))
	}
	if s := w.scope("h03"); s.Phase != store.ScopeRolledBack || s.Commit != c1 || !strings.Contains(s.Message, "sick") {
		t.Errorf("%+v", s)
	}
	if s := w.target("infra/web").Status; s.Applied != c1 || !strings.Contains(s.Message, "5 of 6 hosts are at "+c2[:12]) {
		t.Errorf("%+v", s)
	}
	// A person may ask for it once more.
	before := strings.Count(w.calls(), "drain on h03")
	if err := w.e.Sync(context.Background(), "user:ann", "infra/web", engine.SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("tried again", func() bool {
		return strings.Count(w.calls(), "drain on h03") > before && w.scope("h03").Phase == store.ScopeRolledBack
	})
}

func TestUnreachableHostsDoNotHoldTheOthers(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 5, "")
	w.push(w.manifest("batch: 50%"))
	w.flag("h02.down", true)
	w.flag("h04.down", true)
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.eventually("the others", func() bool { return w.apps() == "v1  v1  v1" && w.target("infra/web").Status.Phase == store.Partial })
	s := w.scope("h02")
	if s.Phase != store.ScopeUnreachable || s.NextDue.IsZero() || !strings.Contains(s.Message, "dial h02") {
		t.Errorf("%+v", s)
	}
	if m := w.target("infra/web").Status.Message; !strings.Contains(m, "h02, h04 unreachable: dial it") || !strings.Contains(m, "3 of 5 hosts are at") {
		t.Error(m)
	}
	w.eventually("it backs off", func() bool { return w.scope("h02").Attempts > 2 && w.scope("h01").Attempts == 0 })
	if since := w.scope("h02").Since; !since.Equal(s.Since) {
		t.Errorf("down since %s, then since %s", s.Since, since)
	}
	w.flag("h02.down", false)
	w.eventually("one is back", func() bool { return w.scope("h02").Phase == store.ScopeSynced && w.apps() == "v1 v1 v1  v1" })
	w.flag("h04.down", false)
	w.synced("infra/web", c1)
	if got := w.apps(); got != "v1 v1 v1 v1 v1" {
		t.Fatal(got)
	}
}

func TestUnreachableHold(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 3, "")
	w.push(w.manifest("batch: 1, unreachable: hold"))
	w.flag("h03.down", true)
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.eventually("it waits", func() bool { return strings.Contains(w.target("infra/web").Status.Message, "unreachable: hold") })
	time.Sleep(700 * time.Millisecond)
	if got := strings.TrimSpace(w.apps()); got != "" {
		t.Fatalf("hosts were changed: %s", got)
	}
	w.flag("h03.down", false)
	w.synced("infra/web", c1)
}

// onFailure: stop leaves the batch as it is, and drained.
func TestStopLeavesTheBatchAsItIs(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 4, "")
	w.push(w.manifest("batch: 1, onFailure: stop, before: drain, after: undrain"))
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.synced("infra/web", c1)
	w.push(map[string]string{"web/app": "v2 bad-h02\n"})
	run := w.settled(store.RunPartial)
	if !strings.Contains(run.Error, "1 failed (h02), 2 are untouched") {
		t.Error(run.Error)
	}
	time.Sleep(time.Second)
	if got := w.apps(); got != "v2 bad-h02 v2 bad-h02 v1 v1" {
		t.Fatal(got)
	}
	if s := w.scope("h02"); s.Phase != store.ScopeFailed || !s.Drained {
		t.Errorf("%+v", s)
	}
	c3 := w.push(map[string]string{"web/app": "v3\n"})
	w.synced("infra/web", c3)
	if s := w.scope("h02"); s.Drained || !strings.Contains(w.calls(), "undrain on h02") {
		t.Errorf("%+v", s)
	}
}

func TestContinueGoesOn(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 4, "")
	w.push(w.manifest("batch: 1, onFailure: continue"))
	w.flag("h02.full", true)
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.eventually("the others", func() bool { return w.apps() == "v1  v1 v1" && w.scope("h02").Phase == store.ScopeFailed })
	if s := w.scope("h02"); !strings.Contains(s.Message, "no space left") || s.NextDue.IsZero() {
		t.Errorf("%+v", s)
	}
	w.flag("h02.full", false)
	w.synced("infra/web", c1)
}

// The operator's bounds hold whatever the repository says, and without a
// rollout in it.
func TestPolicyBoundsBatches(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 4, ", rollout: {maxBatch: 25%, maxFailures: 0}")
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: web, environment: fleet, path: web}\n"})
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.synced("infra/web", c1)
	if p := w.lastRun(store.RunSucceeded).Rollout; p == nil || p.Batches != 4 {
		t.Errorf("%+v", p)
	}
	c2 := w.push(w.manifest("batch: 100%, maxFailures: 100%"))
	w.push(map[string]string{"web/app": "v2 bad-h01\n"})
	_ = c2
	run := w.settled(store.RunFailed)
	if !strings.Contains(run.Error, "batch 1 of 4") || w.apps() != "v1 v1 v1 v1" {
		t.Errorf("%s: %s", run.Error, w.apps())
	}
}
