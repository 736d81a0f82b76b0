package mailbox

import (
	"sync"
	"time"
)

// limiter lets each key do burst things at once and rate of them a second.
type limiter struct {
	clock       func() time.Time
	rate, burst float64
	mu          sync.Mutex
	m           map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the memory that strangers can use.
const maxBuckets = 10_000

func newLimiter(clock func() time.Time, rate, burst float64) *limiter {
	return &limiter{clock: clock, rate: rate, burst: burst, m: map[string]*bucket{}}
}

// fill brings a key's bucket up to now.
func (l *limiter) fill(key string) *bucket {
	now := l.clock()
	b := l.m[key]
	if b == nil {
		if len(l.m) >= maxBuckets {
			l.drop(now)
		}
		b = &bucket{left: l.burst, at: now}
		l.m[key] = b
	}
	b.left = min(l.burst, b.left+now.Sub(b.at).Seconds()*l.rate)
	b.at = now
	return b
}

// drop forgets the buckets that are full again, or all when none is.
func (l *limiter) drop(now time.Time) {
	for k, b := range l.m {
		if b.left+now.Sub(b.at).Seconds()*l.rate >= l.burst {
			delete(l.m, k)
		}
	}
	if len(l.m) >= maxBuckets {
		clear(l.m)
	}
}

// take uses one up; false when there is none.
func (l *limiter) take(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.fill(key)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// empty tells whether nothing is left.
func (l *limiter) empty(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fill(key).left < 1
}
