//go:build real

package killtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/drivers/all"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
	storesql "trueup.dev/trueup/internal/store/sql"
)

// pointEnv makes the test binary a server that kills itself: POINT:PASS.
const pointEnv = "TRUEUP_KILLTEST_POINT"

// points are the named places of a run, in the order in which it comes by.
var points = []string{"fetch", "prepare", "plan", "gates", "apply", "pending", "write", "done", "recorded", "verify", "health"}

// dyingServer is the engine in a process that ends itself at a point.
func dyingServer() int {
	name, pass, _ := strings.Cut(os.Getenv(pointEnv), ":")
	n, err := strconv.ParseInt(pass, 10, 64)
	if err == nil {
		err = dieAt(name, n)
	}
	fmt.Fprintln(os.Stderr, "the server that was to die:", err)
	return 1
}

func dieAt(point string, pass int64) error {
	ctx := context.Background()
	cfg, diags := config.LoadServer(os.Getenv("TRUEUP_KILLTEST_CONFIG"), all.Registry())
	if err := diags.Err(); err != nil {
		return err
	}
	cfg.DataDir = os.Getenv("TRUEUP_KILLTEST_DIR")
	st, err := storesql.Open(ctx, storesql.Options{Dir: cfg.DataDir})
	if err != nil {
		return err
	}
	var passes atomic.Int64
	e, err := engine.New(ctx, engine.Options{Store: st, Drivers: all.Registry(), Config: cfg, DataDir: cfg.DataDir, Lease: cfg.Limits.Lease,
		Resolvers: secret.Resolvers{"file": secret.File{Dir: cfg.Dir}},
		Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Fail: func(at string) error {
			if at == point && passes.Add(1) == pass {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // the signal is on its way
			}
			return nil
		}})
	if err != nil {
		return err
	}
	return errors.Join(errors.New("it did not"), e.Run(ctx))
}

// TestKilledAtEveryPoint kills the engine at each named point of a run that
// creates, changes and deletes, and lets the real server go on.
func TestKilledAtEveryPoint(t *testing.T) {
	w := newWorld(t, 2)
	s := newServer(t, w.dir, "one", w.config(w.dns.Addr, ""))
	s.start()
	s.ready()
	w.ledger = sqliteLedger(t, s.dir)
	w.settle(60 * time.Second)
	s.stop(20 * time.Second)
	for _, point := range points {
		pass := 1 + w.rng.IntN(2)
		t.Run(fmt.Sprintf("%s %d", point, pass), func(t *testing.T) { w.diesAt(t, s, point, pass) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs %v", len(w.ledger.runs()), w.states())
}

func (w *world) diesAt(t *testing.T, s *server, point string, pass int) {
	outer := w.t
	w.t, s.t = t, t
	defer func() { w.t, s.t = outer, outer }()
	for _, z := range w.zones {
		z.set("new", w.rng)
		z.set("withdrawn", w.rng)
		z.set("h0", w.rng)
		z.set("h1", w.rng)
		delete(z.sets, "h2")
	}
	w.commit(w.zones...)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", pointEnv, point, pass), "TRUEUP_KILLTEST_CONFIG="+s.config, "TRUEUP_KILLTEST_DIR="+s.dir)
	cmd.Dir = filepath.Dir(s.config)
	s.launch(cmd)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("the engine never came to %s for the %d. time", point, pass)
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the engine did not die at %s: %s", point, cmd.ProcessState)
	}
	w.journalled()
	if at := slices.Index(points, point); at >= slices.Index(points, "apply") && w.states()[store.RunActive] == 0 {
		t.Errorf("no run is recorded as running after a death at %s", point)
	}
	// What was created before the death is owned, also when nobody recorded
	// that it was created: it goes when it leaves Git, at once or later.
	for _, z := range w.zones {
		delete(z.sets, "withdrawn")
	}
	w.commit(w.zones...)
	s.start()
	s.ready()
	w.settle(30 * time.Second)
	w.converged()
	for _, z := range w.zones {
		delete(z.sets, "new")
		z.set("h2", w.rng)
	}
	w.commit(w.zones...)
	s.poll()
	w.settle(30 * time.Second)
	w.converged()
	s.stop(20 * time.Second)
}
