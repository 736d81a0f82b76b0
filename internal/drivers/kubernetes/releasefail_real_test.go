//go:build real

package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// outcomes gives the outcome of every result by address.
func (s *ship) outcomes() string {
	var out []string
	for _, r := range s.journal.Results() {
		out = append(out, strings.ReplaceAll(string(r.Address), s.namespace+"/", "")+" "+string(r.Outcome))
	}
	return strings.Join(out, ", ")
}

// TestReleaseFails: what failed is told with the pods' own reasons, what may
// have been written stays owned, and the next run goes on from there.
func TestReleaseFails(t *testing.T) {
	s := newShip(t, map[string]string{"one": plainConfigMap("one", "v1"), "hook": hookJob("migrate", "pre-install", `kubetest/exit: "3"`)})
	s.fatal(s.apply(t.Context(), s.plan()))
	if got := s.outcomes(); got != "ConfigMap/one unknown, Release.helm.sh/app unknown" {
		t.Errorf("%s", got)
	}
	for _, r := range s.journal.Results() {
		if strings.HasPrefix(string(r.Address), "Release") {
			s.has(r.Error, "pre-install", "container main ended with 3")
		} else {
			s.has(r.Error, "its release could not be brought about")
		}
	}
	if s.history() != "1 failed" || s.owned() != "ConfigMap/one? Release.helm.sh/app?" {
		t.Errorf("history %s, owned %s", s.history(), s.owned())
	}
	s.files["templates/hook.yaml"] = hookJob("migrate", "pre-install", `kubetest/exit: "0"`)
	p := s.plan()
	s.has(s.change(p, theRelease).Note, "it becomes revision 2: revision 1 is failed")
	s.sync()

	s.helmSpec(func(h *render.HelmSpec) { h.Release.RollbackOnFailure, h.Release.Timeout = true, 2*time.Second })
	s.files["templates/one.yaml"] = plainConfigMap("one", "v2")
	s.files["templates/two.yaml"] = plainConfigMap("two", "v2")
	s.files["templates/bad.yaml"] = hookJob("bad", "post-upgrade", `kubetest/exit: "4"`)
	s.fatal(s.apply(t.Context(), s.plan()))
	if got := s.outcomes(); got != "ConfigMap/one failed, ConfigMap/two failed, Release.helm.sh/app failed" {
		t.Errorf("%s", got)
	}
	if s.get("cm/one", ".data.value") != "v1" || s.get("cm/two", ".metadata.name") != "" || s.history() != "1 superseded, 2 superseded, 3 failed, 4 deployed" || s.owned() != "ConfigMap/one Release.helm.sh/app" {
		t.Errorf("after the rollback: %s, history %s, owned %s", s.get("cm/one", ".data.value"), s.history(), s.owned())
	}
	s.files["templates/one.yaml"] = plainConfigMap("one", "v1")
	delete(s.files, "templates/two.yaml")
	delete(s.files, "templates/bad.yaml")
	s.helmSpec(func(h *render.HelmSpec) { h.Release.RollbackOnFailure = false })
	s.sync()
}

// slowShip has a hook that never ends.
func slowShip(t *testing.T) *ship {
	return newShip(t, map[string]string{"one": plainConfigMap("one", "v1"), "two": plainConfigMap("two", "v1"), "slow": hookJob("slow", "pre-install,pre-upgrade", `kubetest/fail: Stuck`)})
}

