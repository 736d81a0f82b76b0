package engine

import (
	"context"

	"trueup.dev/trueup/internal/store"
)

// holdLease renews one lease until stop is called, for work outside the loop
// (a local run that waits for a person's answer).
func (e *Engine) holdLease(ctx context.Context, f store.Fence) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, e.leaseTime/3) {
			if _, err := e.store.Renew(ctx, e.leaseTime, f); err != nil {
				e.log.Warn("a lease could not be renewed", "key", f.Key, "error", err)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// tell passes progress on where somebody watches.
func (j *job) tell(phase string) {
	if j.progress != nil {
		j.progress(j.target.ID, phase)
	}
}
