package secret

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type counting struct {
	n     atomic.Int32
	wait  chan struct{}
	value string
	err   error
}

func (c *counting) Resolve(ctx context.Context, _ string) (Value, error) {
	c.n.Add(1)
	if c.wait != nil {
		select {
		case <-c.wait:
		case <-ctx.Done():
			return Value{}, ctx.Err()
		}
	}
	return New(c.value), c.err
}

func TestCachedAsksOnceWithinItsTime(t *testing.T) {
	from := &counting{value: "one"}
	c := NewCached(from, time.Minute)
	now := time.Unix(0, 0)
	c.now = func() time.Time { return now }
	for range 3 {
		if v, err := c.Resolve(t.Context(), "a"); err != nil || v.Reveal() != "one" {
			t.Fatalf("%v, %v", v.Reveal(), err)
		}
	}
	if n := from.n.Load(); n != 1 {
		t.Errorf("three calls made %d requests", n)
	}
	from.value, now = "two", now.Add(2*time.Minute)
	if v, _ := c.Resolve(t.Context(), "a"); v.Reveal() != "two" {
		t.Errorf("a rotated secret is not noticed: %s", v.Reveal())
	}
}

func TestCachedSharesOneRequest(t *testing.T) {
	from := &counting{value: "one", wait: make(chan struct{})}
	c := NewCached(from, time.Minute)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if v, err := c.Resolve(t.Context(), "a"); err != nil || v.Reveal() != "one" {
				t.Errorf("%v, %v", v.Reveal(), err)
			}
		})
	}
	close(from.wait)
	wg.Wait()
	if n := from.n.Load(); n != 1 {
		t.Errorf("twenty callers made %d requests", n)
	}
}

// TestCachedOutlivesAnothersEnd: a caller that gives up does not take those
// along who wait for the same secret.
func TestCachedOutlivesAnothersEnd(t *testing.T) {
	from := &counting{value: "one", wait: make(chan struct{})}
	c := NewCached(from, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := c.Resolve(ctx, "a"); first <- err }()
	for from.n.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	second := make(chan string, 1)
	go func() { v, _ := c.Resolve(t.Context(), "a"); second <- v.Reveal() }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller got %v", err)
	}
	close(from.wait)
	if v := <-second; v != "one" {
		t.Errorf("the second caller got %q", v)
	}
}

func TestCachedKeepsNoTrouble(t *testing.T) {
	from := &counting{err: errors.New("down")}
	c := NewCached(from, time.Minute)
	for range 2 {
		if _, err := c.Resolve(t.Context(), "a"); err == nil {
			t.Error("no error")
		}
	}
	if n := from.n.Load(); n != 2 {
		t.Errorf("after an error it asked %d times in all", n)
	}
}
