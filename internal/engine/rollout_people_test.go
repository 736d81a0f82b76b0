package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

func TestLimitedRun(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 5, ", approve: [{by: [\"user:ann\"]}]")
	w.push(w.manifest("batch: 1"))
	w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	ctx := context.Background()
	ann := engine.Approver{Actor: "user:ann"}
	w.held("infra/web", engine.GateApproval)
	if err := w.e.Sync(ctx, "user:ann", "infra/web", engine.SyncOptions{Limit: []string{"odd", "h02"}}); err != nil {
		t.Fatal(err)
	}
	var limited store.Run
	w.eventually("the limited plan waits", func() bool {
		r, err := w.st.Run(ctx, w.target("infra/web").Status.Run)
		limited = r
		return err == nil && len(r.Limit) == 2
	})
	if _, err := w.e.Approve(ctx, ann, "infra/web", limited.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("some hosts", func() bool { return w.apps() == "v1 v1 v1  v1" })
	w.eventually("its end", func() bool { return w.lastRunOf("odd").State == store.RunSucceeded })
	w.eventually("the whole is held again", func() bool {
		s := w.target("infra/web").Status
		return s.Gate == string(engine.GateApproval) && s.Applied == "" && s.PlanHash != limited.PlanHash
	})
	if s := w.scope("h04"); s.Phase == store.ScopeSynced {
		t.Errorf("%+v", s)
	}
	if err := w.e.Sync(ctx, "user:ann", "infra/web", engine.SyncOptions{Limit: []string{"nobody"}}); err != nil {
		t.Fatal(err)
	}
	w.eventually("a mistake is said", func() bool { return strings.Contains(w.lastRunOf("nobody").Error, "no host or group") })
}

func (w *world) lastRunOf(limit string) store.Run {
	runs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/web"})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range runs {
		if len(r.Limit) > 0 && r.Limit[0] == limit {
			return r
		}
	}
	return store.Run{}
}

// What is frozen meanwhile stops before the next batch.
func TestFreezeStopsARollout(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 3, "")
	w.push(w.manifest("batch: 1, pause: 1s"))
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.eventually("the first", func() bool { return strings.HasPrefix(w.apps(), "v1") })
	if err := w.e.Freeze(context.Background(), "user:ann", "incident"); err != nil {
		t.Fatal(err)
	}
	run := w.settled(store.RunPartial)
	if !strings.Contains(run.Error, "frozen by user:ann: incident") {
		t.Error(run.Error)
	}
	at := w.apps()
	time.Sleep(1500 * time.Millisecond)
	if got := w.apps(); got != at {
		t.Fatalf("%q became %q", at, got)
	}
	if err := w.e.Unfreeze(context.Background(), "user:ann"); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/web", c1)
}

func TestCancelledRolloutIsPromptAndTrue(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 3, "")
	w.push(w.manifest("batch: 1, pause: 1h"))
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	w.start()
	w.eventually("the first", func() bool { return w.scope("h01").Phase == store.ScopeSynced })
	began := time.Now()
	if err := w.e.Cancel(context.Background(), "user:ann", "infra/web"); err != nil {
		t.Fatal(err)
	}
	run := w.settled(store.RunCancelled)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if run.Rollout.Done != 1 || strings.TrimSpace(w.apps()) != "v1" || w.target("infra/web").Status.Applied == c1 {
		t.Errorf("%+v, %s", run.Rollout, w.apps())
	}
}

// Cut off at any point of a rollout, the next run goes on, every host that was
// drained is put back, and what failed is taken back.
func TestRolloutCutOffAnywhere(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"batch", "pending", "write", "done", "recorded", "rollout-verify", "undrained", "undo"} {
		for _, nth := range []int{2} {
			t.Run(fmt.Sprint(point, nth), func(t *testing.T) {
				t.Parallel()
				cutOff(t, point, nth)
			})
		}
	}
}

