package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/rest"
	"trueup.dev/trueup/internal/plan"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func planFor(t *testing.T, c *rest.Connect, in driver.Input) (*plan.Plan, error) {
	t.Helper()
	s, err := rest.New().Open(t.Context(), environment(c), driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	in.Target, in.Mode, in.Now = "t", plan.Apply, time.Now()
	return s.Plan(t.Context(), in)
}

// names five objects over three pages, by every way of paging.
func TestPaging(t *testing.T) {
	pages := [][]string{{"a", "b"}, {"c", "d"}, {"e"}}
	for name, way := range map[string]struct {
		list  rest.List
		index func(r *http.Request) int
		more  func(w http.ResponseWriter, i int) string // the next cursor
	}{
		"page": {rest.List{Path: "/x", Items: "/items", Paging: rest.ByPage, Param: "p", First: new(int)},
			func(r *http.Request) int { var n int; _, _ = fmt.Sscan(r.URL.Query().Get("p"), &n); return n }, nil},
		"cursor": {rest.List{Path: "/x", Items: "/items", Paging: rest.ByCursor, Param: "after", Next: "/meta/next"},
			func(r *http.Request) int { return strings.Index("ABC", r.URL.Query().Get("after")+"") }, nil},
		"link": {rest.List{Path: "/x", Query: map[string]string{"size": "2"}, Items: "/items", Paging: rest.ByLink},
			func(r *http.Request) int { var n int; _, _ = fmt.Sscan(r.URL.Query().Get("at"), &n); return n },
			func(w http.ResponseWriter, i int) string {
				if i < 2 {
					w.Header().Set("Link", fmt.Sprintf(`</x?size=2&at=%d>; rel="next"`, i+1))
				}
				return ""
			}},
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			i, items := max(way.index(r), 0), []map[string]string{}
			if i < len(pages) {
				for _, n := range pages[i] {
					items = append(items, map[string]string{"name": n})
				}
			}
			if way.more != nil {
				way.more(w, i)
			}
			next := any(nil)
			if i < 2 {
				next = string("ABC"[i+1])
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"items": items, "meta": map[string]any{"next": next}})
		})
		c := &rest.Connect{URL: url, Retries: -1, Types: map[string]*rest.Type{"note": {Key: []string{"/name"}, List: way.list}}}
		p, err := planFor(t, c, file("- {name: a}\n- {name: e}\n- {name: f}\n"))
		if err != nil || p.Summary()[plan.Adopt] != 2 || p.Summary()[plan.Create] != 1 || p.Scopes[0].Unmanaged != 3 {
			t.Errorf("%s: %v, %+v", name, err, p)
		}
	}
}

// TestListsThatAreNotWhole plan nothing, and never a delete.
func TestListsThatAreNotWhole(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"no list":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"message": "maintenance"}`)) },
		"null":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"items": null}`)) },
		"empty body": func(http.ResponseWriter, *http.Request) {},
		"404":        func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"redirect":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"html":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>login</html>")) },
		"no name":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"items": [{}], "total": 1}`)) },
		"twice": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"items": [{"name": "a"}, {"name": "a"}], "total": 2}`))
		},
		"total": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"items": [], "total": 1}`)) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"items": [], "total": 0}`))
		},
		"elsewhere": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<http://example.test/x>; rel="next"`)
			_, _ = w.Write([]byte(`{"items": [], "total": 0}`))
		},
		"circle": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `</x>; rel="next"`)
			_, _ = w.Write([]byte(`{"items": [], "total": 0}`))
		},
	} {
		for _, total := range []string{"/total", ""} {
			if total == "" && name == "total" {
				continue // nothing else can tell
			}
			c := &rest.Connect{URL: serve(t, answer), Retries: -1, Types: map[string]*rest.Type{"note": {Key: []string{"/name"},
				List: rest.List{Path: "/x", Items: "/items", Total: total, Paging: rest.ByLink}}}}
			in := file("- {name: b}\n")
			k := key("note")("old")
			in.Inventory = driver.Inventory{k: {Key: k}}
			p, err := planFor(t, c, in)
			if err == nil && (len(p.Changes) > 0 || len(p.UnknownScopes()) != 1) {
				t.Errorf("%s, total %q: %+v", name, total, p)
			}
		}
	}
}

// TestRepetitions: reads are tried again; a write that the server may have
// taken is not, and its outcome is unknown.
func TestRepetitions(t *testing.T) {
	var posts atomic.Int32
	f := newFake(t)
	front := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && posts.Add(1) > 0 {
			f.ServeHTTP(httptest.NewRecorder(), r) // it arrives
			panic(http.ErrAbortHandler)            // and nobody hears of it
		}
		f.ServeHTTP(w, r)
	})
	c := connect(front)
	c.Retries = 3
	f.failures = 2
	in := file("- {name: one, text: v1}\n")
	in.Target, in.Mode, in.Now = "t", plan.Apply, time.Now()
	s, err := rest.New().Open(t.Context(), environment(c), driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan(t.Context(), in)
	if err != nil || len(p.Changes) != 1 {
		t.Fatalf("two answers of 503 before a good one: %v, %+v", err, p)
	}
	j := drivertest.NewJournal(nil, p)
	_ = s.Apply(t.Context(), in, p, j)
	if r := j.Results(); len(r) != 1 || r[0].Outcome != plan.Unknown || posts.Load() != 1 {
		t.Fatalf("%+v after %d posts", r, posts.Load())
	}
	in.Inventory = j.Inventory()
	if p, err = s.Plan(t.Context(), in); err != nil || p.Writes() {
		t.Errorf("the next plan does not find what was written: %v, %+v", err, p)
	}
}

