package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/storage/driver"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// Removal says how a release is uninstalled.
type Removal struct {
	KeepHistory bool
	// Goes tells which objects may be deleted; nil is all that Helm would.
	Goes func(manifest.Ref) bool
	Logf func(format string, args ...any)
}

// Uninstall removes what the release installed, with its hooks, and waits until
// it is gone. Only then are the records removed as well: Helm itself forgets a
// release whose objects are stuck.
func (c *Client) Uninstall(ctx context.Context, r *Release, o Removal) error {
	if err := c.uninstall(ctx, r, true, o); err != nil && !errors.Is(err, errUninstalled) {
		return r.clean(err)
	}
	if o.KeepHistory {
		return nil
	}
	return r.clean(c.uninstall(ctx, r, false, o))
}

// errUninstalled tells that there is only history left.
var errUninstalled = errors.New("it is uninstalled already")

func (c *Client) uninstall(ctx context.Context, r *Release, keep bool, o Removal) error {
	log := newRunLog(o.Logf, r.scrub)
	a, err := c.act(ctx, r, slog.New(log), o.Logf)
	if err != nil {
		return err
	}
	defer a.end()
	if err := a.restrictTo(r, o.Goes); err != nil {
		return err
	}
	un := action.NewUninstall(a.config)
	un.KeepHistory, un.DisableHooks, un.Timeout = keep, r.Options.DisableHooks, r.timeout()
	// To be gone is the point, whatever an install waits for.
	un.WaitStrategy, un.WaitOptions = helmkube.StatusWatcherStrategy, a.wait
	if r.Options.Wait == render.WaitLegacy {
		un.WaitStrategy = helmkube.LegacyStrategy
	}
	res, err := un.Run(r.Name)
	if res != nil && res.Info != "" && keep {
		o.Logf("helm: %s", strings.TrimSpace(res.Info))
	}
	switch {
	case errors.Is(err, driver.ErrReleaseNotFound):
		return nil
	case err != nil && err.Error() == fmt.Sprintf("the release named %q is already deleted", r.Name):
		return errUninstalled
	case err != nil && ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	case err != nil && log.shared.told() != nil:
		// Helm returns only that it failed, and logs why.
		return fmt.Errorf("%w: %w", err, log.shared.told())
	}
	return err
}

// Forget removes the records of a release and leaves its objects alone: they
// are somebody else's from now on.
func (c *Client) Forget(ctx context.Context, r *Release) error {
	a, err := c.act(ctx, r, slog.New(slog.DiscardHandler), func(string, ...any) {})
	if err != nil {
		return err
	}
	defer a.end()
	list, err := a.config.Releases.History(r.Name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, x := range list {
		rel, err := v1(x)
		if err != nil {
			return err
		}
		if _, err := a.config.Releases.Delete(r.Name, rel.Version); err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
			return err
		}
	}
	return nil
}