func cutOff(t *testing.T, point string, nth int) {
	w := newFleet(t, 4, "")
	w.push(w.manifest("batch: 1, before: drain, after: undrain"))
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	var mu sync.Mutex
	armed, seen := false, 0
	w.fail = func(p string) error {
		mu.Lock()
		defer mu.Unlock()
		if !armed || p != point {
			return nil
		}
		if seen++; seen == nth || point == "undo" {
			armed = false
			return errors.New("cut off here")
		}
		return nil
	}
	w.start()
	w.synced("infra/web", c1)
	mu.Lock()
	armed = true
	mu.Unlock()
	w.push(map[string]string{"web/app": "v2 bad-h03\n", "web/new": "x\n"})
	w.eventually("the third is taken back, the fourth untouched", func() bool {
		return w.apps() == "v2 bad-h03 v2 bad-h03 v1 v1" && w.scope("h03").Phase == store.ScopeRolledBack && w.target("infra/web").Status.Stopped != ""
	})
	w.eventually("nothing is left drained", func() bool {
		for _, h := range []string{"h01", "h02", "h03", "h04"} {
			if s := w.scope(h); s.Drained || s.RollBack {
				return false
			}
		}
		return true
	})
	if _, err := os.Stat(filepath.Join(w.dir, "fleet", "h03", "new")); err == nil {
		t.Error("what the failed commit created is left")
	}
	last := map[string]string{}
	for _, c := range strings.Split(w.calls(), ", ") {
		verb, host, _ := strings.Cut(c, " on ")
		last[host] = verb
	}
	for h, verb := range last {
		if verb != "undrain" {
			t.Errorf("%s was left drained: %s", h, w.calls())
		}
	}
	mu.Lock()
	if armed {
		t.Errorf("%s was passed %d times only", point, seen)
	}
	mu.Unlock()
	c3 := w.push(map[string]string{"web/app": "v3\n"})
	w.synced("infra/web", c3)
	if got := w.apps(); got != "v3 v3 v3 v3" {
		t.Fatal(got)
	}
}

// An approved rollout that was cut off goes on without a second approval, for
// what is left of the approved plan and nothing else.
func TestApprovalCoversTheRest(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 3, ", approve: [{by: [\"user:ann\"]}]")
	w.push(w.manifest("batch: 1"))
	c1 := w.push(map[string]string{"web/app": "v1\n"})
	var mu sync.Mutex
	batches := 0
	w.fail = func(p string) error {
		mu.Lock()
		defer mu.Unlock()
		if p == "batch" {
			if batches++; batches == 2 {
				return errors.New("cut off here")
			}
		}
		return nil
	}
	w.start()
	held := w.held("infra/web", engine.GateApproval)
	w.flag("h03.down", true)
	w.eventually("planned without it", func() bool { return w.target("infra/web").Status.PlanHash != held.Status.PlanHash })
	held = w.target("infra/web")
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/web", held.Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("the rest of what was approved", func() bool { return w.apps() == "v1 v1 " })
	// What was not in the approved plan needs its own.
	w.flag("h03.down", false)
	w.held("infra/web", engine.GateApproval)
	if got := w.apps(); got != "v1 v1 " {
		t.Fatal(got)
	}
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:ann"}, "infra/web", w.target("infra/web").Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/web", c1)
}

// Without a rollout a host that is down does not keep the others from being
// checked.
func TestHealthIsCheckedBesideAHostThatIsDown(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 3, "")
	w.push(map[string]string{"trueup.yaml": `version: 1
targets:
  - {name: web, environment: fleet, path: web, health: [{not: "bad-{{ .host }}"}]}
`})
	w.flag("h01.down", true)
	c1 := w.push(map[string]string{"web/app": "bad-h02\n"})
	w.start()
	w.eventually("the sick one is told", func() bool {
		return strings.Contains(w.target("infra/web").Status.Message, "not healthy after apply: h02")
	})
	if s := w.scope("h02"); s.Phase != store.ScopeFailed || s.Commit == c1 {
		t.Errorf("%+v", s)
	}
	if s := w.scope("h03"); s.Phase != store.ScopeSynced {
		t.Errorf("%+v", s)
	}
}
