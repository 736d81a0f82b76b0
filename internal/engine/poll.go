package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

// staleAfter is how many missed polls make a source stale.
const staleAfter = 10

// poll fetches a repository and takes in what is new. Only the queue retries.
func (e *Engine) poll(ctx context.Context, l store.Lease) store.Finish {
	cfg := e.cfg.Load()
	conf, ok := cfg.Repositories[l.Key]
	if !ok {
		return store.Finish{Observed: l.Generation, Remove: true}
	}
	st, err := e.store.Repository(ctx, l.Key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Finish{Observed: l.Generation, RetryAfter: e.backoff(l.Attempts)}
	}
	st.Name = l.Key
	if err := e.fetchAndIntake(ctx, cfg, conf, &st, l); err != nil {
		e.log.Warn("a repository could not be taken in", "repository", l.Key, "error", err)
		e.fetchFailed(ctx, st, err)
		e.noticeStale(ctx, conf, st)
		return store.Finish{Observed: l.Generation, RetryAfter: min(e.backoff(l.Attempts), max(conf.Poll, time.Second))}
	}
	return store.Finish{Observed: l.Generation, NextDue: e.clock().Add(jitter(conf.Poll))}
}

func (e *Engine) fetchAndIntake(ctx context.Context, cfg *active, conf *config.Repository, st *store.RepositoryState, l store.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, max(cfg.Limits.FetchTimeout*2, time.Minute))
	defer cancel()
	m, err := e.mirror(ctx, conf.Name)
	if err != nil {
		return err
	}
	if _, err := m.Fetch(ctx); err != nil {
		if errors.Is(err, source.ErrAuth) {
			e.repos.get(conf.Name).closeMirror() // credentials are resolved anew
		}
		return err
	}
	rev, err := m.Resolve(ctx)
	if err != nil {
		return err
	}
	if c := cfg.Control; c != nil && e.parse != nil && c.Repository == conf.Name {
		snap, err := m.Snapshot(ctx, rev.Commit)
		if err != nil {
			return err
		}
		if err := e.takeControl(ctx, cfg, snap, rev); err != nil {
			return err
		}
		cfg = e.cfg.Load()
		if m, err = e.mirror(ctx, conf.Name); err != nil {
			return err
		}
	}
	recovered := st.Error != ""
	if rev.Commit == st.Head && st.ConfigVer == cfg.version && rev.Ref == st.Ref {
		st.FetchedAt, st.Error, st.ErrorAt = e.clock(), "", time.Time{}
		if recovered {
			e.noticeFresh(ctx, conf, *st)
		}
		return e.store.PutRepository(ctx, *st)
	}
	return e.intake(ctx, intake{cfg: cfg, conf: conf, mirror: m, state: *st, rev: rev, cause: causeOf(l), actor: actorOf(l, "system:poll"), fence: l.Fence})
}

// causeOf is the most urgent trigger's cause. Without a trigger it is a failed
// run's next attempt or, by the clock, a look for drift.
func causeOf(l store.Lease) string {
	best := store.TriggerRecord{Cause: "drift", Class: store.ByClock}
	if l.Class == store.ByRetry {
		best.Cause = "retry"
	}
	for _, t := range l.Triggers {
		if t.Class <= best.Class && t.Cause != "" {
			best = t
		}
	}
	return best.Cause
}

// actorOf is who stands behind the most urgent trigger.
func actorOf(l store.Lease, otherwise store.Actor) store.Actor {
	best := store.TriggerRecord{Actor: otherwise, Class: store.ByClock}
	for _, t := range l.Triggers {
		if t.Class <= best.Class && t.Actor != "" {
			best = t
		}
	}
	return best.Actor
}

// backoff doubles from RetryMin to RetryMax, with jitter.
func (e *Engine) backoff(attempts int) time.Duration {
	l := e.cfg.Load().Limits
	lo, hi := max(l.RetryMin, 100*time.Millisecond), max(l.RetryMax, time.Second)
	d := lo << min(attempts, 20)
	if d > hi || d <= 0 {
		d = hi
	}
	return jitter(d)
}

// jitter spreads d over 90% to 110%.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		d = time.Minute
	}
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
