package secret

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Cached keeps a resolver's answers for a short time, so that a burst of work
// or of webhooks doesn't become a burst of requests to a secret store. Several
// callers of one name share one request. Errors are not kept, but for
// ErrNotFound. Values are held in memory alone.
type Cached struct {
	from Resolver
	ttl  time.Duration
	now  func() time.Time

	mu sync.Mutex
	m  map[string]*answer
}

// answer is one name's value, or the wait for it.
type answer struct {
	done  chan struct{}
	value Value
	err   error
	until time.Time
}

// NewCached keeps answers of a resolver for ttl.
func NewCached(from Resolver, ttl time.Duration) *Cached {
	return &Cached{from: from, ttl: ttl, now: time.Now, m: map[string]*answer{}}
}

// Resolve gives the kept answer, or asks.
func (c *Cached) Resolve(ctx context.Context, rest string) (Value, error) {
	for {
		c.mu.Lock()
		a := c.m[rest]
		if a == nil {
			a = &answer{done: make(chan struct{})}
			c.m[rest] = a
			c.mu.Unlock()
			return c.ask(ctx, rest, a)
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return Value{}, ctx.Err()
		case <-a.done:
		}
		fresh := c.now().Before(a.until)
		if !fresh {
			c.drop(rest, a)
		}
		// Whoever waited for a request takes its answer, unless it was another
		// caller's end that broke it off.
		if fresh || a.until.IsZero() && a.err != nil && !errors.Is(a.err, context.Canceled) && !errors.Is(a.err, context.DeadlineExceeded) {
			return a.value, a.err
		}
	}
}

func (c *Cached) ask(ctx context.Context, rest string, a *answer) (Value, error) {
	defer close(a.done)
	a.value, a.err = c.from.Resolve(ctx, rest)
	if a.err == nil || errors.Is(a.err, ErrNotFound) {
		a.until = c.now().Add(c.ttl)
	} else {
		c.drop(rest, a)
	}
	return a.value, a.err
}

// drop forgets an answer, if it is still the one that counts.
func (c *Cached) drop(rest string, a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[rest] == a {
		delete(c.m, rest)
	}
}
