package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"

	"trueup.dev/trueup/internal/driver"
)

// Test runs the tests of the deployed revision, once for each revision: what
// came of them stands in Helm's own record. Who may not run them can still ask
// what came of them.
func (c *Client) Test(ctx context.Context, r *Release, run bool, logf func(format string, args ...any)) error {
	rec, err := c.Records(ctx, r)
	if err != nil {
		return err
	}
	if rec.Last == nil || rec.Last.Info.Status != rcommon.StatusDeployed {
		return fmt.Errorf("release %s is not deployed", r)
	}
	switch phase, which := tested(rec.Last); phase {
	case helm.HookPhaseSucceeded:
		return nil
	case helm.HookPhaseFailed:
		return fmt.Errorf("the tests of revision %d failed before: %s; they run again with the next revision", rec.Last.Version, which)
	}
	if !run {
		return fmt.Errorf("%w: the tests of revision %d have not run yet", driver.ErrNotReady, rec.Last.Version)
	}
	return r.clean(c.test(ctx, r, rec.Last.Version, logf))
}

// tested gives what came of a revision's tests; Unknown means that they have
// to run.
func tested(l *helm.Release) (helm.HookPhase, string) {
	all := true
	for _, h := range l.Hooks {
		if !slices.Contains(h.Events, helm.HookTest) {
			continue
		}
		switch h.LastRun.Phase {
		case helm.HookPhaseFailed:
			return helm.HookPhaseFailed, h.Kind + "/" + h.Name
		case helm.HookPhaseSucceeded:
		default:
			all = false
		}
	}
	if all {
		return helm.HookPhaseSucceeded, ""
	}
	return helm.HookPhaseUnknown, ""
}

func (c *Client) test(ctx context.Context, r *Release, revision int, logf func(string, ...any)) error {
	a, err := c.act(ctx, r, slog.New(newRunLog(logf, r.scrub)), logf)
	if err != nil {
		return err
	}
	defer a.end()
	t := action.NewReleaseTesting(a.config)
	t.Namespace, t.Timeout, t.WaitOptions = r.Namespace, r.timeout(), a.wait
	_, shutdown, err := t.Run(r.Name)
	if ctx.Err() != nil {
		// A test that was cut off has to run again; its record says Failed.
		return errors.Join(context.Cause(ctx), err, a.untested(r, revision))
	}
	if e := shutdown(); e != nil && !strings.Contains(fmt.Sprint(err), e.Error()) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("tests of revision %d: %w", revision, err)
	}
	logf("helm: the tests of revision %d succeeded", revision)
	return nil
}

// untested takes the outcome of tests that were cut off out of the record.
func (a *act) untested(r *Release, revision int) error {
	x, err := a.config.Releases.Get(r.Name, revision)
	if err != nil {
		return err
	}
	rel, err := v1(x)
	if err != nil {
		return err
	}
	for _, h := range rel.Hooks {
		if slices.Contains(h.Events, helm.HookTest) && h.LastRun.Phase != helm.HookPhaseSucceeded {
			h.LastRun = helm.HookExecution{}
		}
	}
	return a.config.Releases.Update(rel)
}
