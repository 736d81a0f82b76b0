// Package drivertest is the conformance kit that every driver passes. A driver
// says in a Harness how its environment is made, what its desired state looks
// like and how the environment looks from outside; Run does the rest.
//
//	func TestDriver(t *testing.T) { drivertest.Run(t, drivertest.Harness{…}) }
package drivertest

import (
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Objects is a state as the kit sees it: values by name. Names are plain
// lower-case words; values are short words without meaning. A driver's harness
// makes of each whatever its environment holds: a TXT record, a file, a user.
type Objects map[string]string

// World is one fresh, empty environment and its view from outside, past the
// driver. It cleans up after itself through the test it was made for.
type World interface {
	// Environment is what the driver opens.
	Environment() driver.Environment
	// Set makes or changes an object by hand.
	Set(t testing.TB, name, value string)
	// Unset removes an object by hand.
	Unset(t testing.TB, name string)
	// List gives all objects that are there.
	List(t testing.TB) Objects
}

// Unreadable is a World that can be made unreadable: connection refused,
// transfer denied, directory gone. Nothing in it may change meanwhile.
type Unreadable interface {
	MakeUnreadable(t testing.TB) (mend func())
}

// Truncating is a World whose reads can be cut short in the middle.
type Truncating interface {
	TruncateReads(t testing.TB) (mend func())
}

// Blocking is a World that can refuse every write to one object while writes
// to others go through.
type Blocking interface {
	Block(t testing.TB, name string) (mend func())
}

// BadInput is a desired state or spec with a mistake, and what the finding
// must name.
type BadInput struct {
	Name  string
	Input driver.Input
	Field string // of the spec; "" when the mistake is in a file
	File  string // "" when the mistake is in the spec
	Line  int    // 0 when the file has no lines
}

// Harness is what a driver gives to the kit.
type Harness struct {
	Driver driver.Driver
	// New makes a world.
	New func(t testing.TB) World
	// Input gives Tree, Path, Spec and Scope for a desired state. The kit
	// fills in the rest.
	Input func(t testing.TB, want Objects) driver.Input
	// Key is the key of a name.
	Key func(name string) plan.Key
	// Bad lists mistakes.
	Bad []BadInput
	// SecretInput is a desired state that holds the canary as a secret; nil
	// where the driver's desired states hold none.
	SecretInput func(t testing.TB, canary string) driver.Input
	// Canaries are secrets of the connection. They must show up nowhere.
	Canaries []string
	// OptOut has a reason for each test, by name, that the driver can't pass.
	// What it opts out of stands in its documentation.
	OptOut map[string]string
}

// conformance is one test of the kit.
type conformance struct {
	name string
	run  func(b *bench)
}

func conformances() []conformance {
	return []conformance{
		{"Info", testInfo},
		{"PrepareReadsTheSnapshotAlone", testPrepare},
		{"BadInputNamesItsPlace", testBadInput},
		{"PlanWritesNothing", testPlanWritesNothing},
		{"PlanIsDeterministic", testPlanIsDeterministic},
		{"PlanAfterApplyIsEmpty", testPlanAfterApplyIsEmpty},
		{"PlanThroughJSONInAFreshSession", testThroughJSON},
		{"SessionsAreConcurrent", testConcurrent},
		{"DriftIsFoundAndCorrected", testDrift},
		{"StaleBaseIsRefused", testStale},
		{"EqualObjectIsAdopted", testAdopt},
		{"UnownedConflictIsHeld", testConflict},
		{"PruneSparesNeighbours", testPrune},
		{"AddOnlyNeverDeletes", testAddOnly},
		{"RenameIsARename", testRename},
		{"DestroyEmptiesTheInventory", testDestroy},
		{"EmptyDesiredStateRemovesNothing", testEmptyDesired},
		{"ImpactMatchesWhatHappened", testImpact},
		{"PartialFailureKeepsOwnership", testPartialFailure},
		{"KillBeforeWrite", testKillBeforeWrite},
		{"KillBetweenWriteAndReport", testKillAfterWrite},
		{"KillDuringDelete", testKillDuringDelete},
		{"CancelIsPrompt", testCancel},
		{"UnreadableTouchesNothing", testUnreadable},
		{"TruncatedReadPlansNoDelete", testTruncated},
		{"SecretsDoNotShow", testSecrets},
		{"FingerprintFollowsChanges", testFingerprint},
		{"ImportPlansNoWrite", testImport},
	}
}

// Run runs the whole kit against a driver.
func Run(t *testing.T, h Harness) {
	t.Helper()
	known := map[string]bool{}
	for _, c := range conformances() {
		known[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			if reason, out := h.OptOut[c.name]; out {
				t.Logf("opted out: %s", reason)
				if reason == "" {
					t.Errorf("opting out of %s needs a reason", c.name)
				}
				return
			}
			b := newBench(t, h)
			c.run(b)
			b.noCanaries()
		})
	}
	for name := range h.OptOut {
		if !known[name] {
			t.Errorf("there is no test %q to opt out of", name)
		}
	}
}
