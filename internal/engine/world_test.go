package engine_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/dns"
	commands "trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/tofu"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// world is a Git repository, directories as environments, and an engine on
// SQLite between them.
type world struct {
	t        *testing.T
	dir      string
	git      string // working copy; origin is a bare repository
	st       store.Store
	e        *engine.Engine
	stop     func()
	config   string
	now      func() time.Time
	forges   forge.Registry
	forge    *forgetest.Forge
	fail     func(string) error
	images   engine.OpenRegistries
	files    driver.Driver // in place of the files driver
	log      io.Writer     // gets all that is logged; nil is stderr, errors alone
	interval time.Duration // between drift checks; 0 is 300 ms
}

const baseConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
policies:
  quick: {driftInterval: 1s}
environments:
  site:
    driver: files
    policy: quick
    connect: {root: %[1]s/site}
    allow: [{repository: infra}]
`

const baseManifest = `version: 1
targets:
  - {name: site, environment: site, path: web}
`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.git = filepath.Join(w.dir, "work")
	for _, d := range []string{"site", "data"} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.run(w.dir, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
	w.run(w.dir, "git", "clone", "-q", "origin.git", "work")
	w.run(w.git, "git", "checkout", "-q", "-b", "main")
	w.config = fmt.Sprintf(baseConfig, w.dir)
	return w
}

func (w *world) run(dir, name string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.test", "GIT_COMMITTER_NAME=Ann",
		"GIT_COMMITTER_EMAIL=ann@example.test", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// push writes files (an empty text removes one), commits and pushes.
func (w *world) push(files map[string]string) string {
	w.t.Helper()
	for name, text := range files {
		p := filepath.Join(w.git, name)
		if text == "" {
			if err := os.Remove(p); err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run(w.git, "git", "add", "-A")
	w.run(w.git, "git", "commit", "-qm", "change")
	w.run(w.git, "git", "push", "-q", "origin", "HEAD:main")
	return w.run(w.git, "git", "rev-parse", "HEAD")
}

func (w *world) drivers() driver.Registry {
	var onDisk driver.Driver = files.New()
	if w.files != nil {
		onDisk = w.files
	}
	r, err := driver.NewRegistry(onDisk, dns.New(), tofu.New(), commands.New(), kubernetes.New(), fleet{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) parse(body string) *config.Server {
	w.t.Helper()
	c, diags := config.ParseServer("server.yaml", []byte(body), w.dir, w.drivers())
	if err := diags.Err(); err != nil {
		w.t.Fatalf("configuration:\n%v", err)
	}
	// Shorter than an operator may ask for, so that the tests are quick.
	for _, r := range c.Repositories {
		r.Poll = 200 * time.Millisecond
	}
	for _, r := range c.Registries {
		r.Poll = 200 * time.Millisecond
	}
	for _, p := range c.Policies {
		p.DriftInterval = cmp.Or(w.interval, 300*time.Millisecond)
	}
	return c
}

// start opens the store and runs the engine until the test ends or stop.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := sql.Open(ctx, sql.Options{Dir: filepath.Join(w.dir, "data")})
	if err != nil {
		w.t.Fatal(err)
	}
	parse := func(_ string, body []byte) (*config.Server, plan.Diagnostics) {
		return config.ParseServer("server.yaml", body, w.dir, w.drivers())
	}
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	var out io.Writer = os.Stderr
	if w.log != nil {
		out, level = w.log, slog.LevelDebug
	}
	e, err := engine.New(ctx, engine.Options{Store: st, Drivers: w.drivers(), Config: w.parse(w.config), DataDir: filepath.Join(w.dir, "data"),
		Resolvers: secret.Resolvers{"env": secret.Env{}, "file": secret.File{Dir: w.dir}},
		Log:       slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})), Clock: w.now, Parse: parse, Forges: w.registry(), Registries: w.images, Fail: w.fail})
	if err != nil {
		w.t.Fatal(err)
	}
	w.st, w.e = st, e
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("engine: %v", err)
		}
		if err := st.Close(); err != nil {
			w.t.Errorf("store: %v", err)
		}
	}
	w.t.Cleanup(w.stop)
}

func (w *world) registry() forge.Registry {
	if w.forge == nil {
		return w.forges
	}
	return forge.Registry{"gitea": w.forge.Opener()}
}

// eventually waits until check passes.
func (w *world) eventually(what string, check func() bool) {
	w.t.Helper()
	for range 600 {
		if check() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts, _, _ := w.st.Targets(context.Background(), store.TargetFilter{})
	for _, t := range ts {
		w.t.Logf("%s: %s desired %.8s applied %.8s: %s %s", t.ID, t.Status.Phase, t.Desired.Commit, t.Status.Applied, t.Status.Gate, t.Status.Message)
	}
	runs, _, _ := w.st.Runs(context.Background(), store.RunFilter{})
	for _, r := range runs {
		w.t.Logf("run %s %s of %s by %s: %v %s %s", r.ID, r.State, r.Target, r.Cause, r.Summary, r.Gate, r.Error)
	}
	rs, _ := w.st.Repositories(context.Background())
	for _, r := range rs {
		w.t.Logf("repository %s at %.8s: %s %v", r.Name, r.Head, r.Error, r.Invalid)
	}
	w.t.Fatalf("never happened: %s", what)
}

func (w *world) target(id string) store.Target {
	t, err := w.st.Target(context.Background(), id)
	if err != nil {
		return store.Target{}
	}
	return t
}

func (w *world) synced(id, commit string) {
	w.t.Helper()
	w.eventually(id+" synced at "+commit, func() bool {
		t := w.target(id)
		return t.Status.Phase == store.Synced && t.Status.Applied == commit
	})
}

func (w *world) held(id string, gate engine.Gate) store.Target {
	w.t.Helper()
	w.eventually(id+" held by "+string(gate), func() bool {
		t := w.target(id)
		return t.Status.Gate == string(gate)
	})
	return w.target(id)
}

// file gives a file of the environment; "" when it is absent.
func (w *world) file(name string) string {
	b, err := os.ReadFile(filepath.Join(w.dir, "site", name))
	if err != nil {
		return ""
	}
	return string(b)
}

func (w *world) write(name, text string) {
	w.t.Helper()
	p := filepath.Join(w.dir, "site", name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func many(n int) map[string]string {
	m := map[string]string{"trueup.yaml": baseManifest}
	for i := range n {
		m[fmt.Sprintf("web/f%03d", i)] = fmt.Sprintf("file %d\n", i)
	}
	return m
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
