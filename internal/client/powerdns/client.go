// Package powerdns is a client of the PowerDNS authoritative server's HTTP API
// (version 1): zones and their RRsets.
package powerdns

import (
	"bytes"
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
	"strings"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// maxBody bounds an answer; a zone of a million records stays below it.
const maxBody = 512 << 20

// ErrNotFound says that the zone, or the server id, does not exist.
var ErrNotFound = errors.New("not found")

// ErrSent marks a failure after the request went out: the server may have
// carried it out.
var ErrSent = errors.New("the request was sent, the answer did not come")

// Options says where the API is.
type Options struct {
	URL      string // without /api/v1
	ServerID string // "" is localhost
	APIKey   secret.Value
	CA       []byte // PEM; nil for the system's
	Timeout  time.Duration
}

// Client calls the API. It is safe for concurrent use.
type Client struct {
	base string
	key  secret.Value
	http *http.Client
}

// New makes a client; it does not connect.
func New(o Options) (*Client, error) {
	t := &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, Proxy: http.ProxyFromEnvironment}
	if len(o.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(o.CA) {
			return nil, driver.Permanent(errors.New("the CA file holds no certificate in PEM"))
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	id := o.ServerID
	if id == "" {
		id = "localhost"
	}
	// A redirect could carry the key to another host.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: strings.TrimRight(o.URL, "/") + "/api/v1/servers/" + url.PathEscape(id), key: o.APIKey,
		http: &http.Client{Transport: t, Timeout: o.Timeout, CheckRedirect: stay}}, nil
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Zone is a zone with its RRsets.
type Zone struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind,omitempty"`
	Nameservers []string `json:"nameservers,omitempty"`
	SOAEditAPI  string   `json:"soa_edit_api,omitempty"`
	RRsets      []RRset  `json:"rrsets"`
}

// RRset is all records of a name and type. ChangeType is REPLACE or DELETE in
// a Patch and absent elsewhere.
type RRset struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	TTL        uint32   `json:"ttl,omitempty"`
	ChangeType string   `json:"changetype,omitempty"`
	Records    []Record `json:"records,omitempty"`
}

// Record is one record; a disabled one is kept but not served.
type Record struct {
	Content  string `json:"content"`
	Disabled bool   `json:"disabled"`
}

func zonePath(zone string) string {
	// The zone's id: "=2F" and the like stand for bytes with a meaning in a path.
	return "/zones/" + url.PathEscape(strings.ReplaceAll(zone, "/", "=2F"))
}

// Zone reads a zone whole. ErrNotFound says that there is none.
func (c *Client) Zone(ctx context.Context, zone string) (*Zone, error) {
	var z Zone
	if err := c.call(ctx, http.MethodGet, zonePath(zone), nil, &z); err != nil {
		return nil, fmt.Errorf("zone %s: %w", zone, err)
	}
	return &z, nil
}

// Patch changes many RRsets in one transaction of the server.
func (c *Client) Patch(ctx context.Context, zone string, sets []RRset) error {
	return c.call(ctx, http.MethodPatch, zonePath(zone), map[string]any{"rrsets": sets}, nil)
}

// Create makes a zone.
func (c *Client) Create(ctx context.Context, z Zone) error {
	return c.call(ctx, http.MethodPost, "/zones", z, nil)
}

// Delete removes a zone with all it holds.
func (c *Client) Delete(ctx context.Context, zone string) error {
	return c.call(ctx, http.MethodDelete, zonePath(zone), nil, nil)
}

// Identity gives the server's configured name, the one that it answers to
// id.server with.
func (c *Client) Identity(ctx context.Context) (string, error) {
	var settings []struct{ Name, Value string }
	if err := c.call(ctx, http.MethodGet, "/config", nil, &settings); err != nil {
		return "", err
	}
	for _, s := range settings {
		if s.Name == "server-id" {
			return s.Value, nil
		}
	}
	return "", nil
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", c.key.Reveal())
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return c.lost(ctx, err, ErrSent)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return refusal(resp)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(into); err != nil {
		return c.lost(ctx, fmt.Errorf("the answer can't be read: %w", err), ErrSent)
	}
	return nil
}

func (c *Client) lost(ctx context.Context, err, sent error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", sent, ctx.Err())
	}
	if dialled(err) {
		return fmt.Errorf("%w: %w: %w", driver.ErrUnreachable, sent, err)
	}
	return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
}

// refusal turns a status into an error that says what to do about it.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	var e struct {
		Error  string   `json:"error"`
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(text, &e) != nil || e.Error == "" {
		e.Error = strings.TrimSpace(string(text))
	}
	err := fmt.Errorf("the API answers %s: %s", resp.Status, strings.Join(append([]string{e.Error}, e.Errors...), "; "))
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return driver.Permanent(fmt.Errorf("%w (check the API key, and webserver-allow-from on the server)", err))
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	if resp.StatusCode < 500 {
		return driver.Permanent(err)
	}
	return err
}

// dialled tells whether a connection had been made when the error came.
func dialled(err error) bool {
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}
