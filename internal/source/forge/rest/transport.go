// Package rest is the HTTP below the forges: one connection to one forge, with
// its own certificates, time-outs, bounded answers, rate limits that are
// honoured, repeats of what is safe to repeat, and errors in the words of
// package forge. SDKs take its Transport; own clients take its Client.
package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// Options describe the connection to a forge.
type Options struct {
	Base *url.URL // of the API; credentials go to this scheme and host alone
	CA   string   // PEM certificates trusted instead of the system's
	// Authorize puts the credentials into a request; nil for none. It is called
	// for requests to Base's host only.
	Authorize func(*http.Request) error
	Accept    string // the media type of every answer, whatever an SDK asks for
	// Renew is asked once for every answer of 401, which did nothing: true sends
	// the call again, with what Authorize gives then.
	Renew func() bool
	// Secrets are cut out of every error, wherever they come from.
	Secrets   []secret.Value
	Transport http.RoundTripper // for tests; nil is the default
	Log       *slog.Logger

	Timeout time.Duration // of one attempt with its answer; default 30s
	MaxBody int64         // bytes of an answer; default 32 MiB
	// MaxWait is the longest wait for a rate limit; a longer one is a
	// forge.LimitedError. Default 30s.
	MaxWait time.Duration
	Tries   int                                        // attempts of what is safe to repeat; default 4
	Now     func() time.Time                           // for tests
	Sleep   func(context.Context, time.Duration) error // for tests
}

// For gives the options of a connection as a forge's options ask for it;
// Authorize is left to the caller.
func For(o forge.Options, base *url.URL) Options {
	r := Options{Base: base, CA: o.CA, Transport: o.Transport, Log: o.Log, Secrets: []secret.Value{o.Token}}
	if o.App != nil {
		r.Secrets = append(r.Secrets, o.App.Key)
	}
	return r
}

// UserAgent is what the forges see.
const UserAgent = "trueup"

// transport is the http.RoundTripper of the package. An answer is read whole
// before it is handed on, so that what breaks off in the middle is repeated
// like what never came.
type transport struct {
	o     Options
	base  http.RoundTripper
	limit limit
}

// Transport makes the http.RoundTripper for an SDK. Errors are of package
// forge; answers of 400 and above are handed on, except rate limits.
func Transport(o Options) (http.RoundTripper, error) {
	if o.Base == nil || o.Base.Host == "" {
		return nil, errors.New("the forge's address has no host")
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 32 << 20
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 30 * time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	base, err := dialer(o)
	return &transport{o: o, base: base}, err
}

func dialer(o Options) (http.RoundTripper, error) {
	if o.Transport != nil {
		return o.Transport, nil
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 15 * time.Second, DialContext: (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxResponseHeaderBytes: 1 << 20, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if o.CA != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, errors.New("the CA of the forge holds no certificate in PEM")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// HTTP makes an http.Client over Transport. It follows redirects within the
// forge's own host alone, and none that would turn a write into a read.
func HTTP(o Options) (*http.Client, error) {
	t, err := Transport(o)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error { return redirect(o.Base, r, via) }}, nil
}

func redirect(base *url.URL, r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 5:
		return errors.New("the forge redirects in circles")
	case !sameHost(base, r.URL):
		return fmt.Errorf("the forge redirects to %s://%s, where the credentials are not sent: set the base URL to the forge's own address", r.URL.Scheme, r.URL.Host)
	case r.Method != via[0].Method:
		return errors.New("the forge redirects a write: set the base URL and the repository's name to what they are now")
	}
	return nil
}

func sameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

type repeatable struct{}

// Repeatable marks writes that may be repeated when their answer was lost,
// because the newest counts or because they set rather than add.
func Repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatable{}, true)
}

func mayRepeat(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	ok, _ := r.Context().Value(repeatable{}).(bool)
	return ok
}

// RoundTrip sends a request, repeats it where that is safe, and waits for a
// rate limit where the wait is short.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := drain(r)
	if err != nil {
		return nil, err
	}
	renewed := false
	for try := 1; ; try++ {
		if err := t.limit.wait(r.Context(), t.o); err != nil {
			return nil, t.fail(r, err)
		}
		resp, err := t.once(r, body)
		if err == nil {
			if until, limited := t.limit.note(resp, t.o.Now()); limited {
				t.o.Log.Warn("the forge limits the rate of calls", "path", r.URL.Path, "until", until)
				if try >= t.o.Tries {
					return nil, t.fail(r, forge.LimitedError{Until: until})
				}
				continue
			}
			if resp.StatusCode == http.StatusUnauthorized && t.o.Renew != nil && !renewed && t.o.Renew() {
				renewed = true
				continue
			}
		}
		if !t.again(r, resp, err, try) {
			if err != nil {
				return nil, t.fail(r, err)
			}
			return resp, nil
		}
		if err := t.o.Sleep(r.Context(), pause(try)); err != nil {
			return nil, t.fail(r, err)
		}
	}
}

// again decides whether an attempt is repeated. One that never reached the
// forge may be repeated whatever it was.
func (t *transport) again(r *http.Request, resp *http.Response, err error, try int) bool {
	if try >= t.o.Tries || r.Context().Err() != nil {
		return false
	}
	if err != nil {
		return (mayRepeat(r) && !permanent(err)) || unsent(err)
	}
	switch resp.StatusCode {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return mayRepeat(r)
	}
	return false
}

// pause doubles from a quarter of a second.
func pause(try int) time.Duration { return 250 * time.Millisecond << (try - 1) }

// once makes one attempt and reads its answer whole.
func (t *transport) once(r *http.Request, body []byte) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.o.Timeout)
	defer cancel()
	out := r.Clone(ctx)
	if body != nil {
		out.Body = io.NopCloser(bytes.NewReader(body))
		out.ContentLength = int64(len(body))
	}
	out.Header.Set("User-Agent", UserAgent)
	if t.o.Accept != "" {
		out.Header.Set("Accept", t.o.Accept)
	}
	if t.o.Authorize != nil && sameHost(t.o.Base, out.URL) {
		if err := t.o.Authorize(out); err != nil {
			return nil, err
		}
	}
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, t.o.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if int64(len(b)) > t.o.MaxBody {
		return nil, fmt.Errorf("%w of %d bytes", errTooLarge, t.o.MaxBody)
	}
	resp.Body, resp.ContentLength, resp.Request = io.NopCloser(bytes.NewReader(b)), int64(len(b)), r
	return resp, nil
}

// drain reads a request's body, so that it can be sent again.
func drain(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
