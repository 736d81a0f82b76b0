package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Health answers the checks that hosts know by themselves:
//
//	systemd: app.service, or a list of units: each has been active for some seconds
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
	case []string:
		out = x
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
	if s.askAgent(h) {
		return s.askBare(ctx, h, driver.Ask{Op: driver.AgentHealth, Check: map[string]any{"systemd": units}}, nil)
	}
	t, err := s.transport(h)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	script := "for u in " + quoteAll(units) + "; do systemctl show -p ActiveState -p ActiveEnterTimestampMonotonic -- \"$u\"; echo; done; echo; cat /proc/uptime"
	err = t.run(ctx, script, nil, &limitedBuffer{Buffer: &out, left: 64 << 10})
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	bad, ok := judge(units, out.String())
	switch {
	case !ok && err != nil:
		return driver.Permanent(fmt.Errorf("systemctl says nothing about %s: %w", strings.Join(units, ", "), err))
	case !ok:
		return driver.Permanent(fmt.Errorf("systemctl says nothing about %s", strings.Join(units, ", ")))
	case len(bad) > 0:
		return fmt.Errorf("%w: %s", driver.ErrNotReady, strings.Join(bad, ", "))
	}
	return nil
}

// settled is how many seconds a unit must have been active: one that starts
// and dies is active for a moment, again and again.
const settled = 2

// judge reads the answer: one paragraph for each unit, then the uptime.
func judge(units []string, answer string) (bad []string, ok bool) {
	parts := strings.Split(strings.TrimSpace(answer), "\n\n")
	last := strings.Fields(parts[len(parts)-1])
	if len(parts) != len(units)+1 || len(last) == 0 {
		return nil, false
	}
	up, err := strconv.ParseFloat(last[0], 64)
	if err != nil {
		return nil, false
	}
	for i, u := range units {
		props := map[string]string{}
		for line := range strings.Lines(parts[i]) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			props[key] = value
		}
		since, err := strconv.ParseFloat(props["ActiveEnterTimestampMonotonic"], 64)
		switch {
		case props["ActiveState"] == "" || err != nil:
			return nil, false
		case props["ActiveState"] != "active":
			bad = append(bad, u+" is "+props["ActiveState"])
		case up-since/1e6 < settled:
			bad = append(bad, fmt.Sprintf("%s is active for %.1fs only", u, max(up-since/1e6, 0)))
		}
	}
	return bad, true
}

var (
	_ driver.HealthChecker = (*session)(nil)
	_ driver.Commander     = (*session)(nil)
	_ driver.Scoper        = (*session)(nil)
)
