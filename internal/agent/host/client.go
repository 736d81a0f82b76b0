package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
)

// client makes the signed calls.
type client struct {
	http    *http.Client
	version string
	boot    string
	mu      sync.Mutex // guards id
	id      *Identity
}

// refused is a call that the server said no to.
type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return "the server refuses: " + r.text }

// errGone says that the server no longer wants a request.
var errGone = errors.New("the request is not wanted any more")

const callTimeout = wire.MaxWait + time.Minute

func newClient(id *Identity, version string) (*client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if id.CA != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(id.CA)) {
			return nil, errors.New("the CA of the server has no certificate in PEM")
		}
	}
	t := &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: callTimeout}
	return &client{id: id, version: version, boot: rand.Text(), http: &http.Client{Transport: t, Timeout: callTimeout + 2*time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the server redirects, which is not followed")
		}}}, nil
}

func (c *client) identity() Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.id
}

// post makes a call and reads its JSON answer.
func (c *client) post(ctx context.Context, path string, in, out any) error {
	return c.call(ctx, path, in, func(body io.Reader) error { return json.NewDecoder(body).Decode(out) })
}

// maxBody bounds what is read of an answer: a request in base64, twice.
const maxBody = 2*wire.MaxRequest + wire.MaxContent

func (c *client) call(ctx context.Context, path string, in any, read func(io.Reader) error) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	id := c.identity()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(id.Server, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "trueup-agent/"+c.version)
	// The server sees the path below its address; a proxy may put it elsewhere.
	signed := r.Clone(ctx)
	signed.URL.Path = path
	wire.SignCall(signed, id.key(), id.Host, c.boot, body, time.Now())
	r.Header = signed.Header
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	limited := io.LimitReader(resp.Body, maxBody)
	if resp.StatusCode == http.StatusOK {
		return read(limited)
	}
	var p wire.Problem
	text, _ := io.ReadAll(io.LimitReader(resp.Body, wire.MaxSmall))
	if json.Unmarshal(text, &p) != nil || p.Error == "" {
		p.Error = resp.Status
	}
	switch resp.StatusCode {
	case http.StatusGone:
		return errGone
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest, http.StatusNotFound:
		return &refused{resp.StatusCode, p.Error}
	}
	return fmt.Errorf("the server answers %s: %s", resp.Status, p.Error)
}