// running waits until the hook runs.
func (s *ship) running() {
	s.t.Helper()
	for range 600 {
		if out, err := cluster.Run("-n", s.namespace, "get", "pods", "-o", "name"); err == nil && out != "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("the hook does not run")
}

// converges expects that the next run, with a hook that ends, brings about what
// is wanted.
func (s *ship) converges(history string) {
	s.t.Helper()
	s.files["templates/slow.yaml"] = hookJob("slow", "pre-install,pre-upgrade", `kubetest/exit: "0"`)
	s.sync()
	if s.get("cm/one", ".data.value") != "v2" || s.history() != history || strings.Contains(s.owned(), "?") {
		s.t.Errorf("value %s, history %s, owned %s", s.get("cm/one", ".data.value"), s.history(), s.owned())
	}
}

// TestReleaseIsCancelled within StopGrace, and nothing goes on behind it.
func TestReleaseIsCancelled(t *testing.T) {
	s := slowShip(t)
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	p := s.plan()
	go func() { s.running(); cancelled = time.Now(); cancel() }()
	err := s.apply(ctx, p)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if took, grace := time.Since(cancelled), kubernetes.New().Info().StopGrace; took > grace {
		t.Errorf("it took %s", took)
	}
	if got := s.outcomes(); got != "ConfigMap/one unknown, ConfigMap/two unknown, Release.helm.sh/app unknown" {
		t.Errorf("%s", got)
	}
	time.Sleep(time.Second)
	if s.get("cm/one", ".metadata.name") != "" {
		t.Error("it went on in the background")
	}
	s.files["templates/one.yaml"] = plainConfigMap("one", "v2")
	s.converges("1 superseded, 2 deployed")
}

// TestServerGoesAwayInTheMiddle of an upgrade, and comes back.
func TestServerGoesAwayInTheMiddle(t *testing.T) {
	s := slowShip(t)
	delete(s.files, "templates/slow.yaml")
	s.sync()
	s.files["templates/one.yaml"] = plainConfigMap("one", "v2")
	s.files["templates/slow.yaml"] = hookJob("slow", "pre-upgrade", `kubetest/fail: Stuck`)
	s.helmSpec(func(h *render.HelmSpec) { h.Release.Timeout = 5 * time.Second })
	p := s.plan()
	done := make(chan error, 1)
	go func() { done <- s.apply(t.Context(), p) }()
	s.running()
	cluster.Stop()
	s.fatal(<-done)
	if got := s.outcomes(); !strings.Contains(got, "Release.helm.sh/app unknown") || strings.Contains(got, "applied") {
		t.Errorf("%s", got)
	}
	if _, err := s.tryPlan(); err == nil {
		t.Error("a plan without a server")
	}
	s.fatal(cluster.Again())
	s.settleServer()
	p = s.plan()
	s.has(s.change(p, theRelease).Note, "revision 2 was left pending-upgrade: it is marked as failed, then upgraded")
	s.converges("1 superseded, 2 failed, 3 deployed")
}

// settleServer waits until the server answers for the kinds it has.
func (s *ship) settleServer() {
	s.t.Helper()
	for range 600 {
		if _, err := s.tryPlan(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestKilledRelease: kill -9 in the middle of an install and of an upgrade.
func TestKilledRelease(t *testing.T) {
	for name, history := range map[string]string{"install": "1 superseded, 2 deployed", "upgrade": "1 superseded, 2 failed, 3 deployed"} {
		t.Run(name, func(t *testing.T) {
			s := slowShip(t)
			if name == "upgrade" {
				slow := s.files["templates/slow.yaml"]
				delete(s.files, "templates/slow.yaml")
				s.sync()
				s.files["templates/slow.yaml"] = slow
			}
			s.files["templates/one.yaml"] = plainConfigMap("one", "v2")
			p := s.plan()
			s.killed(p)
			for _, c := range p.Changes { // as the journal has it
				if c.Action.Writes() || c.Action == plan.Adopt {
					o := s.inventory[c.Key]
					o.Key, o.Pending = c.Key, true
					s.inventory[c.Key] = o
				}
			}
			if got := s.history(); !strings.Contains(got, "pending-"+name) {
				t.Fatalf("history %s", got)
			}
			p = s.plan()
			s.has(s.change(p, theRelease).Note, "was left pending-"+name)
			s.converges(history)
		})
	}
}

// killed applies in a process of its own and kills it while the hook runs.
func (s *ship) killed(p *plan.Plan) {
	s.t.Helper()
	files, err := json.Marshal(s.files)
	s.fatal(err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "APPLY_RELEASE="+s.namespace, "APPLY_KUBECONFIG="+cluster.Kubeconfig, "APPLY_FILES="+string(files))
	cmd.Stderr = os.Stderr
	s.fatal(cmd.Start())
	s.running()
	s.fatal(cmd.Process.Kill())
	_ = cmd.Wait()
}

// init makes a test binary that is told so apply a release and do nothing else.
func init() {
	ns := os.Getenv("APPLY_RELEASE")
	if ns == "" {
		return
	}
	if err := applyRelease(ns); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func applyRelease(ns string) error {
	var files map[string]string
	if err := json.Unmarshal([]byte(os.Getenv("APPLY_FILES")), &files); err != nil {
		return err
	}
	kubeconfig, err := os.ReadFile(os.Getenv("APPLY_KUBECONFIG"))
	if err != nil {
		return err
	}
	tree := fstest.MapFS{}
	for name, text := range files {
		tree["app/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	ctx := context.Background()
	s, err := kubernetes.New().Open(ctx, environment(kubeconfig, nil), driver.Write)
	if err != nil {
		return err
	}
	in := driver.Input{Target: "t/app", Tree: tree, Path: "app", Spec: releaseSpec(ns, nil), Scope: &kubernetes.Scope{}, Mode: plan.Apply, Now: time.Now(),
		Inventory: driver.Inventory{}}
	for _, name := range []string{"ConfigMap/" + ns + "/one", "ConfigMap/" + ns + "/two", "Release.helm.sh/" + ns + "/app"} {
		k := plan.Key{Address: plan.Address(name)}
		in.Inventory[k] = driver.Owned{Key: k}
	}
	p, err := s.Plan(ctx, in)
	if err != nil {
		return err
	}
	return s.Apply(ctx, in, p, drivertest.NewJournal(nil, p))
}

// TestAnotherClientAtWork is left alone for a while.
func TestAnotherClientAtWork(t *testing.T) {
	s := slowShip(t)
	delete(s.files, "templates/slow.yaml")
	s.sync()
	s.files["templates/slow.yaml"] = hookJob("slow", "pre-upgrade", `kubetest/fail: Stuck`)
	dir := s.dir()
	other := make(chan struct{})
	go func() { _, _ = s.helm.Try("-n", s.namespace, "upgrade", "app", dir, "--timeout", "8s"); close(other) }()
	s.running()
	p := s.plan()
	s.has(s.change(p, theRelease).Conflict, "another client of Helm seems to be at work on it: revision 2 is pending-upgrade")
	s.now = time.Now().Add(time.Hour)
	p = s.plan()
	if c := s.change(p, theRelease); c.Conflict != "" {
		t.Errorf("after an hour: %s", c.Conflict)
	}
	s.has(s.change(p, theRelease).Note, "revision 2 was left pending-upgrade")
	<-other
}
