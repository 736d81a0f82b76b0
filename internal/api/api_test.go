package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
	"trueup.dev/trueup/internal/store"
	storesql "trueup.dev/trueup/internal/store/sql"
)

const canary = "canary-5ecret-value"

// fakeActions remembers what it was asked for.
type fakeActions struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (f *fakeActions) did(parts ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, strings.Join(parts, " "))
	return f.err
}

func (f *fakeActions) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.calls...)
}

func (f *fakeActions) Sync(_ context.Context, by store.Actor, a Action) error {
	if a.Target == "infra/panic" {
		panic(canary)
	}
	return f.did("sync", string(by), a.Target, string(a.Mode), a.Reason)
}
func (f *fakeActions) Poll(_ context.Context, by store.Actor, repository string) error {
	return f.did("poll", string(by), repository)
}
func (f *fakeActions) Cancel(_ context.Context, by store.Actor, target string) error {
	return f.did("cancel", string(by), target)
}
func (f *fakeActions) Approve(_ context.Context, by auth.Identity, target, hash, reason string) (store.Approval, error) {
	return store.Approval{ID: "a1"}, f.did("approve", string(by.Actor), strings.Join(by.Teams, ","), target, hash, reason)
}
func (f *fakeActions) Reject(_ context.Context, by auth.Identity, target, hash, _ string) (store.Approval, error) {
	return store.Approval{ID: "a2"}, f.did("reject", string(by.Actor), target, hash)
}
func (f *fakeActions) Event(_ context.Context, repository string, ev forge.Event) error {
	if ev.Kind == forge.Pushed {
		return f.did("poll", "webhook:"+repository, repository)
	}
	return f.did("event", repository, string(ev.Kind), fmt.Sprint(ev.Number))
}
func (f *fakeActions) Suspend(_ context.Context, by store.Actor, kind, key, _ string) error {
	return f.did("suspend", string(by), kind, key)
}
func (f *fakeActions) Resume(_ context.Context, by store.Actor, kind, key string) error {
	return f.did("resume", string(by), kind, key)
}
func (f *fakeActions) Freeze(_ context.Context, by store.Actor, reason string) error {
	return f.did("freeze", string(by), reason)
}
func (f *fakeActions) Unfreeze(_ context.Context, by store.Actor) error {
	return f.did("unfreeze", string(by))
}
func (f *fakeActions) ConfirmRestore(_ context.Context, by store.Actor) error {
	return f.did("confirm-restore", string(by))
}
func (f *fakeActions) Rollback(_ context.Context, by store.Actor, target, commit, _ string) error {
	return f.did("rollback", string(by), target, commit)
}
func (f *fakeActions) Unpin(_ context.Context, by store.Actor, target string) error {
	return f.did("unpin", string(by), target)
}
func (f *fakeActions) Destroy(_ context.Context, by store.Actor, target, _ string) error {
	return f.did("destroy", string(by), target)
}

func (f *fakeActions) State(_ context.Context, by store.Actor, target string, op driver.StateOp, _ string) (driver.StateResult, error) {
	return driver.StateResult{}, f.did("state", string(by), target, op.Verb)
}

// world is a server over a real store.
type world struct {
	t       *testing.T
	store   store.Store
	actions *fakeActions
	log     *lockedBuffer
	url     string
	socket  string
	tokens  map[string]string
	cfg     *config.Server
	server  *Server
	fence   store.Fence
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := storesql.Open(ctx, storesql.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: st, actions: &fakeActions{}, log: &lockedBuffer{}, tokens: map[string]string{},
		socket: filepath.Join(t.TempDir(), "s")}
	w.cfg = &config.Server{
		Repositories: map[string]*config.Repository{
			"infra": {URL: "https://user:" + canary + "@git.example.com/infra.git", Branch: "main", WebhookSecrets: []secret.Ref{"x:one", "x:two"}},
			"forged": {Name: "forged", URL: "http://forge.test/acme/infra.git", Branch: "main", WebhookSecrets: []secret.Ref{"x:one", "x:two"},
				Forge: &config.Forge{Gitea: &config.ForgeAccess{Token: "x:one"}}},
			"quiet":  {URL: "git@example.com:quiet.git", Branch: "main"},
			"broken": {URL: "/x", Branch: "main", WebhookSecrets: []secret.Ref{"x:empty", "x:none"}}},
		Environments: map[string]*config.Environment{
			"dns":  {Driver: "dns", Policy: "prod", Connect: map[string]string{"tsig": canary}, Allow: []config.Grant{{Repository: "infra"}}},
			"test": {Driver: "files", Allow: []config.Grant{{Repository: "quiet"}}}},
		Users: map[string]*config.User{}}
	user := func(name, role string, envs ...string) {
		token, hash := auth.NewToken()
		w.tokens[name] = token
		w.cfg.Users[name] = &config.User{TokenHash: hash, Role: role, Environments: envs, Teams: []string{"sre"}}
	}
	user("vera", "viewer")
	user("otto", "operator")
	user("anna", "approver")
	user("root", "admin")
	user("tess", "admin", "test*")
	w.server = New(Options{Store: st, Actions: Actions{w.actions, w.actions, w.actions, w.actions, w.actions, w.actions, w.actions}, Config: func() *config.Server { return w.cfg },
		Resolve: w.resolve, Forge: w.openForge, Ready: func() error { return nil }, Log: slog.New(slog.NewJSONHandler(w.log, nil)), Version: "test"})
	l, err := Socket(w.socket)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := TCP("127.0.0.1:0", "", "")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + tcp.Addr().String()
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l, tcp) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	w.fill(ctx)
	return w
}

