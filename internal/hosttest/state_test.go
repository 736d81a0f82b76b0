//go:build real

package hosttest

import (
	"encoding/json"
	"os/exec"
	"strings"

	"trueup.dev/trueup/internal/store"
)

// target is what the command line says about the target, as JSON.
type target struct {
	Desired store.Desired      `json:"desired"`
	Status  store.Status       `json:"status"`
	Scopes  []store.ScopeState `json:"scopes"`
}

func (w *world) target() target {
	var t target
	cmd := w.command("show", "infra/app", "-o", "json")
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &t)
	}
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		w.t.Fatalf("show: %v: %s", err, out)
	}
	return t
}

// scope gives what is known of a host.
func (w *world) scope(name string) store.ScopeState {
	for _, s := range w.target().Scopes {
		if string(s.Scope) == name {
			return s
		}
	}
	return store.ScopeState{}
}

// count counts the hosts by phase.
func (w *world) count() map[store.ScopePhase]int {
	out := map[store.ScopePhase]int{}
	for _, s := range w.target().Scopes {
		out[s.Phase]++
	}
	return out
}

func (w *world) synced(commit string) {
	w.t.Helper()
	w.eventually("synced at "+commit, func() bool {
		s := w.target().Status
		return s.Phase == store.Synced && s.Applied == commit
	})
}

// must runs the command line.
func (w *world) must(args ...string) string {
	w.t.Helper()
	out, err := w.cli(args...)
	if err != nil {
		w.t.Fatalf("trueup %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
