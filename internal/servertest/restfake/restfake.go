// Package restfake serves a JSON API strictly by its documentation: paths,
// methods, query parameters and fields that are not written down there fail
// the test. The fakes of the forges that can't be run in a test are made of it.
package restfake

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Route is one documented operation.
type Route struct {
	Doc    string // the section of the documentation that it enforces
	Method string
	Path   string   // {name} stands for one segment
	Query  []string // parameters that may be given; with "!" at the end: must
	// Body has the fields of the JSON object by name: string, int, bool, array
	// or object; with "!" at the end a field must be given. nil takes no body.
	Body map[string]string
	// Array tells that the body is an array of such objects.
	Array bool
	// Do answers; status 0 is 200.
	Do func(*Request) (status int, answer any)
}

// Request is a request that fits its route.
type Request struct {
	*http.Request
	Vars  map[string]string
	JSON  map[string]any
	Items []map[string]any // of a body that is an array
	Out   http.Header      // of the answer
}

// Text gives a text of the body, "" for none.
func (r *Request) Text(key string) string { s, _ := r.JSON[key].(string); return s }

// Server is the fake. What it is asked wrongly is an error of the test.
type Server struct {
	URL  string
	t    testing.TB
	auth func(*http.Request) bool

	mu     sync.Mutex
	routes []Route
	used   map[string]int
	first  func(http.ResponseWriter, *http.Request) bool
}

// New starts a fake on loopback; it ends with the test. Requests that auth
// refuses are answered 401.
func New(t testing.TB, auth func(*http.Request) bool, routes ...Route) *Server {
	s := &Server{t: t, auth: auth, routes: routes, used: map[string]int{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Intercept lets fn answer first, for faults; it tells whether it did.
func (s *Server) Intercept(fn func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = fn
}

// Used gives how often a route was called, by "METHOD path".
func (s *Server) Used(route string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[route]
}

// Unused lists the routes that were never called.
func (s *Server) Unused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.routes {
		if name := r.Method + " " + r.Path; s.used[name] == 0 {
			out = append(out, name)
		}
	}
	return out
}

// ServeHTTP answers a request, or says what is wrong with it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	first := s.first
	s.mu.Unlock()
	if first != nil && first(w, r) {
		return
	}
	if !s.auth(r) {
		write(w, http.StatusUnauthorized, map[string]any{"message": "401 Unauthorized"})
		return
	}
	route, vars := s.find(r)
	if route == nil {
		s.wrong(w, r, http.StatusNotFound, "the documentation has no such operation")
		return
	}
	req := &Request{Request: r, Vars: vars, Out: w.Header()}
	if msg := route.check(req); msg != "" {
		s.wrong(w, r, http.StatusBadRequest, fmt.Sprintf("%s (%s)", msg, route.Doc))
		return
	}
	s.mu.Lock()
	s.used[route.Method+" "+route.Path]++
	status, answer := route.Do(req)
	s.mu.Unlock()
	if status == 0 {
		status = http.StatusOK
	}
	write(w, status, answer)
}

func (s *Server) wrong(w http.ResponseWriter, r *http.Request, status int, msg string) {
	s.t.Errorf("%s %s: %s", r.Method, r.URL, msg)
	write(w, status, map[string]any{"message": msg})
}

func write(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// find gives the route of a request. Literal segments go before variables.
func (s *Server) find(r *http.Request) (*Route, map[string]string) {
	var best *Route
	var vars map[string]string
	for i := range s.routes {
		route := &s.routes[i]
		if route.Method != r.Method {
			continue
		}
		if v, ok := match(route.Path, r.URL.EscapedPath()); ok && (best == nil || len(v) < len(vars)) {
			best, vars = route, v
		}
	}
	return best, vars
}

func match(pattern, path string) (map[string]string, bool) {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(a) != len(b) {
		return nil, false
	}
	vars := map[string]string{}
	for i := range a {
		text, err := url.PathUnescape(b[i])
		if err != nil {
			return nil, false
		}
		if name, ok := strings.CutPrefix(a[i], "{"); ok && text != "" {
			vars[strings.TrimSuffix(name, "}")] = text
		} else if a[i] != text {
			return nil, false
		}
	}
	return vars, true
}

// check gives what is wrong with a request, "" for nothing.
func (route *Route) check(r *Request) string {
	for name, v := range r.URL.Query() {
		if !slices.Contains(route.Query, name) && !slices.Contains(route.Query, name+"!") {
			return fmt.Sprintf("there is no query parameter %q", name)
		}
		if len(v) != 1 {
			return fmt.Sprintf("the query parameter %q is given %d times", name, len(v))
		}
	}
	for _, q := range route.Query {
		if name, must := strings.CutSuffix(q, "!"); must && !r.URL.Query().Has(name) {
			return fmt.Sprintf("the query parameter %q is missing", name)
		}
	}
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return err.Error()
	case route.Body == nil && len(body) > 0:
		return "there is a body"
	case route.Body == nil:
		return ""
	case r.Header.Get("Content-Type") != "application/json":
		return "the body is not declared as JSON"
	}
	if route.Array {
		if err := json.Unmarshal(body, &r.Items); err != nil {
			return err.Error()
		}
		for _, item := range r.Items {
			if msg := Fields(route.Body, item); msg != "" {
				return msg
			}
		}
		return ""
	}
	if err := json.Unmarshal(body, &r.JSON); err != nil {
		return err.Error()
	}
	return Fields(route.Body, r.JSON)
}

// Fields checks an object against its documented fields; it gives what is
// wrong, "" for nothing.
func Fields(want map[string]string, have map[string]any) string {
	for name, v := range have {
		kind, ok := want[name]
		if !ok {
			return fmt.Sprintf("there is no field %q", name)
		}
		if got := kindOf(v); got != strings.TrimSuffix(kind, "!") {
			return fmt.Sprintf("the field %q is %s, documented is %s", name, got, kind)
		}
	}
	for name, kind := range want {
		if _, ok := have[name]; !ok && strings.HasSuffix(kind, "!") {
			return fmt.Sprintf("the field %q is missing", name)
		}
	}
	return ""
}

func kindOf(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == float64(int64(v)) {
			return "int"
		}
	}
	return "unknown"
}
