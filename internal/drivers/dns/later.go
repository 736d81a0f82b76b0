package dns

import (
	"errors"

	"trueup.dev/trueup/internal/plan"
)

func parseOctoDNS(z *zone, text string, unknown map[string]string, diags *plan.Diagnostics) error {
	return errors.New("octodns")
}
func (st *desiredState) addPTR(spec *Spec, diags *plan.Diagnostics) {}
