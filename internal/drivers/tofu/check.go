package tofu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// judge asks the operator's checks about a plan that would write.
func (w *work) judge(ctx context.Context, p *plan.Plan, x planned) error {
	if !p.Writes() {
		return nil
	}
	for _, c := range w.s.c.Checks {
		said, err := w.ask(ctx, c, x.json)
		if err != nil {
			return err
		}
		if said != "" {
			p.Warnings = append(p.Warnings, plan.Diagnostic{Severity: plan.Warning, Field: "checks." + c.Name, Message: said})
		}
	}
	return nil
}

// ask runs one check. It gets the plan, and no credentials.
func (w *work) ask(ctx context.Context, c Check, doc []byte) (string, error) {
	limit := c.Timeout
	if limit == 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, within(w.s.env.Dir, lookRelative(c.Run[0])), c.Run[1:]...)
	var out, errs tail
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(doc), &out, &errs
	cmd.Env = []string{"PATH=" + searchPath, "LANG=C.UTF-8", "TRUEUP_TARGET=" + w.in.Target, "TRUEUP_ENVIRONMENT=" + w.s.env.Name, "TRUEUP_MODE=" + string(w.in.Mode)}
	cmd.Dir = w.tmp
	ownProcess(cmd, w.s.owner, false)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	said := w.scrub.text(strings.TrimSpace(out.String()))
	var exit *exec.ExitError
	switch {
	case err == nil:
		return said, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("the check %s did not answer within %s", c.Name, limit)
	case errors.As(err, &exit):
		if said == "" {
			said = w.scrub.text(strings.TrimSpace(errs.String()))
		}
		if said == "" {
			said = fmt.Sprintf("it ended with status %d", exit.ExitCode())
		}
		return "", driver.Permanent(fmt.Errorf("the check %s refuses the plan: %s", c.Name, said))
	}
	return "", fmt.Errorf("the check %s can't run: %w", c.Name, err)
}

// lookRelative finds a program without a slash on the search path; one with a
// slash is relative to the operator's configuration.
func lookRelative(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	return name
}
