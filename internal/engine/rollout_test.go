package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

const fleetConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
commands:
  drain: {args: [drain], on: host}
  undrain: {args: [undrain], on: host}
policies:
  quick: {driftInterval: 1s, flapping: 1000, guard: {update: 1000, delete: 1000, create: 1000}%[3]s}
environments:
  fleet:
    driver: fleet
    policy: quick
    connect: {root: %[1]s/fleet, hosts: [%[2]s], groups: {canary: [h05], odd: [h01, h03, h05]}}
    allow: [{repository: infra}]
`

const fleetManifest = `version: 1
targets:
  - {name: web, environment: fleet, path: web, onFailure: rollback, health: [{not: "bad-{{ .host }}"}], rollout: {%s}}
`

// newFleet is a world with n hosts and a target with a rollout.
func newFleet(t *testing.T, n int, policy string) *world {
	w := newWorld(t)
	var hosts []string
	for i := range n {
		h := fmt.Sprintf("h%02d", i+1)
		hosts = append(hosts, h)
		if err := os.MkdirAll(filepath.Join(w.dir, "fleet", h), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.config = fmt.Sprintf(fleetConfig, w.dir, strings.Join(hosts, ", "), policy)
	return w
}

// apps says what each host has in its file app, in a line.
func (w *world) apps() string {
	var out []string
	dirs, err := filepath.Glob(filepath.Join(w.dir, "fleet", "h??"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range dirs {
		b, _ := os.ReadFile(filepath.Join(d, "app"))
		out = append(out, strings.TrimSpace(string(b)))
	}
	return strings.Join(out, " ")
}

func (w *world) calls() string {
	b, _ := os.ReadFile(filepath.Join(w.dir, "fleet", "calls"))
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ", ")
}

func (w *world) flag(name string, on bool) {
	w.t.Helper()
	p := filepath.Join(w.dir, "fleet", name)
	var err error
	if on {
		err = os.WriteFile(p, nil, 0o644)
	} else {
		err = os.Remove(p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) scope(name string) store.ScopeState {
	list, err := w.st.Scopes(context.Background(), "infra/web")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range list {
		if string(s.Scope) == name {
			return s
		}
	}
	return store.ScopeState{}
}

// lastRun gives the newest run of the target with a state.
func (w *world) lastRun(state store.RunState) store.Run {
	w.t.Helper()
	runs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/web", State: state})
	if err != nil || len(runs) == 0 {
		w.t.Fatalf("there is no run that %s: %v", state, err)
	}
	return runs[0]
}

func (w *world) runLog(run string) string {
	w.t.Helper()
	lines, err := w.st.Log(context.Background(), run, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

func TestRolloutGoesInBatchesWithDrainAndUndrain(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 5, "")
	c1 := w.push(map[string]string{"trueup.yaml": fmt.Sprintf(fleetManifest, "batch: [1, 2], order: [canary], before: drain, after: undrain"), "web/app": "v1 HOST\n"})
	w.start()
	w.synced("infra/web", c1)
	if got := w.apps(); got != "v1 h01 v1 h02 v1 h03 v1 h04 v1 h05" {
		t.Fatal(got)
	}
	calls := w.calls()
	if !strings.HasPrefix(calls, "drain on h05, undrain on h05") {
		t.Errorf("the canary is not first: %s", calls)
	}
	for _, pair := range [][2]string{{"drain on h01", "undrain on h01"}, {"drain on h01", "undrain on h02"}, {"undrain on h02", "drain on h03"}, {"undrain on h01", "drain on h04"}} {
		if strings.Index(calls, pair[0]) > strings.Index(calls, pair[1]) {
			t.Errorf("%s does not come before %s: %s", pair[0], pair[1], calls)
		}
	}
	run := w.lastRun(store.RunSucceeded)
	if p := run.Rollout.String(); p != "batch 3/3, 5 of 5 hosts" {
		t.Error(p)
	}
	log := w.runLog(run.ID)
	for _, x := range []string{"batch 1/3: h05 (0 of 5 hosts done)", "batch 2/3: h01, h02 (1 of 5 hosts done)", "batch 3/3, 5 of 5 hosts"} {
		if !strings.Contains(log, x) {
			t.Errorf("the log lacks %q:\n%s", x, log)
		}
	}
	for _, h := range []string{"h01", "h05"} {
		if s := w.scope(h); s.Phase != store.ScopeSynced || s.Commit != c1 || s.Drained {
			t.Errorf("%+v", s)
		}
	}
	// Drift on one host: only that one is drained.
	w.drift("h03", "by hand\n")
	w.eventually("drift mended", func() bool { return w.apps() == "v1 h01 v1 h02 v1 h03 v1 h04 v1 h05" })
	w.eventually("back in service", func() bool { return strings.HasSuffix(w.calls(), "drain on h03, undrain on h03") })
}

func (w *world) drift(host, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "fleet", host, "app"), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func TestFailedBatchIsRolledBackAndTheRestStaysUntouched(t *testing.T) {
	t.Parallel()
	w := newFleet(t, 6, "")
	manifest := fmt.Sprintf(fleetManifest, "batch: 2, before: drain, after: undrain")
	c1 := w.push(map[string]string{"trueup.yaml": manifest, "web/app": "v1\n"})
	w.start()
	w.synced("infra/web", c1)
	before := w.calls()
	c2 := w.push(map[string]string{"web/app": "v2 bad-h04\n", "web/new": "new\n"})
	w.eventually("stopped", func() bool {
		return w.target("infra/web").Status.Stopped != "" && w.scope("h04").Phase == store.ScopeRolledBack
	})
	stays := "v2 bad-h04 v2 bad-h04 v1 v1 v1 v1"
	if got := w.apps(); got != stays {
		t.Fatal(got)
	}
	for _, h := range []string{"h03", "h04", "h05"} {
		if _, err := os.Stat(filepath.Join(w.dir, "fleet", h, "new")); err == nil {
			t.Errorf("what the failed commit created is still on %s", h)
		}
	}
	w.eventually("the run's end", func() bool {
		rs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/web", State: store.RunPartial})
		return err == nil && len(rs) == 1
	})
	run := w.lastRun(store.RunPartial)
	for _, x := range []string{"stopped in batch 2 of 3: h04: ", "h04 is sick", "2 of 6 hosts have it", "2 were rolled back (h03, h04)", "2 are untouched"} {
		if !strings.Contains(run.Error, x) {
			t.Errorf("%q is not in: %s", x, run.Error)
		}
	}
	for h, want := range map[string]string{"h01": "synced " + c2, "h03": "rolledback " + c1, "h04": "rolledback " + c1, "h05": "behind " + c1} {
		if s := w.scope(h); fmt.Sprint(s.Phase, " ", s.Commit) != want {
			t.Errorf("%s is %+v, not %s", h, s, want)
		}
	}
	after := strings.TrimPrefix(w.calls(), before)
	for _, h := range []string{"h01", "h02", "h03", "h04"} {
		if strings.Count(after, ", drain on "+h) != 1 || strings.Count(after, "undrain on "+h) != 1 {
			t.Errorf("%s was not drained and put back once: %s", h, after)
		}
	}
	if strings.Contains(after, "h05") || strings.Contains(after, "h06") {
		t.Errorf("hosts that were not reached were drained: %s", after)
	}
	// It stays so, drift is corrected to what each host has, and the hosts
	// that were not reached are not given the bad commit.
	w.drift("h01", "x\n")
	w.drift("h05", "x\n")
	w.eventually("drift mended to what each host has", func() bool { return w.apps() == stays })
	time.Sleep(time.Second)
	if got := w.apps(); got != stays {
		t.Fatal(got)
	}
	if s := w.target("infra/web").Status; s.Phase != store.Failing || s.Applied != c1 || s.Gate != string(engine.GateRollout) {
		t.Errorf("%+v", s)
	}
	// A newer commit goes everywhere.
	c3 := w.push(map[string]string{"web/app": "v3\n"})
	w.synced("infra/web", c3)
	if got := w.apps(); got != "v3 v3 v3 v3 v3 v3" {
		t.Fatal(got)
	}
	if s := w.target("infra/web").Status; s.Stopped != "" {
		t.Errorf("%+v", s)
	}
}
