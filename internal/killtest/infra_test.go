//go:build real

package killtest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/gitserver"
	tofuserver "trueup.dev/trueup/internal/servertest/tofu"
	"trueup.dev/trueup/internal/store"
)

const infraYAML = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms, lease: 3s}
repositories:
  infra: {url: %[1]s/infra, branch: main, poll: 1s}
policies:
  open: {driftInterval: 1h, guard: {update: 100, replace: 100, delete: 100}}
environments:
  cloud:
    driver: tofu
    policy: open
    connect:
      program: %[2]s
      cache: %[1]s/cache
      env: {THINGS_URL: %[3]q}
      secretEnv: {THINGS_TOKEN: "file:token"}
      mirrors: {filesystem: %[4]s}
      backend: {localState: %[1]s/state}
    allow: [{repository: infra}]
`

// infra is a server between a repository and a cloud of things.
type infra struct {
	*server
	things *tofuserver.Things
	repo   *gitserver.Repo
	ledger *ledger
}

// newInfra commits a root with things that are made one after the other.
func newInfra(t *testing.T, names ...string) *infra {
	program, err := tofuserver.Program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	things := tofuserver.NewThings(t, "token-of-the-things")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(things.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &infra{things: things, repo: gitserver.NewRepoAt(t, filepath.Join(dir, "infra"))}
	x.root(names...)
	x.server = newServer(t, dir, "one", fmt.Sprintf(infraYAML, dir, program, things.URL, tofuserver.Mirror(t)))
	return x
}

// root commits the root.
func (x *infra) root(names ...string) {
	text, before := "terraform {\n  required_providers {\n    things = { source = \"trueup/things\" }\n  }\n}\n", ""
	for _, n := range names {
		text += fmt.Sprintf("resource \"things_thing\" %q {\n  name  = %q\n  value = \"v\"\n%s}\n", n, n, before)
		before = fmt.Sprintf("  depends_on = [things_thing.%s]\n", n)
	}
	x.repo.Write("trueup.yaml", "version: 1\ntargets:\n  - {name: cloud, environment: cloud, path: cloud}\n", "cloud/main.tf", text).Commit("change")
}

// begin starts the server and waits until it applies.
func (x *infra) begin(stalled string) {
	x.t.Helper()
	x.start()
	x.ready()
	x.ledger = sqliteLedger(x.t, x.dir)
	eventually(x.t, time.Minute, stalled+" is being made", func() bool { return x.things.Writes(stalled) > 0 })
}

// lines collects what a command prints while it runs.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range parts {
		if !strings.Contains(l.text.String(), p) {
			return false
		}
	}
	return true
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// follow runs `trueup logs -f` for as long as the test.
func (x *infra) follow(target string) *lines {
	x.t.Helper()
	cmd := x.command("logs", "-f", target)
	out, err := cmd.StdoutPipe()
	if err != nil {
		x.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	l, read := &lines{}, make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.mu.Lock()
			l.text.WriteString(s.Text() + "\n")
			l.mu.Unlock()
		}
	}()
	x.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // it was killed
	})
	return l
}

// TestLogsFollowAnInfrastructureRun: while OpenTofu applies, `trueup logs -f`
// tells of each resource as it comes, long before the run ends.
func TestLogsFollowAnInfrastructureRun(t *testing.T) {
	x := newInfra(t, "first", "second", "third")
	open := x.things.Stall("third")
	x.begin("third")
	log := x.follow("infra/cloud")
	eventually(t, time.Minute, "the log tells of what is made", func() bool {
		return log.has("things_thing.first", "things_thing.second", "things_thing.third")
	})
	if r := x.ledger.runs(); r[len(r)-1].State != store.RunActive || len(x.things.All()) != 2 {
		t.Fatalf("the run is %s, and there is %v", r[len(r)-1].State, x.things.All())
	}
	before := log.String()
	open()
	eventually(t, time.Minute, "the run succeeds", func() bool { return x.ledger.runs()[0].State == store.RunSucceeded })
	eventually(t, time.Minute, "the log goes on", func() bool { return len(log.String()) > len(before) })
	t.Logf("while the third was made:\n%s", before)
}

// TestServerKilledInTheMiddleOfAnInfrastructureRun: what the server had begun
// when it was killed is neither lost nor made twice.
func TestServerKilledInTheMiddleOfAnInfrastructureRun(t *testing.T) {
	x := newInfra(t, "first", "second", "third")
	open := x.things.Stall("second")
	x.begin("second")
	first := x.ledger.runs()
	if len(first) != 1 || first[0].State != store.RunActive {
		t.Fatalf("the runs are %+v", first)
	}
	x.kill()
	x.start()
	x.ready()
	open()
	eventually(t, 2*time.Minute, "the next run converges", func() bool {
		runs := x.ledger.runs()
		targets := x.ledger.targets()
		last := runs[len(runs)-1].State
		return len(runs) > 1 && (last == store.RunSucceeded || last == store.RunNoChange) && len(targets) == 1 && targets[0].Status.Phase == store.Synced
	})
	runs := x.ledger.runs()
	if runs[0].State != store.RunAbandoned {
		t.Errorf("the run that died is recorded as %s: %s", runs[0].State, runs[0].Error)
	}
	all := x.things.All()
	for _, name := range []string{"first", "second", "third"} {
		if all[name].Value != "v" || x.things.Writes(name) != 1 {
			t.Errorf("%s is %+v after %d writes", name, all[name], x.things.Writes(name))
		}
	}
	out, err := x.cli("state", "list", "infra/cloud")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"first", "second", "third"} {
		if !strings.Contains(out, "things_thing."+name) {
			t.Errorf("%s is not in the state:\n%s", name, out)
		}
	}
	// The state is whole: what leaves Git goes, with nothing left behind.
	x.root("first")
	eventually(t, time.Minute, "what left Git is gone", func() bool { return len(x.things.All()) == 1 })
	for _, r := range runs {
		t.Logf("run %s: %s %s", r.ID, r.State, r.Error)
	}
}
