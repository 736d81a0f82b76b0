package ssh_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/agent/host"
	"trueup.dev/trueup/internal/agent/mailbox"
	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// callers is a mailbox, and hosts that call in. All of them are this machine.
type callers struct {
	testing.TB
	office *mailbox.Office
	url    string
	ca     []byte
	inv    driver.Inventory
	conn   *ssh.Connect

	mu   sync.Mutex
	sent map[string]string // what each host was sent, whole
}

func newCallers(t testing.TB, names ...string) *callers {
	t.Helper()
	c := &callers{TB: t, inv: driver.Inventory{}, sent: map[string]string{}, conn: &ssh.Connect{Hosts: map[string]inventory.HostSpec{}}}
	st, err := sql.Open(t.Context(), sql.Options{Dir: t.TempDir()})
	c.ok(err)
	t.Cleanup(func() { _ = st.Close() })
	c.office, err = mailbox.New(t.Context(), mailbox.Options{Store: st})
	c.ok(err)
	h := c.office.Handler()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		body := rec.Body.String()
		var p wire.Polled
		if json.Unmarshal(rec.Body.Bytes(), &p) == nil && p.Request != nil {
			body += string(p.Request.Payload)
		}
		c.mu.Lock()
		c.sent[r.Header.Get("Trueup-Agent")] += body
		c.mu.Unlock()
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(srv.Close)
	c.url, c.ca = srv.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	for _, n := range names {
		c.conn.Hosts[n] = inventory.HostSpec{Agent: true, Groups: []string{"group-of-" + n}, Vars: map[string]any{"secretOf": "canary-var-of-" + n}}
		c.start(n, st.Agent)
	}
	return c
}

func (c *callers) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *callers) start(name string, agent func(context.Context, string) (store.Agent, error)) {
	c.Helper()
	tok, _, err := c.office.Token(c.Context(), "user:alice", []string{name}, time.Hour)
	c.ok(err)
	dir := c.TempDir()
	_, err = host.Enrol(c.Context(), host.EnrolOptions{Dir: dir, Server: c.url, Host: name, Token: tok, CA: c.ca})
	c.ok(err)
	reg, err := driver.NewRegistry(ssh.New())
	c.ok(err)
	a, err := host.New(host.Options{Dir: dir, Drivers: reg, Wait: 200 * time.Millisecond})
	c.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	c.Cleanup(func() { cancel(); <-done })
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if x, err := agent(c.Context(), name); err == nil && !x.SeenAt.IsZero() {
			return
		}
		if time.Now().After(end) {
			c.Fatal("the agent does not call")
		}
	}
}

func (c *callers) input(tree fstest.MapFS) driver.Input {
	inv := driver.Inventory{}
	for k, o := range c.inv {
		inv[k] = o
	}
	return driver.Input{Target: "t", Tree: tree, Path: "hosts", Spec: &ssh.Spec{}, Scope: &ssh.Scope{}, Inventory: inv, Mode: plan.Apply, Now: time.Now()}
}

func (c *callers) session() driver.Session {
	c.Helper()
	s, err := ssh.New().Open(c.Context(), driver.Environment{Name: "far", Connect: c.conn, HashKey: []byte("0123456789abcdef"), Agents: c.office}, driver.Write)
	c.ok(err)
	c.Cleanup(func() { _ = s.Close() })
	return s
}

func (c *callers) plan(tree fstest.MapFS) *plan.Plan {
	c.Helper()
	p, err := c.session().Plan(c.Context(), c.input(tree))
	c.ok(err)
	return p
}

func (c *callers) sync(tree fstest.MapFS) *plan.Plan {
	c.Helper()
	p := c.plan(tree)
	j := drivertest.NewJournal(c.inv, p)
	err := c.session().Apply(c.Context(), c.input(tree), p, j)
	c.inv = j.Inventory()
	c.ok(err)
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied {
			c.Fatalf("%s %s: %s %s", r.Action, r.Key, r.Outcome, r.Error)
		}
	}
	return p
}

