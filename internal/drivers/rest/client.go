package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/time/rate"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/secret"
)

const (
	maxBody    = 64 << 20
	maxWait    = 30 * time.Second
	maxMessage = 500
)

// client sends requests to one API.
type client struct {
	base    string
	http    *http.Client
	headers http.Header
	auth    func(ctx context.Context, r *http.Request) error
	secrets []string
	limit   *rate.Limiter
	retries int
	wait    time.Duration // before the first repetition
}

func newClient(ctx context.Context, c *Connect, env driver.Environment) (*client, error) {
	t := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if c.CA != "" {
		p := c.CA
		if !filepath.IsAbs(p) {
			p = filepath.Join(env.Dir, p)
		}
		pem, err := os.ReadFile(p)
		if err != nil {
			return nil, driver.Permanent(fmt.Errorf("ca: %w", err))
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, driver.Permanent(fmt.Errorf("ca: %s holds no certificate in PEM", p))
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	// A redirect could carry the credentials to another host.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cl := &client{base: strings.TrimRight(c.URL, "/"), headers: http.Header{}, retries: max(0, cmp.Or(c.Retries, 3)), wait: 250 * time.Millisecond,
		http: &http.Client{Transport: t, Timeout: cmp.Or(c.Timeout, 30*time.Second), CheckRedirect: stay}, limit: rate.NewLimiter(rate.Inf, 1)}
	if c.Rate > 0 {
		cl.limit = rate.NewLimiter(rate.Limit(c.Rate), 1)
	}
	for k, v := range c.Headers {
		cl.headers.Set(k, v)
	}
	return cl, cl.authenticate(ctx, &c.Auth, env)
}

// authenticate resolves the credentials.
func (c *client) authenticate(ctx context.Context, a *Auth, env driver.Environment) error {
	get := func(field string, ref secret.Ref) (string, error) {
		v, err := env.Secret(ctx, ref)
		if err != nil {
			return "", fmt.Errorf("auth.%s: %w", field, err)
		}
		c.secrets = append(c.secrets, v.Reveal())
		return v.Reveal(), nil
	}
	c.auth = func(context.Context, *http.Request) error { return nil }
	header := func(name, value string) {
		c.auth = func(_ context.Context, r *http.Request) error { r.Header.Set(name, value); return nil }
	}
	switch {
	case a.Bearer != "":
		v, err := get("bearer", a.Bearer)
		header("Authorization", "Bearer "+v)
		return err
	case a.Header != nil:
		v, err := get("header.value", a.Header.Value)
		header(a.Header.Name, a.Header.Prefix+v)
		return err
	case a.Basic != nil:
		v, err := get("basic.password", a.Basic.Password)
		c.auth = func(_ context.Context, r *http.Request) error { r.SetBasicAuth(a.Basic.Username, v); return nil }
		return err
	case a.OAuth2 != nil:
		v, err := get("oauth2.clientSecret", a.OAuth2.ClientSecret)
		conf := clientcredentials.Config{ClientID: a.OAuth2.ClientID, ClientSecret: v, TokenURL: a.OAuth2.TokenURL, Scopes: a.OAuth2.Scopes}
		source := oauth2.ReuseTokenSource(nil, conf.TokenSource(context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, c.http)))
		c.auth = func(_ context.Context, r *http.Request) error {
			t, err := source.Token()
			var refused *oauth2.RetrieveError
			switch {
			case errors.As(err, &refused) && refused.Response.StatusCode < 500:
				return driver.Permanent(fmt.Errorf("the token endpoint refuses: %s %s", refused.Response.Status, refused.ErrorCode))
			case err != nil:
				return fmt.Errorf("the token endpoint: %w: %s", driver.ErrUnreachable, c.scrub(err.Error()))
			}
			t.SetAuthHeader(r)
			return nil
		}
		return err
	}
	return nil
}

func (c *client) scrub(text string) string {
	for _, s := range c.secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	return text
}

