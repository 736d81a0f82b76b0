package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// environ are the variables by which a program learns what it is called for.
func (s *Subject) environ() []string {
	return []string{"TRUEUP_HOST=" + s.Host, "TRUEUP_TARGET=" + s.Target, "TRUEUP_COMMIT=" + s.Commit}
}

// onHost runs a command on the subject itself.
func (c *Checker) onHost(ctx context.Context, name string, spec *config.Command, log Logf) error {
	s := c.Subject
	if s == nil || s.On == nil {
		return driver.Permanent(fmt.Errorf("command %q runs on a host, and the driver has no hosts that it could run on", name))
	}
	cmd := driver.Command{Args: spec.ForScope(s.Target, s.Host), Dir: spec.Dir, Env: map[string]secret.Value{}}
	for _, v := range s.environ() {
		key, value, _ := strings.Cut(v, "=")
		cmd.Env[key] = secret.New(value)
	}
	var secrets []string
	for k, ref := range spec.Env {
		v, err := c.Secrets.Resolve(ctx, ref)
		if err != nil {
			return fmt.Errorf("variable %s: %w", k, err)
		}
		cmd.Env[k] = v
		if text := strings.TrimSpace(v.Reveal()); text != "" {
			secrets = append(secrets, text)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	limit := cmp.Or(max(spec.Timeout, 0), commandTime)
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	lines := 0
	err := s.On(inner, cmd, func(line string) {
		if lines++; lines > maxLines {
			return
		}
		for _, x := range secrets {
			line = strings.ReplaceAll(line, x, "***")
		}
		if len(line) > maxOutput {
			line = line[:maxOutput]
		}
		log("%s: %s: %s", s.Host, name, printable(strings.ToValidUTF8(line, "?")))
	})
	if inner.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("did not end within %s", limit)
	}
	return err
}
