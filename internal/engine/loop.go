package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"trueup.dev/trueup/internal/store"
)

// Causes of a cancelled run.
var (
	errLeaseLost = errors.New("the lease was lost")
	errStopping  = errors.New("the server is stopping")
)

// cancelledBy is a person's wish to stop a run.
type cancelledBy struct{ actor store.Actor }

func (c cancelledBy) Error() string { return fmt.Sprintf("cancelled by %s", c.actor) }

const (
	idleWait  = 5 * time.Second
	stopGrace = 30 * time.Second
	// driftSpread is the time over which a restart spreads overdue drift checks.
	driftSpread = 5 * time.Minute
)

// allKinds is the work that the engine answers.
var allKinds = []store.WorkKind{store.Reconcile, store.Preview, store.Poll, store.Propose, store.Images, store.Outbox}

// Run answers work until ctx ends, then stops gracefully: running applies may
// end, everything else is given back.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.start(ctx); err != nil {
		return err
	}
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(errStopping)
	go e.keepLeases(work)
	go e.housekeeping(work)
	go e.notices.run(work)
	for ctx.Err() == nil {
		n, err := e.dispatch(ctx, work)
		if err != nil && ctx.Err() == nil {
			e.log.Error("the queue can't be read; trying again", "error", err)
			n = 0
			sleep(ctx, time.Second)
		}
		if n == 0 {
			e.idle(ctx)
		}
	}
	e.ready.Store(false)
	e.drain(stop)
	e.sessions.closeAll()
	e.versions.reset()
	e.repos.reset(nil)
	return nil
}

func (e *Engine) start(ctx context.Context) error {
	if err := e.seed(ctx, store.ByClock, "start", "system:start"); err != nil {
		return fmt.Errorf("seed the queue: %w", err)
	}
	if n, err := e.store.SpreadDrift(ctx, driftSpread); err != nil {
		return fmt.Errorf("spread drift checks: %w", err)
	} else if n > 0 {
		e.log.Info("drift checks that came due meanwhile are spread", "targets", n, "over", driftSpread)
	}
	e.ready.Store(true)
	return nil
}

// dispatch claims as much work as there is room for.
func (e *Engine) dispatch(ctx, work context.Context) (int, error) {
	cfg := e.cfg.Load()
	room := cfg.Limits.Concurrency - e.running.len()
	if room <= 0 {
		return 0, nil
	}
	leases, err := e.store.Claim(ctx, store.ClaimOptions{Owner: e.owner, Kinds: allKinds, Max: room, Lease: e.leaseTime, Grace: e.grace(cfg),
		ConfigVersion: cfg.version, SlotLimit: e.slotLimits(cfg), DefaultSlot: 1})
	if err != nil {
		return 0, err
	}
	for _, l := range leases {
		runCtx, cancel := context.WithCancelCause(work)
		e.running.add(l.Fence, cancel)
		go e.serve(runCtx, cancel, l)
	}
	return len(leases), nil
}

// grace is how long a lease that ran out is left alone, so that a holder that
// is still stopping can end: the longest StopGrace of the drivers that have an
// environment.
func (e *Engine) grace(cfg *active) time.Duration {
	var d time.Duration
	for _, env := range cfg.Environments {
		if drv, err := e.drivers.Get(env.Driver); err == nil {
			d = max(d, drv.Info().StopGrace)
		}
	}
	return d
}

func (e *Engine) slotLimits(cfg *active) map[string]int {
	m := make(map[string]int, len(cfg.Environments)+1)
	for name, env := range cfg.Environments {
		m[name] = max(env.Concurrency, 1)
	}
	m[outboxSlot] = 4
	for name := range cfg.Repositories {
		m[pullSlot(name)] = 2
	}
	return m
}

// serve answers one lease and gives it back, whatever happens.
func (e *Engine) serve(ctx context.Context, cancel context.CancelCauseFunc, l store.Lease) {
	defer e.wake()
	defer e.running.remove(l.Fence)
	defer cancel(nil)
	done := e.answer(ctx, l)
	if errors.Is(context.Cause(ctx), errLeaseLost) {
		return
	}
	fin, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	if err := e.store.Finish(fin, l.Fence, done); err != nil && !errors.Is(err, store.ErrFenced) {
		e.log.Error("work could not be given back; its lease will expire", "kind", l.Kind, "key", l.Key, "error", err)
	}
}