// answer is a successful answer.
type answer struct {
	doc    any
	header http.Header
}

// statusError is an answer that is no success.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

// call sends a request. Reads are repeated where that may help; a write is
// repeated only when the server can't have taken it.
func (c *client) call(ctx context.Context, method, target string, body any, header http.Header) (*answer, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return nil, driver.Permanent(err)
		}
	}
	for try := 0; ; try++ {
		a, again, err := c.once(ctx, method, target, raw, header)
		if err == nil || again < 0 || try >= c.retries || ctx.Err() != nil {
			return a, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(maxWait, max(again, c.wait<<try))):
		}
	}
}

// once sends a request once. Again is how long to wait before another try, or
// -1 for never.
func (c *client) once(ctx context.Context, method, target string, raw []byte, header http.Header) (*answer, time.Duration, error) {
	if err := c.limit.Wait(ctx); err != nil {
		return nil, -1, err
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(raw))
	if err != nil {
		return nil, -1, driver.Permanent(err)
	}
	req.Header.Set("Accept", "application/json")
	if raw != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range []http.Header{c.headers, header} {
		for k, v := range h {
			req.Header[k] = v
		}
	}
	if err := c.auth(ctx, req); err != nil {
		return nil, -1, err
	}
	safe := method == http.MethodGet
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.mayRepeat(safe, err), c.lost(ctx, safe, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, c.mayRepeat(safe, err), c.lost(ctx, safe, fmt.Errorf("the answer was cut short: %w", err))
	case len(text) > maxBody:
		return nil, -1, fmt.Errorf("the answer has more than %d bytes", maxBody)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, waitFor(safe, resp), c.refusal(resp, text)
	}
	a := &answer{header: resp.Header}
	if len(bytes.TrimSpace(text)) == 0 {
		return a, -1, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&a.doc); err == nil {
		_, err = dec.Token()
		if errors.Is(err, io.EOF) {
			return a, -1, nil
		}
	}
	if !safe {
		return a, -1, nil // what a write answers is of no use to us
	}
	return nil, -1, errors.New("the answer is not whole JSON")
}

func (c *client) mayRepeat(safe bool, err error) time.Duration {
	if safe || dialling(err) {
		return 0
	}
	return -1
}

func (c *client) lost(ctx context.Context, safe bool, err error) error {
	text := c.scrub(err.Error())
	switch {
	case ctx.Err() != nil && safe:
		return ctx.Err()
	case safe || dialling(err):
		return fmt.Errorf("%w: %s", driver.ErrUnreachable, text)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", setplan.ErrUnknown, ctx.Err())
	}
	return fmt.Errorf("%w: %s", setplan.ErrUnknown, text)
}

func dialling(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// waitFor tells how long to wait after a refusal that may pass.
func waitFor(safe bool, resp *http.Response) time.Duration {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if !safe {
			return -1
		}
	default:
		return -1
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	return 0
}

// refusal turns a status into an error that says what to do about it.
func (c *client) refusal(resp *http.Response, text []byte) error {
	msg := c.scrub(strings.ToValidUTF8(strings.TrimSpace(string(text)), ""))
	if len(msg) > maxMessage {
		msg = msg[:maxMessage] + "…"
	}
	err := error(&statusError{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL.Path, resp.Status, msg)})
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return driver.Permanent(fmt.Errorf("%w (check auth)", err))
	case s == http.StatusPreconditionFailed || s == http.StatusConflict:
		return fmt.Errorf("%w: %w", driver.ErrStale, err)
	case s == http.StatusTooManyRequests || s == http.StatusBadGateway || s == http.StatusServiceUnavailable || s == http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	case s >= 500:
		return err
	}
	return driver.Permanent(err)
}

// sameHost tells whether an address is the API's own.
func (c *client) sameHost(target string) bool {
	a, err := url.Parse(c.base)
	b, err2 := url.Parse(target)
	return err == nil && err2 == nil && a.Scheme == b.Scheme && a.Host == b.Host
}