func (w *world) resolve(_ context.Context, ref secret.Ref) (secret.Value, error) {
	switch ref {
	case "x:one":
		return secret.New(canary + "-1"), nil
	case "x:two":
		return secret.New(canary + "-2"), nil
	case "x:empty":
		return secret.Value{}, nil
	}
	return secret.Value{}, secret.ErrNotFound
}

func (w *world) openForge(context.Context, string) (forge.Forge, error) {
	return forgetest.New("acme/infra"), nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// fill puts targets, a run with a plan, outputs and holds into the store, with
// secrets where some could be.
func (w *world) fill(ctx context.Context) {
	w.t.Helper()
	target := func(id, repo, env string) store.Target {
		body, err := json.Marshal(config.Resolved{ID: id, Repository: repo, Environment: env, Path: "p", RawSpec: []byte(`{"x":"` + canary + `"}`)})
		w.must(err)
		return store.Target{ID: id, Repository: repo, Name: "n", Environment: env, Config: body, State: store.Active,
			Desired: store.Desired{Commit: "c1", Source: "branch"}}
	}
	for _, x := range []store.Target{target("infra/zone", "infra", "dns"), target("quiet/files", "quiet", "test"), target("infra/panic", "infra", "dns")} {
		w.must(w.store.PutTargets(ctx, store.RepositoryState{Name: x.Repository, Head: "c1"}, []store.Target{x}, nil,
			[]store.Trigger{{Kind: store.Reconcile, Key: x.ID, Slot: x.Environment, Cause: "push", Actor: "system:poll"}}))
	}
	leases, err := w.store.Claim(ctx, store.ClaimOptions{Owner: "o", Kinds: []store.WorkKind{store.Reconcile}, Max: 10, Lease: time.Minute, DefaultSlot: 10})
	w.must(err)
	for _, l := range leases {
		env := map[string]string{"infra/zone": "dns", "infra/panic": "dns", "quiet/files": "test"}[l.Key]
		id := "run-" + strings.ReplaceAll(l.Key, "/", "-")
		run := store.Run{ID: id, Target: l.Key, Environment: env, Repository: strings.Split(l.Key, "/")[0], Commit: "c1", State: store.RunActive,
			Actor: "user:otto", Cause: "push", Started: time.Now().UTC()}
		w.must(w.store.PutRun(ctx, l.Fence, run))
		p := &plan.Plan{Target: l.Key, Artefact: []byte(canary), Scopes: []plan.ScopePlan{{Scope: "s"}},
			Changes: []plan.Change{{Key: plan.Key{Scope: "s", Address: "a"}, Action: plan.Create, After: json.RawMessage(`{"k":"` + canary + `"}`), Sensitive: []string{"/k"}}},
			Outputs: map[string]plan.Output{"o": {Value: json.RawMessage(`"` + canary + `"`), Sensitive: true}}}
		w.must(w.store.PutPlan(ctx, l.Fence, id, "hash1", p))
		_, err := w.store.PutOutputs(ctx, l.Fence, l.Key, p.Outputs)
		w.must(err)
		w.must(w.store.AddLog(ctx, id, []store.LogLine{{Seq: 1, At: time.Now().UTC(), Text: "first"}}))
		w.must(w.store.AddEvent(ctx, store.Event{Actor: "user:otto", Kind: "run.started", Target: l.Key, Run: id}))
		if l.Key == "infra/zone" {
			w.fence = l.Fence
		}
	}
	w.must(w.store.PutHold(ctx, store.Hold{Kind: "environment", Key: "dns", Reason: "r", Actor: "user:otto"}))
}

// ask sends a request with a user's token and gives status and body.
func (w *world) ask(method, path, user, body string, header ...string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	w.must(err)
	if user != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[user])
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, string(b)
}

// gets are all endpoints that are read.
var gets = []string{"/api/v1/status", "/api/v1/targets", "/api/v1/targets/infra/zone", "/api/v1/runs", "/api/v1/runs/run-infra-zone",
	"/api/v1/runs/run-infra-zone/plan", "/api/v1/runs/run-infra-zone/log", "/api/v1/events", "/api/v1/environments", "/api/v1/repositories",
	"/api/v1/holds", "/api/v1/history?environment=dns", "/api/v1/why?address=a", "/api/v1/inventory?target=infra/zone"}