// answer does the work of a lease. A panic in a driver ends its run, not the
// server.
func (e *Engine) answer(ctx context.Context, l store.Lease) (done store.Finish) {
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("a run panicked", "kind", l.Kind, "key", l.Key, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			done = store.Finish{Observed: l.Generation, RetryAfter: e.backoff(l.Attempts)}
		}
	}()
	switch l.Kind {
	case store.Propose:
		return e.proposals(ctx, l)
	case store.Images:
		return e.lookAtImages(ctx, l)
	case store.Poll:
		return e.poll(ctx, l)
	case store.Preview:
		return e.preview(ctx, l)
	case store.Outbox:
		return e.deliver(ctx, l)
	}
	return e.reconcile(ctx, l)
}

// wake ends an idle wait: a slot became free.
func (e *Engine) wake() {
	select {
	case e.running.freed <- struct{}{}:
	default:
	}
}

// idle waits for work, for a free slot or for the next due time.
func (e *Engine) idle(ctx context.Context) {
	wait := idleWait
	if next, err := e.store.Next(ctx, allKinds); err == nil && !next.IsZero() {
		if now, err := e.store.Now(ctx); err == nil {
			wait = min(max(next.Sub(now), 20*time.Millisecond), idleWait)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-e.running.freed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if e.cfg.Load().Limits.Concurrency <= e.running.len() {
		sleep(ctx, idleWait)
		return
	}
	if err := e.store.Wait(ctx, wait); err != nil && ctx.Err() == nil {
		sleep(ctx, wait)
	}
}

// keepLeases renews leases well before they end, stops runs whose lease was
// lost and passes on wishes to cancel. A store that does not answer counts as
// one that refuses: no call waits for longer than a sixth of the lease.
func (e *Engine) keepLeases(ctx context.Context) {
	every := min(e.leaseTime/3, time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held := e.running.fences()
		if len(held) == 0 {
			renewed = time.Now()
			continue
		}
		if time.Since(renewed) >= e.leaseTime/3-every/2 {
			asked := time.Now() // the lease counts from here or later
			if e.renew(ctx, held, renewed) {
				renewed = asked
			} else {
				continue
			}
		}
		e.passOnCancels(ctx, held)
	}
}

// renew extends leases and stops the runs of those that are lost. It tells
// whether the store answered; when it has not for so long that the leases
// near their end, the runs stop before another replica may take over.
func (e *Engine) renew(ctx context.Context, held []store.Fence, renewed time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, e.leaseTime/6)
	defer cancel()
	lost, err := e.store.Renew(ctx, e.leaseTime, held...)
	if err != nil && time.Since(renewed) > e.leaseTime*2/3 {
		lost = held
	}
	for _, f := range lost {
		e.running.cancel(f, errLeaseLost)
	}
	return err == nil
}

func (e *Engine) passOnCancels(ctx context.Context, held []store.Fence) {
	ctx, cancel := context.WithTimeout(ctx, e.leaseTime/6)
	defer cancel()
	for _, f := range held {
		if f.Kind != store.Reconcile {
			continue
		}
		if by, yes, err := e.store.Cancelled(ctx, f); err == nil && yes {
			e.running.cancel(f, cancelledBy{by})
		}
	}
}

// drain waits for running work, then cancels what is left.
func (e *Engine) drain(stop context.CancelCauseFunc) {
	done := make(chan struct{})
	go func() { e.running.wg.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(stopGrace):
	}
	stop(errStopping)
	select {
	case <-done:
	case <-time.After(stopGrace):
		e.log.Error("runs did not end in time; their leases will expire", "running", e.running.len())
	}
}

// housekeeping drops old history and packs mirrors.
func (e *Engine) housekeeping(ctx context.Context) {
	for sleep(ctx, time.Hour) {
		l := e.cfg.Load().Limits
		if err := e.store.Retain(ctx, l.KeepRuns, time.Duration(l.KeepDays)*24*time.Hour); err != nil {
			e.log.Error("old history could not be dropped", "error", err)
		}
		e.repos.gc(ctx)
	}
}

// sleep waits for d; it tells whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
