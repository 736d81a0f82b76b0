package render

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"trueup.dev/trueup/internal/plan"
)

// ReleaseSpec says how a release is installed, upgraded and uninstalled.
type ReleaseSpec struct {
	// Timeout bounds each hook and each wait; 5m by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty" jsonschema:"default=5m"`
	// Wait says what an install or upgrade waits for: watcher (the default: all
	// objects are ready, by their status), legacy (the same as Helm 3 did it, by
	// polling) or none (hooks alone).
	Wait string `yaml:"wait,omitempty" json:"wait,omitempty" jsonschema:"enum=watcher,enum=legacy,enum=none"`
	// WaitForJobs waits for the end of jobs that are no hooks, too.
	WaitForJobs bool `yaml:"waitForJobs,omitempty" json:"waitForJobs,omitempty"`
	// DisableHooks leaves the chart's hooks out.
	DisableHooks bool `yaml:"disableHooks,omitempty" json:"disableHooks,omitempty"`
	// RollbackOnFailure rolls a failed upgrade back to the last revision that
	// was deployed, and uninstalls what a failed first install made.
	RollbackOnFailure bool `yaml:"rollbackOnFailure,omitempty" json:"rollbackOnFailure,omitempty"`
	// MaxHistory is how many revisions Helm keeps; 10 by default.
	MaxHistory int `yaml:"maxHistory,omitempty" json:"maxHistory,omitempty" jsonschema:"default=10"`
	// KeepHistory keeps the revisions when the release is uninstalled.
	KeepHistory bool `yaml:"keepHistory,omitempty" json:"keepHistory,omitempty"`
	// CRDs says what happens to the chart's directory crds: create (the default)
	// makes those that are missing, createReplace brings them up to date as well,
	// skip leaves them out. Nothing ever removes them.
	CRDs string `yaml:"crds,omitempty" json:"crds,omitempty" jsonschema:"enum=create,enum=createReplace,enum=skip"`
	// Test runs the chart's tests as part of the target's health checks.
	Test bool `yaml:"test,omitempty" json:"test,omitempty"`
	// StorageNamespace is where Helm keeps its revisions; the release's
	// namespace by default.
	StorageNamespace string `yaml:"storageNamespace,omitempty" json:"storageNamespace,omitempty"`
}

// The words of wait and crds of a release.
const (
	WaitWatcher = "watcher"
	WaitLegacy  = "legacy"
	WaitNone    = "none"

	CRDsCreate        = "create"
	CRDsCreateReplace = "createReplace"
	CRDsSkip          = "skip"
)

func (o *ReleaseSpec) check(d *plan.Diagnostics, mode string) {
	if o == nil {
		return
	}
	const at = "helm.release."
	one := func(field, text string, words ...string) {
		if text != "" && !slices.Contains(words, text) {
			d.Errorf(plan.Source{}, at+field, "write "+strings.Join(words, ", "), "%q is unknown", text)
		}
	}
	if mode != Release {
		d.Errorf(plan.Source{}, "helm.release", "remove it, or set helm.mode: release", "it means nothing where the chart's objects are applied as manifests")
	}
	if o.Test && o.DisableHooks {
		d.Errorf(plan.Source{}, at+"test", "remove one of the two", "tests are hooks, and those are disabled")
	}
	one("wait", o.Wait, WaitWatcher, WaitLegacy, WaitNone)
	one("crds", o.CRDs, CRDsCreate, CRDsCreateReplace, CRDsSkip)
	if o.Timeout < 0 {
		d.Errorf(plan.Source{}, at+"timeout", "write a time such as 5m", "is negative")
	}
	if o.MaxHistory < 0 || o.MaxHistory == 1 {
		d.Errorf(plan.Source{}, at+"maxHistory", "write 2 or more: a rollback needs the revision before", "%d is too little", o.MaxHistory)
	}
	if o.WaitForJobs && o.Wait == WaitNone {
		d.Errorf(plan.Source{}, at+"waitForJobs", "remove it, or wait: none", "nothing is waited for")
	}
	if o.RollbackOnFailure && o.Wait == WaitNone {
		d.Errorf(plan.Source{}, at+"rollbackOnFailure", "remove wait: none", "a failure shows only to one who waits")
	}
	if o.StorageNamespace != "" && len(validation.IsDNS1123Label(o.StorageNamespace)) > 0 {
		d.Errorf(plan.Source{}, at+"storageNamespace", "write lower-case letters, digits and dashes", "%q is no name of a namespace", o.StorageNamespace)
	}
}
