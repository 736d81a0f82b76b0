package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/driver"
)

// guard is the way to one source: nothing else goes through it, no answer
// grows without end, and a server that wants to be left alone is.
type guard struct {
	src   *source
	inner *http.Transport
	login func(context.Context) (user, password string, err error) // of a chart repository; nil for none
	agent string
	now   func() time.Time

	mu    sync.Mutex
	until map[string]time.Time // by host
}

// defaultPause is for servers that say "too many requests" and not for how long.
const defaultPause = time.Minute

// maxPause bounds what a server may ask for.
const maxPause = 6 * time.Hour

func newGuard(src *source, o *Options) (*guard, error) {
	g := &guard{src: src, agent: o.UserAgent, now: o.Now, until: map[string]time.Time{}}
	g.inner = &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: g.dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: 30 * time.Second, MaxResponseHeaderBytes: 256 << 10}
	if src.CA != "" {
		file := src.CA
		if !filepath.IsAbs(file) {
			file = filepath.Join(o.Dir, file)
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("ca of %s: %w", src.URL, err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, driver.Permanent(fmt.Errorf("ca of %s: %s holds no certificate in PEM", src.URL, src.CA))
		}
		g.inner.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return g, nil
}

// RoundTrip sends a request that is allowed.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req.Context())
	fail := func(err error) (*http.Response, error) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		if c.err == nil {
			c.err = err
		}
		return nil, err
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return fail(fmt.Errorf("%s %s: registries are only read: %w", req.Method, bare(req.URL), ErrRefused))
	}
	own := strings.EqualFold(req.URL.Host, g.src.host)
	if own && g.src.oci && req.URL.Scheme != g.src.webScheme() {
		// The library tries both for a registry on loopback or in a private
		// network. The operator has said what it is.
		return nil, fmt.Errorf("%s is not tried", req.URL.Scheme)
	}
	if err := g.src.allows(req.URL); err != nil {
		return fail(err)
	}
	if until := g.paused(req.URL.Host); !until.IsZero() {
		return fail(&Limited{Host: req.URL.Host, Until: until})
	}
	req, err := g.dress(req, own)
	if err != nil {
		return fail(err)
	}
	resp, err := g.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
		_ = resp.Body.Close()
		return fail(&Limited{Host: req.URL.Host, Until: g.pause(req.URL.Host, resp.Header.Get("Retry-After"))})
	}
	resp.Body = &bounded{ReadCloser: resp.Body, call: c, left: c.limit}
	return resp, nil
}

// dress gives a chart repository its credentials, and nobody else.
func (g *guard) dress(req *http.Request, own bool) (*http.Request, error) {
	req = req.Clone(req.Context())
	if g.agent != "" {
		req.Header.Set("User-Agent", g.agent)
	}
	if g.src.oci {
		return req, nil // the library logs in
	}
	req.Header.Del("Authorization")
	if own && g.login != nil {
		user, password, err := g.login(req.Context())
		if err != nil {
			return req, err
		}
		req.SetBasicAuth(user, password)
	}
	return req, nil
}

func (g *guard) paused(host string) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	until := g.until[host]
	if !g.now().Before(until) {
		delete(g.until, host)
		return time.Time{}
	}
	return until
}

func (g *guard) pause(host, after string) time.Time {
	now := g.now()
	until := now.Add(defaultPause)
	if n, err := strconv.Atoi(strings.TrimSpace(after)); err == nil && n >= 0 {
		until = now.Add(time.Duration(min(n, int(maxPause/time.Second))) * time.Second)
	} else if at, err := http.ParseTime(after); err == nil {
		until = at
	}
	if until.After(now.Add(maxPause)) {
		until = now.Add(maxPause)
	}
	if until.Before(now.Add(time.Second)) {
		until = now.Add(time.Second)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until[host] = until
	return until
}

// dial connects. A host that the operator names only by a star may not lie in
// the operator's own networks: its name could be anybody's. Addresses of
// link-local services, such as a cloud's metadata, are for no name at all.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host := strings.ToLower(addr)
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	exact, named := g.src.names(host)
	if !exact && !named {
		exact, named = g.src.names(strings.ToLower(name)) // the port may be the scheme's
	}
	_, literal := netip.ParseAddr(name)
	d := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	d.Control = func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		ip := ap.Addr().Unmap()
		switch {
		case literal == nil && exact:
		case ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast():
			return fmt.Errorf("%s leads to %s: %w", name, ip, ErrRefused)
		case named && !exact && (ip.IsPrivate() || ip.IsLoopback()):
			return fmt.Errorf("%s leads to %s, which is no public address: name the host itself in hosts: %w", name, ip, ErrRefused)
		}
		return nil
	}
	return d.DialContext(ctx, network, addr)
}

// bounded is an answer that may not be larger than expected.
type bounded struct {
	io.ReadCloser
	call *call
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.call.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.call.err = fmt.Errorf("%w: the answer has more than %d bytes", ErrContent, b.call.limit)
		return n - 1, b.call.err
	}
	return n, err
}
