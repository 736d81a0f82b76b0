package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/secret"
)

// Client calls a JSON API below one base address. It is safe for concurrent
// use.
type Client struct {
	base    url.URL
	http    *http.Client
	secrets []secret.Value
}

// New makes a client; it does not connect.
func New(o Options) (*Client, error) {
	h, err := HTTP(o)
	if err != nil {
		return nil, err
	}
	return &Client{base: *o.Base, http: h, secrets: o.Secrets}, nil
}

// Path joins parts to a path, each of them escaped as one segment: what comes
// from outside can't climb out of its place.
func Path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		switch p {
		case ".", "..":
			b.WriteString(strings.ReplaceAll(p, ".", "%2E"))
		default:
			b.WriteString(url.PathEscape(p))
		}
	}
	return b.String()
}

// Call is one call of the API.
type Call struct {
	Method string // default GET
	Path   string // below the base, already escaped; see Path
	Query  url.Values
	Body   any // sent as JSON; nil for none
	Into   any // where the JSON of the answer goes; nil throws it away
	Accept string
}

// Do makes a call. It gives the answer's headers; an answer of 300 and above
// is an *Error.
func (c *Client) Do(ctx context.Context, call Call) (http.Header, error) {
	req, err := c.request(ctx, call)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, Tidy(err)
	}
	defer resp.Body.Close()
	if err := Failed(resp, c.secrets); err != nil {
		return resp.Header, err
	}
	if call.Into == nil {
		return resp.Header, nil
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.Header, err
	}
	if err := json.Unmarshal(b, call.Into); err != nil {
		return resp.Header, Unreadable(resp, err)
	}
	return resp.Header, nil
}

// Unreadable is the error of an answer that is no JSON, or another one.
func Unreadable(resp *http.Response, err error) error {
	e := &Error{Method: resp.Request.Method, Path: resp.Request.URL.Path, Status: resp.StatusCode, err: err,
		Message: fmt.Sprintf("the answer can't be read: %v", err)}
	if kind := resp.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
		e.Message = "the answer is a web page, not the API's: check the base URL, and what stands in front of the forge"
	}
	return e
}

func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	if call.Method == "" {
		call.Method = http.MethodGet
	}
	var body io.Reader
	if call.Body != nil {
		b, err := json.Marshal(call.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	u := c.base
	escaped := strings.TrimRight(u.EscapedPath(), "/") + call.Path
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath, u.RawQuery = plain, escaped, call.Query.Encode()
	req, err := http.NewRequestWithContext(ctx, call.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if call.Accept == "" {
		call.Accept = "application/json"
	}
	req.Header.Set("Accept", call.Accept)
	if call.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// MaxPages bounds a list. One that is longer is an error: a list that was cut
// short would look like less than there is.
const MaxPages = 300

// Pages reads a list to its end by the Link header, whose query alone is
// taken: the address in it may be one that only the forge itself knows.
func Pages[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	var all []T
	for range MaxPages {
		var page []T
		h, err := c.Do(ctx, Call{Path: path, Query: query, Into: &page})
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		next, ok, err := Next(h)
		if err != nil {
			return nil, fmt.Errorf("GET %s: %w", path, err)
		}
		if !ok {
			return all, nil
		}
		query = next
	}
	return nil, TooLong(path)
}

// TooLong is the error of a list with more than MaxPages pages.
func TooLong(path string) error {
	return fmt.Errorf("GET %s: the list has more than %d pages", path, MaxPages)
}

var nextLink = regexp.MustCompile(`<([^<>]*)>[^,<]*;\s*rel="?next"?`)

// Next gives the query of the next page by the Link header.
func Next(h http.Header) (url.Values, bool, error) {
	m := nextLink.FindStringSubmatch(strings.Join(h.Values("Link"), ", "))
	if m == nil {
		return nil, false, nil
	}
	u, err := url.Parse(m[1])
	if err != nil || u.RawQuery == "" {
		return nil, false, fmt.Errorf("the link to the next page can't be read")
	}
	q, err := url.ParseQuery(u.RawQuery)
	return q, err == nil, err
}

// Base reads a base URL that people wrote: http or https, no user, no query.
// suffix is added where the path does not end in it.
func Base(text, suffix string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(strings.TrimSpace(text), "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the forge's base URL can't be read")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("the forge's base URL %q has to start with https:// (or http://) and name a host", u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("the forge's base URL holds a user: put the token into the forge's credentials")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the forge's base URL has a query: leave away what follows %q", u.Path)
	}
	if !strings.HasSuffix(u.Path, suffix) {
		u.Path += suffix
	}
	return u, nil
}
