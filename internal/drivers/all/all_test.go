package all_test

import (
	"testing"

	"trueup.dev/trueup/internal/drivers/all"
)

func TestNames(t *testing.T) {
	for name, d := range all.Registry() {
		info := d.Info()
		if info.Name != name {
			t.Errorf("%q is registered as %q", info.Name, name)
		}
		if info.Summary == "" || info.Version == "" || info.Spec == nil || info.Scope == nil || info.Connect == nil {
			t.Errorf("%s: Info is not complete: %+v", name, info)
		}
	}
}
