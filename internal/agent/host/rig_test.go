package host_test

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/agent/agenttest"
	"trueup.dev/trueup/internal/agent/host"
	"trueup.dev/trueup/internal/agent/mailbox"
	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// rig is a server with its store, and agents on hosts that are directories.
type rig struct {
	*testing.T
	store  store.Store
	office *mailbox.Office
	server *httptest.Server
	ca     []byte
	inv    driver.Inventory
	hosts  []string

	mu    sync.Mutex
	alone wire.Alone
	// down makes the server answer nothing.
	down bool
	// spy sees every answer.
	spy func(path string, r *http.Request, rec *httptest.ResponseRecorder)
}

func newRig(t *testing.T, hosts ...string) *rig {
	t.Helper()
	r := &rig{T: t, inv: driver.Inventory{}, hosts: hosts, alone: wire.Alone{Why: "not in this test"}}
	st, err := sql.Open(t.Context(), sql.Options{Dir: t.TempDir()})
	r.must(err)
	r.store = st
	t.Cleanup(func() { _ = st.Close() })
	r.office, err = mailbox.New(t.Context(), mailbox.Options{Store: st, Log: logTo(t, "server"), Alone: func(context.Context, string, string) (wire.Alone, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.alone, nil
	}})
	r.must(err)
	h := r.office.Handler()
	ctx, stop := context.WithCancel(context.Background())
	r.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		down, spy := r.down, r.spy
		r.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		qctx, cancel := context.WithCancel(q.Context())
		defer cancel()
		context.AfterFunc(ctx, cancel)
		if spy == nil {
			h.ServeHTTP(w, q.WithContext(qctx))
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, q.WithContext(qctx))
		spy(q.URL.Path, q, rec)
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(func() { stop(); r.server.Close() })
	r.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	return r
}

func logTo(t *testing.T, who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("who", who)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(b))
	}
	return len(b), nil
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// box is one host: its state directory and its file system.
type box struct {
	r      *rig
	name   string
	state  string
	root   string
	driver *agenttest.Boxes
	stop   func()
}

func (r *rig) token(hosts ...string) secret.Value {
	r.Helper()
	tok, _, err := r.office.Token(r.Context(), "user:alice", hosts, time.Hour)
	r.must(err)
	return tok
}

func (r *rig) box(name string) *box {
	r.Helper()
	b := &box{r: r, name: name, state: r.TempDir(), root: r.TempDir()}
	b.driver = &agenttest.Boxes{Root: b.root}
	r.must(b.enrol(r.token(name)))
	return b
}

func (b *box) enrol(tok secret.Value) error {
	_, err := host.Enrol(b.r.Context(), host.EnrolOptions{Dir: b.state, Server: b.r.server.URL, Host: b.name, Token: tok, CA: b.r.ca})
	return err
}

func (b *box) start() {
	b.r.Helper()
	reg, err := driver.NewRegistry(b.driver)
	b.r.must(err)
	a, err := host.New(host.Options{Dir: b.state, Drivers: reg, Version: "test", Log: logTo(b.r.T, b.name), Away: 1500 * time.Millisecond, Look: 20 * time.Millisecond, Wait: 100 * time.Millisecond})
	b.r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Run(ctx); err != nil {
			b.r.Errorf("agent %s: %v", b.name, err)
		}
	}()
	var once sync.Once
	b.stop = func() { once.Do(func() { cancel(); <-done }) }
	b.r.Cleanup(b.stop)
	b.r.until("the agent of "+b.name+" has called", func() bool {
		a, err := b.r.store.Agent(b.r.Context(), b.name)
		return err == nil && !a.SeenAt.IsZero()
	})
}

func (b *box) file(name string) string {
	body, err := os.ReadFile(filepath.Join(b.root, name))
	if err != nil {
		return ""
	}
	return string(body)
}

func (b *box) write(name, body string) {
	b.r.Helper()
	b.r.must(os.WriteFile(filepath.Join(b.root, name), []byte(body), 0o600))
}

// until waits for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.Fatalf("waited in vain: %s", what)
}

// input is a desired state: "host/file": content.
func (r *rig) input(want map[string]string) driver.Input {
	tree := fstest.MapFS{"src": {Mode: os.ModeDir | 0o755}}
	for name, body := range want {
		tree["src/"+name] = &fstest.MapFile{Data: []byte(body)}
	}
	inv := driver.Inventory{}
	for k, o := range r.inv {
		inv[k] = o
	}
	return driver.Input{Target: "t", Tree: tree, Path: "src", Inventory: inv, Mode: plan.Apply, Now: time.Now()}
}

func (r *rig) session() driver.Session {
	r.Helper()
	s, err := (&agenttest.Boxes{}).Open(r.Context(), driver.Environment{Name: "boxes", Connect: &agenttest.Connect{Hosts: r.hosts}, Agents: r.office}, driver.Write)
	r.must(err)
	return s
}

func (r *rig) plan(want map[string]string) *plan.Plan {
	r.Helper()
	p, err := r.session().Plan(r.Context(), r.input(want))
	r.must(err)
	return p
}

// sync plans and applies as the engine does.
func (r *rig) sync(want map[string]string) (*drivertest.Journal, error) {
	r.Helper()
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	err := r.session().Apply(r.Context(), r.input(want), p, j)
	r.inv = j.Inventory()
	return j, err
}
