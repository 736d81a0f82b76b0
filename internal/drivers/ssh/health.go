package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Health answers the checks that hosts know by themselves:
//
//	systemd: app.service, or a list of units: each is active
func (s *session) Health(ctx context.Context, in driver.Input, check map[string]any) error {
	units, err := unitsOf(check)
	if err != nil {
		return driver.Permanent(err)
	}
	scopes := in.Only
	if scopes == nil {
		infos, err := s.Scopes(ctx, in)
		if err != nil {
			return err
		}
		for _, i := range infos {
			scopes = append(scopes, i.Scope)
		}
	}
	var errs []error
	for _, scope := range scopes {
		if err := s.active(ctx, scope, units); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", scope, err))
		}
	}
	return errors.Join(errs...)
}

// unitsOf reads a check.
func unitsOf(check map[string]any) ([]string, error) {
	for key := range check {
		if key != "systemd" {
			return nil, fmt.Errorf("hosts know no check %q; there is: systemd", key)
		}
	}
	var out []string
	switch x := check["systemd"].(type) {
	case string:
		out = []string{x}
	case []any:
		for _, v := range x {
			text, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("systemd: %v is no unit", v)
			}
			out = append(out, text)
		}
	}
	for _, u := range out {
		if u == "" || strings.HasPrefix(u, "-") || strings.ContainsAny(u, " \t\n/*?[") {
			return nil, fmt.Errorf("systemd: %q is no unit", u)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("systemd: name a unit, or a list of them")
	}
	return out, nil
}

// active asks a host whether units are active.
func (s *session) active(ctx context.Context, scope plan.Scope, units []string) error {
	inv, err := s.refresh()
	if err != nil {
		return err
	}
	h := inv.Host(string(scope))
	if h == nil {
		return driver.Permanent(errors.New("there is no such host in the inventory"))
	}
	t, err := s.transport(h)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	err = t.run(ctx, "systemctl is-active -- "+quoteAll(units), nil, &limitedBuffer{Buffer: &out, left: 4 << 10})
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	states := strings.Fields(out.String())
	if len(states) != len(units) {
		return driver.Permanent(fmt.Errorf("systemctl says nothing about %s: %w", strings.Join(units, ", "), err))
	}
	var bad []string
	for i, u := range units {
		if states[i] != "active" {
			bad = append(bad, u+" is "+states[i])
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%w: %s", driver.ErrNotReady, strings.Join(bad, ", "))
	}
	return nil
}

var (
	_ driver.HealthChecker = (*session)(nil)
	_ driver.Commander     = (*session)(nil)
	_ driver.Scoper        = (*session)(nil)
)
