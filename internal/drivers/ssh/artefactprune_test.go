package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

// TestReleasesOfOthers: what lies beside our releases and is none of them
// stays, when old releases go and when the artefact is taken away.
func TestReleasesOfOthers(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "app")
	foreign := filepath.Join(dest, "releases", "important-backup") // as long as a release's name
	if err := os.MkdirAll(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	h := &host{t: &local{}, facts: &Facts{}}
	releases := func() string {
		list, err := os.ReadDir(filepath.Join(dest, "releases"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	run := func(w *writer) {
		t.Helper()
		out, err := runScript(t.Context(), h.t, w.script, true, maxAnswer)
		if errs := outcomes(out, w.nonce, 1, err); errs[0] != nil {
			t.Fatal(errs[0])
		}
	}
	var before state
	for i := range 3 {
		s := &artefactState{dest: dest, Release: fmt.Sprintf("%016d", i), want: artefactEntry{Name: "tool", Keep: 1}}
		w := &writer{script: newScript(), host: h, ids: map[plan.Key]int{}}
		w.bring(s, before, "echo x >./new/tool && ( cd ./new && sha256sum -- tool ) >./sums")
		run(w)
		before = &artefactState{dest: dest, Release: s.Release, to: "releases/" + s.Release}
	}
	if got := releases(); got != "0000000000000002 0000000000000002.sums important-backup" {
		t.Errorf("after three releases, of which one is kept: %s", got)
	}
	w := &writer{script: newScript(), host: h, ids: map[plan.Key]int{}}
	(artefactKind{}).write(w, []step{{Old: &item{Value: &object{State: before}}}})
	run(w)
	if got := releases(); got != "important-backup" {
		t.Errorf("after the artefact was taken away: %s", got)
	}
}
