package kube

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
)

// connect makes the transport that all clients of a cluster share, whoever
// they act for, and a configuration that uses it. It is made here and not taken
// from client-go's cache of transports, so that it ends with the cluster.
//
// SetTransportDefaults brings HTTP/2 with its health check: a connection that
// is silent for 30 s is pinged, and given up 15 s later.
func connect(config *rest.Config) (shared *rest.Config, closing func(), err error) {
	host, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, nil, err
	}
	shared = rest.CopyConfig(config)
	shared.ExecProvider = nil
	own, err := shared.TransportConfig()
	if err != nil {
		return nil, nil, err
	}
	secured, err := transport.TLSConfigFor(own)
	if err != nil {
		return nil, nil, fmt.Errorf("the certificates to reach the API server with: %w", err)
	}
	if secured == nil {
		secured = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	dialer := connrotation.NewDialer(dial) // knows its connections, to close them
	base := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: secured,
		MaxIdleConnsPerHost: 25, DisableCompression: config.DisableCompression, DialContext: dialer.DialContext}
	if config.Proxy != nil {
		base.Proxy = config.Proxy
	}
	if config.ExecProvider != nil {
		p := newPlugin(config, base.CloseIdleConnections)
		secured.GetClientCertificate = p.certificate
		shared.Wrap(p.wrap)
	}
	if file := config.BearerTokenFile; file != "" {
		// Read once a minute, and again when the server refuses the token.
		shared.Wrap(transport.ResettableTokenSourceWrapTransport(transport.NewCachedFileTokenSource(file)))
		shared.BearerTokenFile, shared.BearerToken = "", ""
	}
	utilnet.SetTransportDefaults(base)
	limit := config.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	shared.Host, shared.TLSClientConfig, shared.Proxy, shared.Dial, shared.Timeout = host.String(), rest.TLSClientConfig{}, nil, nil, 0
	shared.Transport = &limited{base: base, limit: limit}
	return shared, func() { base.CloseIdleConnections(); dialer.CloseAll() }, nil
}

// limited bounds the time of requests that are no watches, waits for servers
// that are busy within it, and notes which requests went out.
type limited struct {
	base  http.RoundTripper
	limit time.Duration
}

// RoundTrip sends a request. Retry-After is dealt with here: client-go would
// wait for as long as a server says, and would also send writes again that may
// have been done (500, 504).
func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := req.Context(), context.CancelFunc(func() {})
	if req.URL.Query().Get("watch") != "true" {
		ctx, cancel = context.WithTimeout(ctx, l.limit)
	}
	end := time.Now().Add(l.limit)
	for {
		resp, err := l.send(ctx, req)
		if err != nil {
			if ctx.Err() != nil && req.Context().Err() == nil {
				err = fmt.Errorf("no answer within %s: %w", l.limit, err)
			}
			cancel()
			return nil, err
		}
		wait, again := busy(resp, req, end)
		if !again {
			resp.Header.Del("Retry-After")
			resp.Body = &body{ReadCloser: resp.Body, done: cancel}
			return resp, nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 1<<16)
		_ = resp.Body.Close()
		unsent(req.Context())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			cancel()
			return nil, ctx.Err()
		}
	}
}

func (l *limited) send(ctx context.Context, req *http.Request) (*http.Response, error) {
	if s := sentOf(ctx); s != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { s.Store(true) }})
	}
	out := req.Clone(ctx)
	if req.GetBody != nil {
		b, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = b
	}
	return l.base.RoundTrip(out)
}

// busy tells whether a server did nothing and asks to come again, and that this
// is before the end. Those who were turned away together come again one by one.
func busy(resp *http.Response, req *http.Request, end time.Time) (time.Duration, bool) {
	if resp.StatusCode != http.StatusTooManyRequests || req.Body != nil && req.GetBody == nil {
		return 0, false
	}
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	wait := max(time.Duration(n)*time.Second, 100*time.Millisecond)
	wait += rand.N(wait / 2)
	if err != nil || n < 0 || time.Now().Add(wait).After(end) {
		return 0, false
	}
	return wait, true
}

// body ends the request's time limit when it was read.
type body struct {
	io.ReadCloser
	done func()
}

// Close closes the body.
func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

type sentKey struct{}

// sending gives a context whose requests note whether they went out.
func sending(ctx context.Context) (context.Context, *atomic.Bool) {
	s := &atomic.Bool{}
	return context.WithValue(ctx, sentKey{}, s), s
}

func sentOf(ctx context.Context) *atomic.Bool {
	s, _ := ctx.Value(sentKey{}).(*atomic.Bool)
	return s
}

// unsent notes that the server refused to look at what was sent.
func unsent(ctx context.Context) {
	if s := sentOf(ctx); s != nil {
		s.Store(false)
	}
}
