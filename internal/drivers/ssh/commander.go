package ssh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Command runs a command of the operator's on a host: a health check, a drain
// or undrain hook. Its variables travel inside of the script, which comes over
// standard input, so that they stand in no process list.
func (s *session) Command(ctx context.Context, scope plan.Scope, c driver.Command, log func(line string)) error {
	if len(c.Args) == 0 {
		return driver.Permanent(errors.New("the command is empty"))
	}
	ih := s.inventory.Host(string(scope))
	if ih == nil {
		return driver.Permanent(fmt.Errorf("there is no host %s in the environment", scope))
	}
	t, err := s.transport(ih)
	if err != nil {
		return err
	}
	sc := newScript()
	sc.WriteString("{\n")
	if c.Dir != "" {
		if !path.IsAbs(c.Dir) {
			return driver.Permanent(fmt.Errorf("%q is no absolute path on a host", c.Dir))
		}
		fmt.Fprintf(sc, "cd -- %s || exit 126\n", quote(c.Dir))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Env)) {
		if !envNamePattern.MatchString(k) {
			return driver.Permanent(fmt.Errorf("%q is no name of a variable", k))
		}
		fmt.Fprintf(sc, "%s=%s\nexport %[1]s\n", k, quote(c.Env[k].Reveal()))
	}
	fmt.Fprintf(sc, "%s 2>&1\n} </dev/null\nexit $?\n", quoteAll(c.Args))
	lines := &lineWriter{log: log}
	err = t.run(ctx, shellFromStdin, sc.text(false), lines)
	lines.end()
	var exit *exitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s on %s: %w", c.Args[0], scope, err)
	}
	return err
}

// lineWriter passes output on line by line.
type lineWriter struct {
	log  func(string)
	rest []byte
}

const maxLine = 4 << 10

// Write takes the next piece.
func (l *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' {
			l.end()
			continue
		}
		if len(l.rest) < maxLine {
			l.rest = append(l.rest, c)
		}
	}
	return len(p), nil
}

func (l *lineWriter) end() {
	if len(l.rest) > 0 && l.log != nil {
		l.log(string(l.rest))
	}
	l.rest = l.rest[:0]
}

// Health looks at what the hosts' own service manager says:
// {active: [app.service]}. The hosts are those of the input's Only, or all of
// the target's.
func (s *session) Health(ctx context.Context, in driver.Input, check map[string]any) error {
	var units []string
	for key, v := range check {
		if key != "active" {
			return driver.Permanent(fmt.Errorf("the ssh driver has no health check %q; there is: active", key))
		}
		switch x := v.(type) {
		case string:
			units = []string{x}
		case []any:
			for _, u := range x {
				units = append(units, fmt.Sprint(u))
			}
		}
	}
	for _, u := range units {
		if !unitPattern.MatchString(u) {
			return driver.Permanent(fmt.Errorf("active: %q is no name of a unit", u))
		}
	}
	if len(units) == 0 {
		return driver.Permanent(errors.New("active: name one or more units"))
	}
	scopes, err := s.Scopes(ctx, in)
	if err != nil {
		return err
	}
	for _, sc := range scopes {
		if !in.Covers(sc.Scope) {
			continue
		}
		if err := s.active(ctx, sc.Scope, units); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) active(ctx context.Context, scope plan.Scope, units []string) error {
	var said []string
	err := s.Command(ctx, scope, driver.Command{Args: append([]string{"systemctl", "is-active", "--"}, units...)},
		func(line string) { said = append(said, line) })
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("%w: %w", driver.ErrNotReady, err)
	}
	// The exit status is 0 as soon as one of them is active, so the words count.
	if len(said) != len(units) {
		return fmt.Errorf("%w: on %s systemctl says %s", driver.ErrNotReady, scope, worded(strings.Join(said, ", ")))
	}
	for i, word := range said {
		switch word {
		case "active", "reloading":
		case "failed":
			return fmt.Errorf("on %s %s has failed", scope, units[i])
		default:
			return fmt.Errorf("%w: on %s %s is %s", driver.ErrNotReady, scope, units[i], word)
		}
	}
	return nil
}

var (
	_ driver.Commander     = (*session)(nil)
	_ driver.HealthChecker = (*session)(nil)
)
