package rest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/source/forge"
)

// limit remembers until when the forge wants no calls.
type limit struct {
	mu    sync.Mutex
	until time.Time
}

// longest bounds what a forge may ask for: a header that is wrong, or in
// another unit, does not stop trueup for good.
const longest = 2 * time.Hour

// fallback is the wait where a forge says that there is a limit but not until
// when, as GitHub recommends.
const fallback = time.Minute

// wait waits for the end of a limit, or gives a LimitedError if that is too
// far away.
func (l *limit) wait(ctx context.Context, o Options) error {
	l.mu.Lock()
	until := l.until
	l.mu.Unlock()
	d := until.Sub(o.Now())
	if d <= 0 {
		return nil
	}
	end, bounded := ctx.Deadline()
	if d > o.MaxWait || bounded && o.Now().Add(d).After(end) {
		return forge.LimitedError{Until: until}
	}
	return o.Sleep(ctx, d)
}

// note reads an answer's headers. It tells whether the call itself was
// refused for a limit, and so did nothing.
func (l *limit) note(resp *http.Response, now time.Time) (time.Time, bool) {
	until, limited := refused(resp, now)
	if !limited {
		if until = spent(resp, now); until.IsZero() {
			return until, false
		}
	}
	if until.After(now.Add(longest)) {
		until = now.Add(longest)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
	}
	return until, limited
}

// refused tells a refusal for a rate limit from another one: 429 always is
// one, 403 if the headers or GitHub's words say so, 503 with Retry-After asks
// for the same.
func refused(resp *http.Response, now time.Time) (time.Time, bool) {
	after, given := retryAfter(resp.Header, now)
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
	case http.StatusForbidden:
		if !given && left(resp.Header) != 0 && !secondary(resp) {
			return time.Time{}, false
		}
	case http.StatusServiceUnavailable:
		if !given {
			return time.Time{}, false
		}
	default:
		return time.Time{}, false
	}
	if given {
		return after, true
	}
	if t := reset(resp.Header, now); left(resp.Header) == 0 && !t.IsZero() {
		return t, true
	}
	return now.Add(fallback), true
}

// spent gives the time when the calls of this period come back, if the answer
// took the last one.
func spent(resp *http.Response, now time.Time) time.Time {
	if r := resp.Header.Get("X-RateLimit-Resource"); r != "" && r != "core" {
		return time.Time{}
	}
	if left(resp.Header) != 0 {
		return time.Time{}
	}
	if t := reset(resp.Header, now); t.After(now) {
		return t
	}
	return time.Time{}
}

// secondary knows GitHub's secondary limit, which may come without headers.
func secondary(resp *http.Response) bool {
	msg := strings.ToLower(message(peek(resp)))
	return strings.Contains(msg, "secondary rate limit") || strings.Contains(msg, "abuse detection")
}

// left is how many calls are left, -1 where the forge does not say.
func left(h http.Header) int64 {
	for _, name := range []string{"X-RateLimit-Remaining", "RateLimit-Remaining"} {
		if n, err := strconv.ParseInt(strings.TrimSpace(h.Get(name)), 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// reset is when the limit ends: seconds since 1970, or from now on.
func reset(h http.Header, now time.Time) time.Time {
	for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
		n, err := strconv.ParseInt(strings.TrimSpace(h.Get(name)), 10, 64)
		switch {
		case err != nil || n < 0:
		case n < 1e9:
			return now.Add(time.Duration(n) * time.Second)
		case n < 1e11:
			return time.Unix(n+1, 0)
		}
	}
	return time.Time{}
}

// retryAfter reads Retry-After, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) (time.Time, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return time.Time{}, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return now.Add(time.Duration(min(max(n, 1), int64(longest/time.Second))) * time.Second), true
	}
	if t, err := http.ParseTime(text); err == nil {
		return t, true
	}
	return time.Time{}, false
}
