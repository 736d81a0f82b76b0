package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

// maxAnswer bounds what the client reads of one answer.
const maxAnswer = 256 << 20

// Client calls a server.
type Client struct {
	base  string
	token secret.Value
	http  *http.Client
}

// Dial makes a client. The address is the path of a Unix socket, or the URL
// of a server; a URL wants a token.
func Dial(address string, token secret.Value) (*Client, error) {
	transport := &http.Transport{ResponseHeaderTimeout: time.Minute, MaxResponseHeaderBytes: maxHeader}
	c := &Client{token: token, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the server redirects: give its own address")
	}}}
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		if u.User != nil {
			return nil, errors.New("the server's address holds a password: use --token-file")
		}
		if token.Empty() {
			return nil, errors.New("a server at a URL asks for a token: --token-file FILE")
		}
		c.base = strings.TrimSuffix(address, "/")
		return c, nil
	}
	path := strings.TrimPrefix(address, "unix:")
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	c.base = "http://trueup"
	return c, nil
}

// Close gives idle connections up.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrNoServer says that nobody answers at the address.
var ErrNoServer = errors.New("no server answers")

func (c *Client) do(ctx context.Context, method, path string, body any, accept string) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if !c.token.Empty() {
		r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(r)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("%w: %w", ErrNoServer, op)
		}
		return nil, err
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	return resp, nil
}

func answerError(resp *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	var body ErrorBody
	if err != nil || json.Unmarshal(raw, &body) != nil || body.Error.Message == "" {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	e := &Error{Status: resp.StatusCode, ErrorInfo: body.Error}
	if e.Status == http.StatusInternalServerError {
		e.Message += " " + resp.Header.Get("X-Request-Id")
	}
	return e
}

func (c *Client) get(ctx context.Context, path string, q url.Values, out any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	resp, err := c.do(ctx, http.MethodGet, path, nil, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out)
}

// list reads one page after the other, up to limit records; 0 is all.
func list[T any](ctx context.Context, c *Client, path string, q url.Values, limit int) ([]T, error) {
	if q == nil {
		q = url.Values{}
	}
	var all []T
	for {
		size := maxPage
		if limit > 0 {
			size = min(maxPage, limit-len(all))
		}
		q.Set("limit", fmt.Sprint(size))
		var page List[T]
		if err := c.get(ctx, path, q, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		q.Set("after", page.Next)
	}
}

// Status gives the whole server at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.get(ctx, "/api/v1/status", nil, &out)
}

// Targets lists targets; the filter's keys are repository, environment, state
// and phase.
func (c *Client) Targets(ctx context.Context, filter url.Values) ([]Target, error) {
	return list[Target](ctx, c, "/api/v1/targets", filter, 0)
}

// Target gives one target.
func (c *Client) Target(ctx context.Context, id string) (TargetDetail, error) {
	var out TargetDetail
	return out, c.get(ctx, "/api/v1/targets/"+escapePath(id), nil, &out)
}

// escapePath escapes a target's id but keeps its slashes.
func escapePath(id string) string {
	return strings.ReplaceAll(url.PathEscape(id), "%2F", "/")
}

// Runs lists up to limit runs, newest first.
func (c *Client) Runs(ctx context.Context, filter url.Values, limit int) ([]store.Run, error) {
	return list[store.Run](ctx, c, "/api/v1/runs", filter, limit)
}

// Run gives one run with its results.
func (c *Client) Run(ctx context.Context, id string) (Run, error) {
	var out Run
	return out, c.get(ctx, "/api/v1/runs/"+url.PathEscape(id), nil, &out)
}

// Plan gives a run's plan.
func (c *Client) Plan(ctx context.Context, run string) (Plan, error) {
	var out Plan
	return out, c.get(ctx, "/api/v1/runs/"+url.PathEscape(run)+"/plan", nil, &out)
}

// Log gives a run's log lines after a number; it waits up to wait for some.
func (c *Client) Log(ctx context.Context, run string, after int64, wait time.Duration) (Log, error) {
	var out Log
	q := url.Values{"after": {fmt.Sprint(after)}, "wait": {fmt.Sprint(int(wait.Seconds()))}}
	return out, c.get(ctx, "/api/v1/runs/"+url.PathEscape(run)+"/log", q, &out)
}

// Environments lists environments.
func (c *Client) Environments(ctx context.Context) ([]Environment, error) {
	return list[Environment](ctx, c, "/api/v1/environments", nil, 0)
}

// Repositories lists repositories.
func (c *Client) Repositories(ctx context.Context) ([]Repository, error) {
	return list[Repository](ctx, c, "/api/v1/repositories", nil, 0)
}

// History says what was in force in an environment at a time.
func (c *Client) History(ctx context.Context, environment string, at time.Time) ([]InForce, error) {
	q := url.Values{"environment": {environment}}
	if !at.IsZero() {
		q.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	return list[InForce](ctx, c, "/api/v1/history", q, 0)
}

// Why says who asks for an object; an empty environment is any.
func (c *Client) Why(ctx context.Context, environment, address string) ([]Why, error) {
	return list[Why](ctx, c, "/api/v1/why", url.Values{"environment": {environment}, "address": {address}}, 0)
}

// Inventory lists what a target owns.
func (c *Client) Inventory(ctx context.Context, target string) ([]Owned, error) {
	return list[Owned](ctx, c, "/api/v1/inventory", url.Values{"target": {target}}, 0)
}

// Scopes lists the scopes (hosts) of a target that has several.
func (c *Client) Scopes(ctx context.Context, target, phase string) ([]store.ScopeState, error) {
	q := url.Values{"target": {target}}
	if phase != "" {
		q.Set("phase", phase)
	}
	return list[store.ScopeState](ctx, c, "/api/v1/scopes", q, 0)
}

// Do asks for an action.
func (c *Client) Do(ctx context.Context, verb auth.Verb, a Action) (Done, error) {
	var out Done
	resp, err := c.do(ctx, http.MethodPost, "/api/v1/actions/"+string(verb), a, "application/json")
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	return out, json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&out)
}

// Events calls f for every event after seq, as they happen, until ctx ends, f
// gives an error, or the server stops. A seq of 0 starts with the next event.
func (c *Client) Events(ctx context.Context, seq int64, f func(store.Event) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/api/v1/events?after="+fmt.Sprint(seq), nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxBody)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e store.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Backup writes a copy of the server's store. An answer that was cut short is
// an error.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/api/v1/backup", nil, "application/octet-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return err
	}
	if resp.Trailer.Get(backupTrailer) != "complete" {
		return errors.New("the backup was cut short: the server's log says why")
	}
	return nil
}
