package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Alone says what the agent of a host may do about drift of a target while it
// can't reach this server. It may correct what the server would correct by
// itself, under the same guards, and nothing else.
func (e *Engine) Alone(ctx context.Context, host, id string) (wire.Alone, error) {
	t, err := e.store.Target(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && t.State == store.Retired {
		return wire.Alone{Forget: true, Why: "the target is gone"}, nil
	}
	if err != nil {
		return wire.Alone{}, err
	}
	j := &job{e: e, cfg: e.cfg.Load(), target: t, desired: t.Desired, status: t.Status}
	if err := j.decode(t.Config); err != nil {
		return wire.Alone{Why: err.Error()}, nil
	}
	hold, err := j.hold(ctx)
	if err != nil {
		return wire.Alone{}, err
	}
	a := wire.Alone{Every: driftInterval(j), Guard: j.policy.Guard, Flapping: j.policy.Flapping, Why: j.notAlone(hold)}
	if a.Why == "" {
		states, err := e.store.Scopes(ctx, id)
		if err != nil {
			return wire.Alone{}, err
		}
		a.Why = notThere(states, plan.Scope(host), t.Desired)
	}
	a.Correct = a.Why == ""
	return a, nil
}

// notAlone says why an agent may not correct drift, "" when it may.
func (j *job) notAlone(hold *store.Hold) string {
	switch {
	case j.target.State != store.Active:
		return "the target is no longer in trueup.yaml"
	case hold != nil:
		return fmt.Sprintf("%s held by %s: %s", hold.Kind, hold.Actor, hold.Reason)
	case j.env.Retired:
		return "the environment is retired"
	case j.res.Suspend != "":
		return "suspended in trueup.yaml: " + j.res.Suspend
	case j.cfg.Freeze != "":
		return "frozen in server.yaml: " + j.cfg.Freeze
	case j.policy.Freeze != "":
		return "frozen by its policy: " + j.policy.Freeze
	case j.policy.Drift == "report":
		return "drift is reported, not corrected, under this policy"
	case len(j.policy.Windows) > 0:
		return "the policy has time windows, which only the server keeps"
	case j.mode == plan.Destroy:
		return "the target is being destroyed"
	}
	return ""
}

// notThere says why what a host last applied is not to be kept up there, ""
// when it is: it failed or was not seen through, or it is to be undone.
func notThere(states []store.ScopeState, host plan.Scope, want store.Desired) string {
	if len(states) == 0 {
		return ""
	}
	i := slices.IndexFunc(states, func(s store.ScopeState) bool { return s.Scope == host })
	if i < 0 {
		return "the target has nothing to do with this host any more"
	}
	switch s := states[i]; {
	case s.RollBack:
		return "what was last applied here failed and is to be undone"
	case s.Phase == store.ScopeFailed:
		return "what was last applied here failed: " + s.Message
	case s.Phase == store.ScopeRolling:
		return "what was last applied here was not checked to its end"
	case want.Source == "pin" && s.Commit != "" && s.Commit != want.Commit:
		return fmt.Sprintf("the target goes back to %.12s", want.Commit)
	}
	return ""
}

// driftInterval is the time between drift checks of a target.
func driftInterval(j *job) time.Duration {
	if j.policy.DriftInterval > 0 {
		return j.policy.DriftInterval
	}
	return 5 * time.Minute
}

// takeCorrections records what agents did to the target while they could not
// reach the server: a run of its own in the history, and the inventory, under
// the fence of this lease. What is recorded twice because a process died in
// between has the same run.
func (j *job) takeCorrections(ctx context.Context) error {
	list, err := j.e.store.Corrections(ctx, j.target.ID)
	if err != nil || len(list) == 0 {
		return err
	}
	inv, err := j.e.store.Owned(ctx, j.target.ID)
	if err != nil {
		return err
	}
	for _, c := range list {
		// Only what the target owns on that very host: an agent speaks for no
		// other, and can't make anything ours.
		var results []plan.Result
		realm := map[plan.Scope]string{}
		for _, r := range c.Results {
			o, ours := inv[r.Key]
			if !ours || r.Scope != plan.Scope(c.Host) || r.Action == plan.Delete || r.Action == plan.Forget || r.From != "" {
				continue
			}
			realm[r.Scope] = o.Realm
			results = append(results, r)
		}
		if err := j.recordCorrection(ctx, &c, realm, results); err != nil {
			return err
		}
		if err := j.e.store.DropCorrection(ctx, j.lease.Fence, c.ID); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) recordCorrection(ctx context.Context, c *store.AgentCorrection, realm map[plan.Scope]string, results []plan.Result) error {
	sum := sha256.Sum256([]byte(c.ID))
	at := c.At.UTC()
	run := store.Run{ID: fmt.Sprintf("r%s%06d%s", at.Format("060102150405"), at.Nanosecond()/1000, hex.EncodeToString(sum[:2])),
		Target: j.target.ID, Environment: j.target.Environment, Repository: j.target.Repository, Commit: j.status.Applied, Ref: j.status.AppliedRef,
		Class: store.ByClock, Cause: "drift", Actor: store.Actor("agent:" + c.Host), Mode: plan.AddOnly, ConfigVer: j.cfg.version,
		Digest: j.status.Digest, State: store.RunSucceeded, Phase: "apply", Error: c.Error, Summary: plan.Summary{},
		Approval: "drift of a state that rests on: " + j.status.RestsOn, Started: at, Finished: c.Ended}
	if c.Error != "" {
		run.State = store.RunPartial
	}
	for _, r := range results {
		if r.Outcome != plan.Applied {
			run.State = store.RunPartial
		}
		run.Summary[r.Action]++
	}
	_, err := j.e.store.Run(ctx, run.ID)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f := j.lease.Fence
	if err := j.e.store.PutRun(ctx, f, run); err != nil {
		return err
	}
	if err := j.e.store.Record(ctx, f, j.target.ID, run.ID, realm, results); err != nil {
		return err
	}
	if known {
		return nil
	}
	if err := j.e.store.AddResults(ctx, f, run.ID, results); err != nil {
		return err
	}
	return j.e.event(ctx, run.Actor, "run.finished", run.Target, run.ID, map[string]any{"state": run.State, "cause": "drift", "changes": len(results),
		"alone": true, "host": c.Host})
}

// Hosts gives the hosts of all environments that call in, each name once.
func (e *Engine) Hosts(ctx context.Context) ([]driver.Host, error) {
	cfg := e.cfg.Load()
	var out []driver.Host
	for _, name := range slices.Sorted(maps.Keys(cfg.Environments)) {
		env := cfg.Environments[name]
		d, err := e.drivers.Get(env.Driver)
		if err != nil {
			continue
		}
		lister, ok := d.(driver.HostLister)
		if !ok {
			continue
		}
		hosts, err := lister.Hosts(ctx, e.environment(env, nil))
		if err != nil {
			return nil, fmt.Errorf("environment %s: %w", name, err)
		}
		for _, h := range hosts {
			if h.Agent && !slices.ContainsFunc(out, func(o driver.Host) bool { return o.Name == h.Name }) {
				out = append(out, h)
			}
		}
	}
	return out, nil
}
