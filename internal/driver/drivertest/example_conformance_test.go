package drivertest_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

// pairsWorld is one file and its view from outside.
type pairsWorld struct{ file string }

func newPairsWorld(t testing.TB) drivertest.World {
	w := &pairsWorld{file: filepath.Join(t.TempDir(), "pairs")}
	if err := os.WriteFile(w.file, []byte("# end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *pairsWorld) Environment() driver.Environment {
	return driver.Environment{Name: "pairs", Connect: &Connect{File: w.file}}
}

func (w *pairsWorld) edit(t testing.TB, change func(map[string]string)) {
	t.Helper()
	all, err := load(w.file)
	if err != nil {
		t.Fatal(err)
	}
	change(all)
	if err := save(w.file, all); err != nil {
		t.Fatal(err)
	}
}

func (w *pairsWorld) Set(t testing.TB, name, value string) {
	w.edit(t, func(all map[string]string) { all[name] = value })
}

func (w *pairsWorld) Unset(t testing.TB, name string) {
	w.edit(t, func(all map[string]string) { delete(all, name) })
}

func (w *pairsWorld) List(t testing.TB) drivertest.Objects {
	t.Helper()
	all, err := load(w.file)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (w *pairsWorld) MakeUnreadable(t testing.TB) func() {
	return w.swap(t, func(away string) error { return os.Rename(w.file, away) })
}

func (w *pairsWorld) TruncateReads(t testing.TB) func() {
	return w.swap(t, func(away string) error {
		text, err := os.ReadFile(w.file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(away, text, 0o600); err != nil {
			return err
		}
		return os.Truncate(w.file, int64(len(text)/2))
	})
}

func (w *pairsWorld) swap(t testing.TB, away func(string) error) func() {
	t.Helper()
	if err := away(w.file + ".away"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(w.file+".away", w.file); err != nil {
			t.Fatal(err)
		}
	}
}

func pairsInput(_ testing.TB, want drivertest.Objects) driver.Input {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		lines = append(lines, name+"="+want[name])
	}
	return driver.Input{Tree: fstest.MapFS{"pairs.txt": {Data: []byte(strings.Join(lines, "\n") + "\n")}}, Path: "pairs.txt",
		Spec: &Spec{}, Scope: &Scope{}}
}

func pairsHarness(d driver.Driver) drivertest.Harness {
	badSpec := pairsInput(nil, drivertest.Objects{"one": "v1"})
	badSpec.Spec = &Spec{Limit: -1}
	badFile := pairsInput(nil, nil)
	badFile.Tree = fstest.MapFS{"pairs.txt": {Data: []byte("one=v1\nnonsense\n")}}
	return drivertest.Harness{
		Driver: d, New: newPairsWorld, Input: pairsInput,
		Key: func(name string) plan.Key { return plan.Key{Address: plan.Address(name)} },
		Bad: []drivertest.BadInput{
			{Name: "limit", Input: badSpec, Field: "limit"},
			{Name: "no pair", Input: badFile, File: "pairs.txt", Line: 2},
		},
		OptOut: map[string]string{
			"PartialFailureKeepsOwnership": "the file is written whole: one pair can't fail alone",
			"SecretsDoNotShow":             "a file of pairs has no secrets, and no credentials lead to it",
		},
	}
}

func TestExample(t *testing.T) { drivertest.Run(t, pairsHarness(pairs{})) }