// TestAgentsWorkOnTheirOwnHosts: the whole way, with templates, trees, parts
// for groups and hosts; and nothing of one host reaches the other.
func TestAgentsWorkOnTheirOwnHosts(t *testing.T) {
	c := newCallers(t, "one", "two")
	dir := t.TempDir()
	doc := strings.ReplaceAll(`# canary-comment
files:
  DIR/common-{{ .host.name }}: {content: "same\n"}
perGroup:
  group-of-one:
    vars: {greeting: canary-group-of-one}
    files:
      DIR/one.conf: {template: "templates/one.tmpl", sensitive: true}
  group-of-two:
    vars: {greeting: hello}
    trees:
      DIR/site: {source: site}
perHost:
  one:
    files:
      DIR/key: {source: files/one.key, mode: "0600", sensitive: true}
`, "DIR", dir)
	doc = strings.Replace(doc, "files:\n  "+dir+"/common-{{ .host.name }}: {content: \"same\\n\"}\n", "", 1)
	tree := fstest.MapFS{
		"hosts/host.yaml":          {Data: []byte(doc)},
		"hosts/templates/one.tmpl": {Data: []byte("{{ .greeting }} {{ .host.name }} {{ .secretOf }}\n")},
		"hosts/files/one.key":      {Data: []byte("canary-key-of-one")},
		"hosts/site/index.html":    {Data: []byte(strings.Repeat("page ", 50_000))},
		"hosts/site/sub/a.txt":     {Data: []byte("a")},
	}
	p := c.sync(tree)
	for _, ch := range p.Changes {
		if ch.Source.File == "hosts/host.yaml" && ch.Source.Line < 3 {
			t.Errorf("%s comes from line %d", ch.Key, ch.Source.Line)
		}
	}
	for name, want := range map[string]string{"one.conf": "canary-group-of-one one canary-var-of-one\n", "key": "canary-key-of-one", "site/sub/a.txt": "a",
		"site/index.html": string(tree["hosts/site/index.html"].Data)} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %.60q, %v", name, got, err)
		}
	}
	if p := c.plan(tree); !p.Empty() || len(p.UnknownScopes()) > 0 {
		t.Fatalf("the plan after apply: %+v %+v", p.Changes, p.UnknownScopes())
	}
	c.mu.Lock()
	for _, canary := range []string{"canary-group-of-one", "canary-key-of-one", "canary-var-of-one", "canary-comment", "one.conf", "one.tmpl"} {
		if strings.Contains(c.sent["two"], canary) {
			t.Errorf("%s was sent to the other host", canary)
		}
	}
	if !strings.Contains(c.sent["one"], "canary-key-of-one") || strings.Contains(c.sent["one"], "index.html") {
		t.Error("one was not sent its own content alone")
	}
	c.mu.Unlock()

	c.ok(os.WriteFile(filepath.Join(dir, "site/sub/a.txt"), []byte("by hand"), 0o644))
	p = c.plan(tree)
	if len(p.Changes) != 1 || p.Changes[0].Reason != plan.ByDrift || p.Changes[0].Scope != "two" {
		t.Fatalf("drift is planned as %+v", p.Changes)
	}
	delete(tree, "hosts/site/sub/a.txt")
	tree["hosts/site/b.txt"] = &fstest.MapFile{Data: []byte("b")}
	c.sync(tree)
	if _, err := os.Stat(filepath.Join(dir, "site/sub")); !os.IsNotExist(err) {
		t.Errorf("what left the repository is still there: %v", err)
	}
	in := c.input(tree)
	in.Mode = plan.Destroy
	gone, err := c.session().Plan(t.Context(), in)
	c.ok(err)
	j := drivertest.NewJournal(c.inv, gone)
	c.ok(c.session().Apply(t.Context(), in, gone, j))
	if left := j.Inventory(); len(left) > 0 {
		t.Errorf("a destroy leaves %v", left)
	}
}

// TestCommandsAndHealthThroughAnAgent: hooks and checks of a rollout.
func TestCommandsAndHealthThroughAnAgent(t *testing.T) {
	c := newCallers(t, "one")
	s := c.session()
	var lines []string
	err := s.(driver.Commander).Command(t.Context(), "one", driver.Command{Args: []string{"/bin/sh", "-c", `echo "$GREETING"; pwd`}, Dir: "/usr",
		Env: map[string]secret.Value{"GREETING": secret.New("hello there")}}, func(line string) { lines = append(lines, line) })
	c.ok(err)
	if got := strings.Join(lines, "|"); got != "one: hello there|one: /usr" {
		t.Errorf("the command says %q", got)
	}
	err = s.(driver.Commander).Command(t.Context(), "one", driver.Command{Args: []string{"false"}}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("a command that fails gives %v", err)
	}
	err = s.(driver.HealthChecker).Health(t.Context(), c.input(nil), map[string]any{"systemd": "no-such-unit.service"})
	if err == nil {
		t.Error("a unit that is not there is healthy")
	}
}

// agentWorld is the kit's world, reached by an agent.
type agentWorld struct {
	*world
	c    *callers
	away bool
}

func (w *agentWorld) Environment() driver.Environment {
	env := driver.Environment{Name: "park", Connect: w.c.conn, HashKey: []byte("0123456789abcdef"), Agents: w.c.office}
	if w.away {
		env.Agents = nobody{}
	}
	return env
}

// MakeUnreadable takes the agent away.
func (w *agentWorld) MakeUnreadable(testing.TB) func() {
	w.away = true
	return func() { w.away = false }
}

type nobody struct{}

func (nobody) Ask(context.Context, string, driver.Ask, driver.Report) (*driver.Answer, error) {
	return nil, driver.ErrUnreachable
}

// TestConformanceThroughAnAgent runs the kit over the mailbox, HTTPS and an
// agent that runs the shell of this machine.
func TestConformanceThroughAnAgent(t *testing.T) {
	k := &kit{root: filepath.Join(t.TempDir(), "root")}
	h := k.harness()
	h.New = func(t testing.TB) drivertest.World {
		c := newCallers(t, hostName)
		c.ok(os.RemoveAll(k.root))
		c.ok(os.Mkdir(k.root, 0o755))
		return &agentWorld{world: &world{root: k.root}, c: c}
	}
	h.OptOut["TruncatedReadPlansNoDelete"] = "an agent's answer is put together whole, or it is an error"
	drivertest.Run(t, h)
}