// TestOAuth2 gets a token once, and shows its secret to the token endpoint
// alone.
func TestOAuth2(t *testing.T) {
	var asked atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			asked.Add(1)
			id, pw, _ := r.BasicAuth()
			if id != "app" || pw != token || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "notes" {
				http.Error(w, pw, http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token": "short", "token_type": "bearer", "expires_in": 3600}`))
			return
		}
		if r.Header.Get("Authorization") != "Bearer short" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`[]`))
	})
	c := &rest.Connect{URL: url, Auth: rest.Auth{OAuth2: &rest.OAuth2{TokenURL: url + "/token", ClientID: "app", ClientSecret: "mem:x", Scopes: []string{"notes"}}},
		Types: map[string]*rest.Type{"note": {Key: []string{"/name"}, List: rest.List{Path: "/x"}}}}
	if p, err := planFor(t, c, file("- {name: a}\n")); err != nil || p.Summary()[plan.Create] != 1 || asked.Load() != 1 {
		t.Errorf("%v, %+v, asked %d times", err, p, asked.Load())
	}
	c.Auth.OAuth2.ClientID = "other"
	p, err := planFor(t, c, file("- {name: a}\n"))
	if text := fmt.Sprint(err, p); !strings.Contains(text, "token endpoint refuses") || strings.Contains(text, token) {
		t.Errorf("%s", text)
	}
}

// TestWriteOnlyFields: a password that the API never shows is written when it
// changes in Git, and no plan is left over.
func TestWriteOnlyFields(t *testing.T) {
	var have atomic.Value
	have.Store("")
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			var x struct{ Password string }
			_ = json.NewDecoder(r.Body).Decode(&x)
			have.Store(x.Password)
			return
		}
		if have.Load() == "" {
			_, _ = w.Write([]byte(`[]`))
			return
		}
		_, _ = w.Write([]byte(`[{"name": "a", "noise": 7}]`))
	})
	c := &rest.Connect{URL: url, Types: map[string]*rest.Type{"note": {Key: []string{"/name"}, List: rest.List{Path: "/x"}, WriteOnly: []string{"/password"}, Secret: []string{"/password"}}}}
	s, err := rest.New().Open(t.Context(), environment(c), driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	own := driver.Inventory{}
	for _, pw := range []string{"first", "first", "second"} {
		in := file("- {name: a, password: " + pw + "}\n")
		in.Target, in.Mode, in.Now, in.Inventory = "t", plan.Apply, time.Now(), own
		p, err := s.Plan(t.Context(), in)
		if err != nil || p.Empty() != (have.Load() == pw) {
			t.Fatalf("%s over %s: %v, %+v", pw, have.Load(), err, p)
		}
		j := drivertest.NewJournal(own, p)
		if err := s.Apply(t.Context(), in, p, j); err != nil {
			t.Fatal(err)
		}
		if own = j.Inventory(); have.Load() != pw {
			t.Fatalf("the API has %s", have.Load())
		}
	}
}

func TestConnectMistakes(t *testing.T) {
	ok := func() *rest.Connect { return connect("https://x.example") }
	for field, spoil := range map[string]func(c *rest.Connect){
		"url":                      func(c *rest.Connect) { c.URL = "https://u:p@x" },
		"auth":                     func(c *rest.Connect) { c.Auth.Header = &rest.Header{Name: "X", Value: "mem:x"} },
		"types":                    func(c *rest.Connect) { c.Types = nil },
		"types.note.key":           func(c *rest.Connect) { c.Types["note"].Key = nil },
		"types.note.key[0]":        func(c *rest.Connect) { c.Types["note"].Key = []string{"name"} },
		"types.note.list.path":     func(c *rest.Connect) { c.Types["note"].List.Path = "notes" },
		"types.note.list.param":    func(c *rest.Connect) { c.Types["note"].List.Paging = rest.ByPage },
		"types.note.etag":          func(c *rest.Connect) { c.Types["note"].Read = nil },
		"types.note.update.method": func(c *rest.Connect) { c.Types["note"].Update = &rest.Request{Method: "patch", Path: "/x"} },
	} {
		c := ok()
		spoil(c)
		if d := c.Validate(); len(d) == 0 || d[0].Field != field {
			t.Errorf("%s: %v", field, d)
		}
	}
	if err := ok().Validate().Err(); err != nil {
		t.Error(err)
	}
}
