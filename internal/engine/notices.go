package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// watch lets a session tell of changes as they happen, where the environment's
// policy wants that. The function that it gives ends the watch.
func (e *Engine) watch(s driver.Session, env *config.Environment) context.CancelFunc {
	w, ok := s.(driver.Watcher)
	if p, _ := e.cfg.Load().policyOf(env); !ok || p.Notice == "off" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := w.Watch(ctx, e.notices.add); err != nil {
		e.log.Info("changes are found by the clock alone", "environment", env.Name, "error", err)
	}
	return cancel
}

// noticed starts a drift check of a target that something was told of. One that
// is failing has its own times.
func (e *Engine) noticed(ctx context.Context, target string) {
	t, err := e.store.Target(ctx, target)
	if err != nil || t.State != store.Active || t.Status.Phase == store.Failing || t.Status.Phase == store.Partial {
		return
	}
	err = e.store.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: target, Slot: t.Environment, Class: store.ByClock, Cause: string(plan.ByDrift), Actor: "system:watch"})
	if err != nil {
		e.log.Warn("a change that was noticed waits for the next drift check", "target", target, "error", err)
	}
}

// The bounds of notices. Each target has a pause of its own that grows as long
// as it is told of again and again, so that a noisy one costs little and keeps
// nobody else waiting.
const (
	noticePause   = 10 * time.Second
	noticeLongest = 5 * time.Minute
	noticeEvery   = 50 * time.Millisecond // of all targets
	noticeKnown   = 10_000                // pauses that are remembered
)

// notices passes on what sessions notice: a target at most once in its pause,
// and all of them in the order of their first notice.
type notices struct {
	pass func(ctx context.Context, target string)

	mu      sync.Mutex
	known   map[string]*notice
	pending []*notice
	signal  chan struct{}
}

type notice struct {
	target  string
	pause   time.Duration
	last    time.Time // when it was passed on
	waiting bool
}

func newNotices(pass func(context.Context, string)) *notices {
	return &notices{pass: pass, known: map[string]*notice{}, signal: make(chan struct{}, 1)}
}

// add takes a notice. It never waits.
func (n *notices) add(target string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x := n.known[target]
	if x == nil {
		n.trim()
		x = &notice{target: target}
		n.known[target] = x
	}
	if x.waiting {
		return
	}
	x.waiting = true
	n.pending = append(n.pending, x)
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

// trim forgets targets that have been quiet.
func (n *notices) trim() {
	if len(n.known) < noticeKnown {
		return
	}
	for id, x := range n.known {
		if !x.waiting && time.Since(x.last) > x.pause {
			delete(n.known, id)
		}
	}
}

// take gives the first target whose pause is over; else how long to wait, 0
// for a new notice.
func (n *notices) take(now time.Time) (target string, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, x := range n.pending {
		left := x.last.Add(x.pause).Sub(now)
		if left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		n.pending = slices.Delete(n.pending, i, i+1)
		if now.Sub(x.last) > noticeLongest+x.pause {
			x.pause = 0
		}
		x.pause = min(max(2*x.pause, noticePause), noticeLongest)
		x.last, x.waiting = now, false
		return x.target, noticeEvery
	}
	return "", wait
}

// run passes notices on until ctx ends.
func (n *notices) run(ctx context.Context) {
	for ctx.Err() == nil {
		target, wait := n.take(time.Now())
		if target != "" {
			n.pass(ctx, target)
			sleep(ctx, wait)
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-n.signal:
		case <-timer:
		}
	}
}
