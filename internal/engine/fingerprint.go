package engine

import (
	"context"
	"maps"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// unchanged tells whether the fingerprints say that a verified state still
// stands, so that the exact read can wait. It is asked only when time alone
// caused the run.
func (j *job) unchanged(ctx context.Context) bool {
	info := j.drv.Info()
	if j.lease.Class != store.ByClock || j.correction || info.ExactEvery <= 0 || j.status.Phase != store.Synced ||
		j.status.Digest != j.digest || j.mode != plan.Apply || j.status.Applied == "" {
		return false
	}
	if due := j.status.NextDue; !due.IsZero() && !j.e.clock().Before(due) {
		return false
	}
	digest, stored, err := j.e.store.Fingerprints(ctx, j.target.ID)
	if err != nil || digest != j.digest || len(stored) == 0 {
		return false
	}
	for _, fp := range stored {
		if fp.Value == "" || j.e.clock().Sub(fp.Exact) >= info.ExactEvery {
			return false
		}
	}
	if err := j.connect(ctx); err != nil {
		return false
	}
	now := j.sample(ctx)
	return maps.EqualFunc(now, stored, func(a string, b store.Fingerprint) bool { return a == b.Value })
}

// sample asks the session for fingerprints; nil when it has none.
func (j *job) sample(ctx context.Context) map[plan.Scope]string {
	f, ok := j.session.(driver.Fingerprinter)
	if !ok || j.mode == plan.Destroy {
		return nil
	}
	// Always the same input, with or without a plan beside it. The inventory is
	// left out: reading it would cost more than many a fingerprint.
	in := driver.Input{Target: j.target.ID, Tree: j.view, Path: j.res.Path, Spec: j.res.Spec, Scope: j.res.Scope, Values: j.used,
		Previously: j.res.Addresses, Mode: j.mode, Now: j.e.clock(), Prepared: j.input.Prepared, Log: j.e.log}
	fp, err := f.Fingerprint(ctx, in)
	if err != nil {
		j.e.log.Debug("no fingerprint", "target", j.target.ID, "error", err)
		return nil
	}
	return fp
}

// fingerprintBefore and fingerprintAfter stand around a verifying read; the
// fingerprint counts only when both are equal. A session that knows what its
// plan was made from says so afterwards, and needs no samples.
func (j *job) fingerprintBefore(ctx context.Context) {
	if _, ok := j.session.(driver.Planned); ok && j.mode != plan.Destroy {
		j.fpBefore = map[plan.Scope]string{}
		return
	}
	j.fpBefore = j.sample(ctx)
}

func (j *job) fingerprintAfter(ctx context.Context) {
	if j.fpBefore == nil {
		return
	}
	if p, ok := j.session.(driver.Planned); ok {
		j.fpBefore = p.Planned(j.target.ID)
		return
	}
	if !maps.Equal(j.fpBefore, j.sample(ctx)) {
		j.fpBefore = nil
	}
}

// keepFingerprints stores those of a verified, equal state.
func (j *job) keepFingerprints(ctx context.Context) error {
	if len(j.fpBefore) == 0 {
		return nil
	}
	now := j.e.clock()
	out := make(map[plan.Scope]store.Fingerprint, len(j.fpBefore))
	for scope, v := range j.fpBefore {
		out[scope] = store.Fingerprint{Value: v, At: now, Exact: now}
	}
	return j.e.store.PutFingerprints(ctx, j.lease.Fence, j.target.ID, j.digest, out)
}
