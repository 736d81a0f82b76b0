//go:build real

package tofu_test

import (
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/tofu"
	"trueup.dev/trueup/internal/plan"
	tofuserver "trueup.dev/trueup/internal/servertest/tofu"
)

// kitWorld is the server that the test provider talks to.
type kitWorld struct{ *rig }

func (w *kitWorld) Environment() driver.Environment { return w.environment() }

func (w *kitWorld) Set(_ testing.TB, name, value string) { w.things.Set(name, value) }

func (w *kitWorld) Unset(_ testing.TB, name string) { w.things.Unset(name) }

func (w *kitWorld) List(testing.TB) drivertest.Objects { return w.there() }

// Block refuses writes to one thing.
func (w *kitWorld) Block(_ testing.TB, name string) func() { return w.things.Block(name) }

// MakeUnreadable changes the credential that the server takes.
func (w *kitWorld) MakeUnreadable(testing.TB) func() {
	w.things.SetToken("another")
	return func() { w.things.SetToken(canaryToken) }
}

func kitInput(_ testing.TB, want drivertest.Objects) driver.Input {
	text := head
	names := make([]string, 0, len(want))
	for n := range want {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		text += thing(n, n, want[n])
	}
	tree := fstest.MapFS{"net": {Mode: fs.ModeDir | 0o755}, "net/main.tf": {Data: []byte(text), Mode: 0o644}}
	if len(want) == 0 {
		delete(tree, "net/main.tf")
	}
	return driver.Input{Tree: tree, Path: "net", Spec: &tofu.Spec{}, Scope: &tofu.Scope{}}
}

func TestConformance(t *testing.T) {
	program, err := tofuserver.Program()
	if err != nil {
		t.Fatal(err)
	}
	bad := func(s tofu.Spec) driver.Input {
		in := kitInput(t, drivertest.Objects{"one": "v1"})
		in.Spec = &s
		return in
	}
	broken := kitInput(t, drivertest.Objects{"one": "v1"})
	broken.Tree = fstest.MapFS{"net/main.tf": {Data: []byte("resource \"x\" {\n")}}
	drivertest.Run(t, drivertest.Harness{
		Driver: tofu.New(), Input: kitInput, Canaries: []string{canaryToken},
		New: func(t testing.TB) drivertest.World { return &kitWorld{newRig(t, program)} },
		Key: func(name string) plan.Key { return plan.Key{Address: plan.Address("things_thing." + name)} },
		Bad: []drivertest.BadInput{
			{Name: "version", Input: bad(tofu.Spec{Version: "newest"}), Field: "version"},
			{Name: "variable file", Input: bad(tofu.Spec{VarFiles: []string{"none.tfvars"}}), Field: "spec.varFiles[0]", File: "net/none.tfvars"},
			{Name: "syntax", Input: broken, File: "net/main.tf", Line: 1},
		},
		SecretInput: func(t testing.TB, canary string) driver.Input {
			in := kitInput(t, drivertest.Objects{"one": "v1"})
			in.Tree = fstest.MapFS{"net/main.tf": {Data: []byte(head + fmt.Sprintf("variable \"password\" {\n  sensitive = true\n}\n"+
				"resource \"things_thing\" \"one\" {\n  name   = \"one\"\n  value  = \"v1\"\n  secret = var.password\n}\n"))}}
			in.Values = map[string]plan.Output{"password": {Value: []byte(fmt.Sprintf("%q", canary)), Sensitive: true}}
			return in
		},
		OptOut: map[string]string{
			"EqualObjectIsAdopted":       "what is not in the state the program does not know: import blocks take it over",
			"UnownedConflictIsHeld":      "what is not in the state the program does not know; the provider refuses or overwrites",
			"StaleBaseIsRefused":         "a saved plan is stale when its state has moved (TestStalePlanIsRefused); a change made by hand after the plan is the provider's to notice",
			"RenameIsARename":            "renames are moved blocks of the code, not previously: TestLife",
			"KillBetweenWriteAndReport":  "the program writes on when we die, and its state knows: TestKilledTrueup",
			"KillDuringDelete":           "the program writes on when we die, and its state knows: TestKilledTrueup",
			"TruncatedReadPlansNoDelete": "providers read each resource whole or fail; there are no lists",
			"PruneSparesNeighbours":      "what is not in the state can't be counted, and is never touched: every other test here has such neighbours",
			"FingerprintFollowsChanges":  "there is no fingerprint",
			"ImportPlansNoWrite":         "import blocks of the code do this",
		},
	})
}
