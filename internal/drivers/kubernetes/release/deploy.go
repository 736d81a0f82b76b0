package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// Order is what an install or upgrade is to do beyond the release itself.
type Order struct {
	// TakeOwnership takes over objects that belong to no release or to another
	// one, all of which the plan has shown.
	TakeOwnership bool
	// ForceConflicts takes fields over from other managers.
	ForceConflicts bool
	// Goes tells which objects may be deleted: those that the plan has shown. New
	// are those that it creates, which go when a failure is taken back.
	Goes, New func(manifest.Ref) bool
	// Adapt gives an object as it is applied to the one that is there: without
	// the fields that are left to others.
	Adapt func(*unstructured.Unstructured) (*unstructured.Unstructured, error)
	// Description stands in Helm's history.
	Description string
	// Logf takes a line of the run's log.
	Logf func(format string, args ...any)
}

// ErrBusy tells that another client of Helm is at work on the release.
var ErrBusy = errors.New("another client of Helm is at work on the release")

// Failure is an action that failed.
type Failure struct {
	err error
	// Wrote tells that something may have been written.
	Wrote bool
	// Restored tells that what was written was taken back.
	Restored bool
}

// Error gives what failed.
func (f *Failure) Error() string { return f.err.Error() }

// Unwrap gives the error itself.
func (f *Failure) Unwrap() error { return f.err }

// Deploy installs the release as it is wanted or upgrades it, from whatever
// state the records say it is in. A failure is a *Failure.
func (c *Client) Deploy(ctx context.Context, r *Release, rec *Records, w *Wanted, o Order) error {
	log := newRunLog(o.Logf, r.scrub)
	wrote, err := c.deploy(ctx, r, rec, w, o, slog.New(log))
	if err == nil {
		return nil
	}
	f := &Failure{err: r.clean(err), Wrote: wrote}
	if wrote && r.Options.RollbackOnFailure && ctx.Err() == nil {
		c.remedy(ctx, r, rec, o, f)
	}
	return f
}

