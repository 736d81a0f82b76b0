package sql

import (
	"context"
	"sync"
	"time"
)

// wakeups tells waiters that work may have come. Each Claim takes note of
// the count, so that what comes between Claim and Wait is not slept over.
type wakeups struct {
	mu    sync.Mutex
	count uint64
	seen  uint64
	bell  chan struct{}
}

func newWakeups() *wakeups { return &wakeups{bell: make(chan struct{})} }

func (w *wakeups) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	close(w.bell)
	w.bell = make(chan struct{})
}

func (w *wakeups) claiming() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = w.count
}

// Wait returns when work may have come since the last Claim of this process,
// or after at most limit.
func (d *DB) Wait(ctx context.Context, limit time.Duration) error {
	w := d.wake
	w.mu.Lock()
	bell, missed := w.bell, w.count != w.seen
	// A second Wait without a Claim in between does sleep.
	w.seen = w.count
	w.mu.Unlock()
	if missed {
		return ctx.Err()
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-bell:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
