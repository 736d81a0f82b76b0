package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/rest"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

const token = "canary-of-the-token-17"

type note struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	Text    string `json:"text"`
	Secret  string `json:"secret,omitempty"`
	Version int    `json:"version"`
}

// fake is an API of notes with pages of two, ETags and a token.
type fake struct {
	url string

	mu       sync.Mutex
	notes    map[int]*note
	last     int
	blocked  string
	down     bool
	cut      bool
	failures int // answers 503 so many times
	requests []string
}

func newFake(t testing.TB) *fake {
	f := &fake{notes: map[int]*note{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.String())
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		http.Error(w, "who is "+r.Header.Get("Authorization"), http.StatusUnauthorized)
	case f.down, f.failures > 0:
		f.failures--
		http.Error(w, "down", http.StatusServiceUnavailable)
	case r.URL.Path == "/notes" && r.Method == http.MethodGet:
		f.list(w, r)
	case r.URL.Path == "/notes" && r.Method == http.MethodPost:
		f.create(w, r)
	default:
		f.one(w, r)
	}
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	ids := slices.Sorted(maps.Keys(f.notes))
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	page = max(page, 1)
	out := []*note{}
	for i, id := range ids {
		if i/2 == page-1 {
			out = append(out, f.notes[id])
		}
	}
	if page*2 < len(ids) {
		w.Header().Set("Link", fmt.Sprintf(`<%s/notes?page=%d>; rel="next", <%s/notes?page=9>; rel="last"`, f.url, page+1, f.url))
	}
	b, _ := json.Marshal(map[string]any{"notes": out, "count": len(ids)})
	if f.cut && page > 1 {
		b = b[:len(b)/2]
	}
	_, _ = w.Write(b)
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	var n note
	if json.NewDecoder(r.Body).Decode(&n) != nil || n.Name == f.blocked {
		http.Error(w, "no", http.StatusUnprocessableEntity)
		return
	}
	f.add(n)
	w.WriteHeader(http.StatusCreated)
}

func (f *fake) add(n note) {
	f.last++
	n.ID = f.last
	f.notes[n.ID] = &n
}

func (f *fake) one(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/notes/"))
	n := f.notes[id]
	if n == nil {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%d"`, n.Version)
	if m := r.Header.Get("If-Match"); r.Method != http.MethodGet && m != tag {
		http.Error(w, "it changed", http.StatusPreconditionFailed)
		return
	}
	switch {
	case n.Name == f.blocked && r.Method != http.MethodGet:
		http.Error(w, "no", http.StatusUnprocessableEntity)
	case r.Method == http.MethodDelete:
		delete(f.notes, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		up := note{ID: id, Version: n.Version + 1}
		if json.NewDecoder(r.Body).Decode(&up) != nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		up.ID, up.Version = id, n.Version+1
		f.notes[id] = &up
	default:
		w.Header().Set("ETag", tag)
		b, _ := json.Marshal(n)
		_, _ = w.Write(b)
	}
}

func connect(url string) *rest.Connect {
	return &rest.Connect{URL: url, Auth: rest.Auth{Bearer: "mem:token"}, Retries: -1, Types: map[string]*rest.Type{"note": {
		Key: []string{"/name"}, ID: "/id", List: rest.List{Path: "/notes", Items: "/notes", Paging: rest.ByLink, Total: "/count"},
		Read: &rest.Request{Path: "/notes/{id}"}, ETag: true, Secret: []string{"/secret"}}}}
}

func environment(c *rest.Connect) driver.Environment {
	return driver.Environment{Name: "notes", Connect: c, HashKey: []byte("0123456789abcdef"),
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(token), nil }}
}

type world struct{ *fake }

func (w world) Environment() driver.Environment { return environment(connect(w.url)) }

func (w world) find(name string) *note {
	for _, n := range w.notes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (w world) Set(_ testing.TB, name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.find(name); n != nil {
		n.Text, n.Version = value, n.Version+1
		return
	}
	w.add(note{Name: name, Text: value})
}

func (w world) Unset(_ testing.TB, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.find(name); n != nil {
		delete(w.notes, n.ID)
	}
}

func (w world) List(testing.TB) drivertest.Objects {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := drivertest.Objects{}
	for _, n := range w.notes {
		out[n.Name] = n.Text
	}
	return out
}

func (w world) set(change func()) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.down, w.cut, w.blocked = false, false, ""
	}
}

func (w world) MakeUnreadable(testing.TB) func() { return w.set(func() { w.down = true }) }
func (w world) TruncateReads(testing.TB) func()  { return w.set(func() { w.cut = true }) }
func (w world) Block(_ testing.TB, name string) func() {
	return w.set(func() { w.blocked = name })
}

func file(text string) driver.Input {
	return driver.Input{Tree: fstest.MapFS{"notes.yaml": {Data: []byte(text)}}, Path: "notes.yaml", Spec: &rest.Spec{Type: "note"}, Scope: &rest.Scope{}}
}

func desired(_ testing.TB, want drivertest.Objects) driver.Input {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(want)) {
		text += fmt.Sprintf("- name: %s\n  text: %q\n", name, want[name])
	}
	return file(text)
}

func bad() []drivertest.BadInput {
	return []drivertest.BadInput{
		{Name: "yaml", Input: file("- name: one\n  text: [\n"), File: "notes.yaml"},
		{Name: "twice", Input: file("- name: one\n  text: a\n  text: b\n"), File: "notes.yaml", Line: 3},
		{Name: "alias", Input: file("- name: &x one\n  text: *x\n"), File: "notes.yaml", Line: 2},
		{Name: "no object", Input: file("- one\n"), File: "notes.yaml", Line: 1},
		{Name: "nothing", Input: file("# nothing\n"), File: "notes.yaml"},
	}
}

func optOut() map[string]string {
	return map[string]string{"PrepareReadsTheSnapshotAlone": "which fields name an object is declared in the environment, which Prepare does not see"}
}

func key(typ string) func(string) plan.Key {
	return func(name string) plan.Key { return plan.Key{Address: plan.Address(typ + "/" + name)} }
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Driver: rest.New(), New: func(t testing.TB) drivertest.World { return world{newFake(t)} },
		Input: desired, Key: key("note"), Bad: bad(), Canaries: []string{token}, OptOut: optOut(),
		SecretInput: func(_ testing.TB, canary string) driver.Input {
			return file("- {name: one, text: v1, secret: " + canary + "}\n")
		}})
}