func (c *Client) deploy(ctx context.Context, r *Release, rec *Records, w *Wanted, o Order, log *slog.Logger) (wrote bool, err error) {
	if err := c.unlock(ctx, r, rec, o.Logf); err != nil {
		return false, err
	}
	made, err := c.applyCRDs(ctx, r, w.CRDs, o.Logf)
	if wrote = wrote || made; err != nil {
		return wrote, err
	}
	a, err := c.act(ctx, r, log, o.Logf)
	if err != nil {
		return wrote, err
	}
	defer a.end()
	a.restrict(r, o.Goes, w.Hooks)
	if k, ok := a.config.KubeClient.(*watched); ok {
		k.adapt = o.Adapt
	}
	if rec.Last == nil || rec.Last.Info.Status == rcommon.StatusUninstalled {
		err = a.install(r, rec, w, o)
	} else {
		err = a.upgrade(r, rec, w, o)
	}
	if err != nil && (errors.Is(err, driver.ErrReleaseExists) || strings.Contains(err.Error(), "another operation (install/upgrade/rollback) is in progress")) {
		err = fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if ctx.Err() != nil && err != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return wrote || a.wrote.Load(), err
}

func (a *act) install(r *Release, rec *Records, w *Wanted, o Order) error {
	in := action.NewInstall(a.config)
	in.ReleaseName, in.Namespace = r.Name, r.Namespace
	in.Timeout, in.WaitStrategy, in.WaitOptions, in.WaitForJobs = r.timeout(), r.strategy(), a.wait, r.Options.WaitForJobs
	in.DisableHooks, in.SkipSchemaValidation = r.Options.DisableHooks, true
	in.SkipCRDs = true // they are brought before
	in.ServerSideApply, in.ForceConflicts, in.TakeOwnership = true, o.ForceConflicts, o.TakeOwnership
	in.Description = o.Description
	in.Replace = rec.Last != nil
	in.Labels = map[string]string{revisionLabel: strconv.Itoa(next(rec))}
	ch, err := a.pack(w)
	if err != nil {
		return err
	}
	// Without a context of its own Helm waits for its own end; the guard sees to
	// it that this comes soon after the run was cancelled.
	_, err = in.Run(ch, w.Values)
	return err
}

func (a *act) upgrade(r *Release, rec *Records, w *Wanted, o Order) error {
	up := action.NewUpgrade(a.config)
	up.Namespace = r.Namespace
	up.Timeout, up.WaitStrategy, up.WaitOptions, up.WaitForJobs = r.timeout(), r.strategy(), a.wait, r.Options.WaitForJobs
	up.DisableHooks, up.SkipSchemaValidation = r.Options.DisableHooks, true
	up.SkipCRDs, up.ResetValues = true, true
	up.ServerSideApply, up.ForceConflicts, up.TakeOwnership = "true", o.ForceConflicts, o.TakeOwnership
	up.MaxHistory = r.maxHistory()
	up.Description = o.Description
	up.Labels = map[string]string{revisionLabel: strconv.Itoa(next(rec))}
	ch, err := a.pack(w)
	if err != nil {
		return err
	}
	_, err = up.Run(r.Name, ch, w.Values)
	return err
}

// next is the number of the next revision.
func next(rec *Records) int {
	if rec.Last == nil {
		return 1
	}
	return rec.Last.Version + 1
}

// unlock marks a revision as failed whose action ended in the middle. Helm
// refuses to touch it otherwise.
func (c *Client) unlock(ctx context.Context, r *Release, rec *Records, logf func(string, ...any)) error {
	if rec.Last == nil || !unfinished(rec.Last) {
		return nil
	}
	was := rec.Last.Info.Status
	a, err := c.act(ctx, r, slog.New(slog.DiscardHandler), logf)
	if err != nil {
		return err
	}
	defer a.end()
	now := *rec.Last
	info := *rec.Last.Info
	info.Status, info.Description = rcommon.StatusFailed, fmt.Sprintf("marked as failed by trueup: it ended in the middle (%s)", was)
	now.Info, now.Labels = &info, userLabels(rec.Last)
	if err := a.config.Releases.Update(&now); err != nil {
		return fmt.Errorf("revision %d was left %s and can't be marked as failed: %w", now.Version, was, err)
	}
	logf("revision %d of release %s was left %s: marked as failed", now.Version, r, was)
	rec.Last = &now
	return nil
}

// unfinished tells a revision whose action never came to its end.
func unfinished(l *helm.Release) bool {
	return l.Info.Status.IsPending() || l.Info.Status == rcommon.StatusUninstalling || l.Info.Status == rcommon.StatusUnknown
}

// userLabels are the labels of a record that are not Helm's own.
func userLabels(l *helm.Release) map[string]string {
	out := map[string]string{}
	for k, v := range l.Labels {
		switch k {
		case "name", "owner", "status", "version", "createdAt", "modifiedAt":
		default:
			out[k] = v
		}
	}
	return out
}

// remedy takes back what a failed action wrote.
func (c *Client) remedy(ctx context.Context, r *Release, rec *Records, o Order, f *Failure) {
	var err error
	back := 0
	if rec.Deployed == nil {
		err = c.Uninstall(ctx, r, Removal{Goes: o.New, Logf: o.Logf})
	} else {
		back = rec.Deployed.Version
		err = c.rollback(ctx, r, back, o)
	}
	what := fmt.Sprintf("rolled back to revision %d", back)
	if back == 0 {
		what = "what it had installed was removed"
	}
	if err != nil {
		f.err = fmt.Errorf("%w; to take it back failed too: %w", f.err, r.clean(err))
		return
	}
	f.Restored = true
	f.err = fmt.Errorf("%w (%s)", f.err, what)
}

// rollback goes back to a revision, as a new one.
func (c *Client) rollback(ctx context.Context, r *Release, revision int, o Order) error {
	a, err := c.act(ctx, r, slog.New(newRunLog(o.Logf, r.scrub)), o.Logf)
	if err != nil {
		return err
	}
	defer a.end()
	if err := a.restrictTo(r, o.New); err != nil {
		return err
	}
	back := action.NewRollback(a.config)
	back.Version = revision
	back.Timeout, back.WaitStrategy, back.WaitOptions, back.WaitForJobs = r.timeout(), r.strategy(), a.wait, r.Options.WaitForJobs
	back.DisableHooks, back.MaxHistory = r.Options.DisableHooks, r.maxHistory()
	back.ServerSideApply, back.ForceConflicts = "true", true // to go back to what stood before
	o.Logf("helm: rolling release %s back to revision %d", r, revision)
	return back.Run(r.Name)
}
