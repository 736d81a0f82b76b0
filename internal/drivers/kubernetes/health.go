package kubernetes

import (
	"context"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/health"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// ReadCheck finds mistakes in a health check.
func (*kubeDriver) ReadCheck(check map[string]any) plan.Diagnostics {
	_, diags := health.ParseCheck(check)
	return diags.Errors()
}

// Health asks whether a target's objects are ready.
func (s *session) Health(ctx context.Context, in driver.Input, check map[string]any) error {
	c, diags := health.ParseCheck(check)
	if err := diags.Err(); err != nil {
		return driver.Permanent(fmt.Errorf("health: %w", err))
	}
	set, err := s.set(ctx, in)
	if err != nil {
		return err
	}
	if len(set.incomplete) > 0 {
		return fmt.Errorf("%w: it is not known yet what is desired: %s", driver.ErrNotReady, strings.Join(set.incomplete, "; "))
	}
	var objects []manifest.Object
	for _, o := range set.order {
		if !o.marks.AnyHealth {
			objects = append(objects, o.sent())
		}
	}
	if err := s.checks.Check(ctx, set.cluster, in.Target, c, objects, set.secretive()...); err != nil {
		return err
	}
	return set.helm.test(ctx)
}