func TestEveryEndpointAnswersAndLeaksNothing(t *testing.T) {
	w := newWorld(t)
	paths := append([]string{"/healthz", "/readyz", "/metrics", "/nothing", "/api/v1/targets/none", "/api/v1/runs/none"}, gets...)
	for _, p := range paths {
		status, body := w.ask("GET", p, "root", "")
		if want := map[bool]int{true: 404, false: 200}[strings.Contains(p, "no") && !strings.Contains(p, "environ")]; status != want {
			t.Errorf("%s: %d %s", p, status, body)
		}
		if strings.Contains(body, canary) {
			t.Errorf("%s shows a secret: %s", p, body)
		}
	}
	for verb := range verbs {
		if _, body := w.ask("POST", "/api/v1/actions/"+string(verb), "root", `{"target":"infra/panic","kind":"target","key":"infra/zone","repository":"infra"}`); strings.Contains(body, canary) {
			t.Errorf("%s shows a secret: %s", verb, body)
		}
	}
	for _, token := range w.tokens {
		if strings.Contains(w.log.String(), token) {
			t.Error("the log holds a token")
		}
	}
}

func TestNobodyGetsInWithoutAToken(t *testing.T) {
	w := newWorld(t)
	for _, p := range append([]string{"/api/v1/backup"}, gets...) {
		if status, body := w.ask("GET", p, "", ""); status != 401 || !strings.Contains(body, "unauthenticated") {
			t.Errorf("%s: %d %s", p, status, body)
		}
	}
	for verb := range verbs {
		if status, _ := w.ask("POST", "/api/v1/actions/"+string(verb), "", `{}`); status != 401 {
			t.Errorf("%s: %d", verb, status)
		}
	}
	if calls := w.actions.list(); len(calls) > 0 {
		t.Errorf("something was done: %v", calls)
	}
}

func TestRoles(t *testing.T) {
	w := newWorld(t)
	body := `{"target":"infra/zone","repository":"infra","kind":"target","key":"infra/zone","planHash":"12345678","reason":"r"}`
	least := map[auth.Verb]string{auth.Sync: "otto", auth.Poll: "otto", auth.Cancel: "otto", auth.Suspend: "otto", auth.Resume: "otto", auth.Freeze: "otto",
		auth.Rollback: "otto", auth.Unpin: "otto", auth.Approve: "anna", auth.Reject: "anna", auth.Unfreeze: "anna", auth.Destroy: "root",
		auth.ListState: "otto", auth.ChangeState: "root", auth.ConfirmRestore: "root", auth.BreakGlass: "root"}
	order := []string{"vera", "otto", "anna", "root"}
	for verb := range verbs {
		allowed := false
		for _, user := range order {
			allowed = allowed || user == least[verb]
			status, text := w.ask("POST", "/api/v1/actions/"+string(verb), user, body)
			if want := map[bool]int{true: 202, false: 403}[allowed]; status != want {
				t.Errorf("%s by %s: %d %s", verb, user, status, text)
			}
		}
		if status, text := w.ask("POST", "/api/v1/actions/"+string(verb), "tess", body); status == 202 && verb != auth.Poll {
			t.Errorf("%s by somebody limited to another environment: %d %s", verb, status, text)
		}
	}
	if status, _ := w.ask("GET", "/api/v1/backup", "anna", ""); status != 403 {
		t.Errorf("backup by an approver: %d", status)
	}
}

func TestNarrowedUserSeesOwnEnvironmentsOnly(t *testing.T) {
	w := newWorld(t)
	for _, p := range gets {
		status, body := w.ask("GET", p, "tess", "")
		if strings.Contains(body, `"infra`) || strings.Contains(body, `"dns"`) {
			t.Errorf("%s: %d %s", p, status, body)
		}
	}
	if _, body := w.ask("GET", "/api/v1/targets", "tess", ""); !strings.Contains(body, "quiet/files") {
		t.Errorf("own target is not shown: %s", body)
	}
}

func TestApprovalCarriesTeams(t *testing.T) {
	w := newWorld(t)
	status, body := w.ask("POST", "/api/v1/actions/approve", "anna", `{"target":"infra/zone","planHash":"abcdefgh","reason":"ok"}`)
	if status != 202 || !strings.Contains(body, `"a1"`) || w.actions.list()[0] != "approve user:anna sre infra/zone abcdefgh ok" {
		t.Errorf("%d %s %v", status, body, w.actions.list())
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	seen := map[string]bool{}
	after := ""
	for range 5 {
		_, body := w.ask("GET", "/api/v1/targets?limit=1&after="+after, "root", "")
		var l List[Target]
		w.must(json.Unmarshal([]byte(body), &l))
		for _, x := range l.Items {
			seen[x.ID] = true
		}
		if after = l.Next; after == "" {
			break
		}
	}
	if len(seen) != 3 {
		t.Errorf("saw %v", seen)
	}
}

func TestSocketFile(t *testing.T) {
	w := newWorld(t)
	if _, err := Socket(w.socket); err == nil {
		t.Error("a second server took the socket of a live one")
	}
	path := filepath.Join(t.TempDir(), "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	w.must(err)
	l.SetUnlinkOnClose(false)
	w.must(l.Close())
	again, err := Socket(path)
	if err != nil {
		t.Fatalf("the socket of a dead server: %v", err)
	}
	w.must(again.Close())
}
