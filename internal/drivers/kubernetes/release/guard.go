package release

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// recordGrace is how long an action that was cancelled may still write down
// what became of it.
const recordGrace = 5 * time.Second

// guard ends every request with a context. Helm makes most of its requests
// without one and goes on in the background when it is cancelled; here it
// can't write any more.
type guard struct {
	next http.RoundTripper
	ctx  context.Context // of the action
	late context.Context // of the record: a little longer
	// wrote tells whether a request that may change something was sent.
	wrote *atomic.Bool
}

// guarding makes the guard of an action.
func guarding(ctx context.Context, wrote *atomic.Bool) func(http.RoundTripper) http.RoundTripper {
	late, end := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		time.AfterFunc(recordGrace, func() { end(context.Cause(ctx)) })
	})
	return func(next http.RoundTripper) http.RoundTripper { return &guard{next, ctx, late, wrote} }
}

// RoundTrip sends a request while the action goes on. Afterwards only the
// release's own record may be read and brought up to date.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	until := g.ctx
	if record(req) {
		until = g.late
	}
	if err := context.Cause(until); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	context.AfterFunc(until, func() { cancel(context.Cause(until)) })
	if writes(req) {
		g.wrote.Store(true)
	}
	return g.next.RoundTrip(req.WithContext(ctx))
}

// writes tells that a request may change something.
func writes(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !slices.Contains(req.URL.Query()["dryRun"], "All")
}

// record tells that a request is about the record of a release: to read it, or
// to overwrite one that is there.
func record(req *http.Request) bool {
	_, name, found := strings.Cut(req.URL.Path, "/secrets")
	if !found || req.Method == http.MethodGet {
		return found
	}
	return req.Method == http.MethodPut && strings.HasPrefix(name, "/"+recordPrefix)
}
