package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
)

// maxBody is how much of an answer's body is read.
const maxBody = 64 << 10

// name says what a check asks, without credentials.
func name(h config.Health) string {
	switch {
	case h.TCP != "":
		return "tcp " + h.TCP
	case h.HTTP != "":
		u, err := url.Parse(h.HTTP)
		if err != nil {
			return "http"
		}
		return "http " + shown(u)
	case h.DNS != nil:
		return fmt.Sprintf("dns %s %s @%s", h.DNS.Name, typeOf(*h.DNS), h.DNS.Server)
	case h.Command != "":
		return "command " + h.Command
	case len(h.Driver) > 0:
		return "driver " + strings.Join(slices.Sorted(maps.Keys(h.Driver)), ", ")
	}
	return "nothing"
}

// shown is a URL without what may be secret in it.
func shown(u *url.URL) string {
	c := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return c.String()
}

// dialer refuses link-local addresses: a check comes from a repository, and
// clouds answer with credentials there.
func dialer() *net.Dialer {
	return &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if ap.Addr().Unmap().IsLinkLocalUnicast() {
			return driver.Permanent(fmt.Errorf("%s is a link-local address, which checks may not ask", ap.Addr()))
		}
		return nil
	}}
}

func askTCP(ctx context.Context, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return driver.Permanent(fmt.Errorf("%q: write host:port", address))
	}
	conn, err := dialer().DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// askHTTP gets a page and judges its status alone. Redirects are followed on
// the same host, unless a redirect is what is expected.
func (c *Checker) askHTTP(ctx context.Context, address string, status int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return driver.Permanent(fmt.Errorf("this is no http or https URL"))
	}
	req.Header.Set("User-Agent", "trueup-health")
	transport := &http.Transport{DialContext: dialer().DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if status/100 == 3 || len(via) > 5 || !sameHost(next.URL, req.URL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if status == 0 && resp.StatusCode/100 == 2 || status == resp.StatusCode {
		return nil
	}
	return fmt.Errorf("answered %s, not %s%s", resp.Status, wanted(status), leads(resp))
}

// sameHost tells whether a redirect stays on the host and keeps its safety.
func sameHost(next, first *url.URL) bool {
	return next.Hostname() == first.Hostname() && (next.Scheme == first.Scheme || next.Scheme == "https")
}

func leads(resp *http.Response) string {
	to, err := resp.Location()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (it redirects to %s, which is not followed)", to.Host)
}

func wanted(status int) string {
	if status == 0 {
		return "200 to 299"
	}
	return fmt.Sprint(status)
}

// withoutURL drops the URL that net/http puts in front; it is in the result's
// name, and it may hold credentials.
func withoutURL(err error) error {
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}

// Pool reads authorities from PEM for Checker.RootCAs, in addition to the
// system's own.
func Pool(pem []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate found in the PEM")
	}
	return pool, nil
}
