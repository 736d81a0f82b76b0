//go:build real

package tofu_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/tofu"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	tofuserver "trueup.dev/trueup/internal/servertest/tofu"
)

// canaryToken is the credential of the connection in all tests.
const canaryToken = "canary-token-5e1f0c"

// head is what every root module here begins with.
const head = "terraform {\n  required_providers {\n    things = { source = \"trueup/things\" }\n  }\n}\n"

// programs gives both programs.
func programs(t *testing.T) map[string]string {
	t.Helper()
	o, err := tofuserver.Program()
	if err != nil {
		t.Fatal(err)
	}
	h, err := tofuserver.Terraform()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"tofu": o, "terraform": h}
}

// both runs a test with OpenTofu and with Terraform.
func both(t *testing.T, run func(t *testing.T, r *rig)) {
	for name, program := range programs(t) {
		t.Run(name, func(t *testing.T) { run(t, newRig(t, program)) })
	}
}

// rig is one environment with its server, and one target in it.
type rig struct {
	t       testing.TB
	things  *tofuserver.Things
	connect *tofu.Connect
	dir     string
	tree    fstest.MapFS
	spec    *tofu.Spec
	values  map[string]plan.Output
	target  string
	mode    plan.Mode
	inv     driver.Inventory
	secrets map[secret.Ref]string
	journal *drivertest.Journal
}

func newRig(t testing.TB, program string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, things: tofuserver.NewThings(t, canaryToken), dir: dir, tree: fstest.MapFS{}, spec: &tofu.Spec{}, target: "infra/net",
		mode: plan.Apply, inv: driver.Inventory{}, secrets: map[secret.Ref]string{"env:TOKEN": canaryToken}}
	r.connect = &tofu.Connect{Program: program, Cache: filepath.Join(dir, "cache"), LockTimeout: 2 * time.Second,
		Env: map[string]string{"THINGS_URL": r.things.URL}, SecretEnv: map[string]secret.Ref{"THINGS_TOKEN": "env:TOKEN"},
		Mirrors: tofu.Mirrors{Filesystem: tofuserver.Mirror(t)}, Backend: tofu.Backend{LocalState: filepath.Join(dir, "state")}}
	return r
}

func (r *rig) environment() driver.Environment {
	return driver.Environment{Name: "lab", Connect: r.connect, Dir: r.dir, HashKey: []byte("0123456789abcdef0123456789abcdef"),
		Secret: func(_ context.Context, ref secret.Ref) (secret.Value, error) {
			v, ok := r.secrets[ref]
			if !ok {
				return secret.Value{}, fmt.Errorf("no secret %s", ref)
			}
			return secret.New(v), nil
		}}
}

// file writes a file of the repository.
func (r *rig) file(name, text string) {
	r.tree[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
}

// main writes the root module.
func (r *rig) main(text string) { r.file("net/main.tf", head+text) }

func (r *rig) input() driver.Input {
	return driver.Input{Target: r.target, Tree: r.tree, Path: "net", Spec: r.spec, Scope: &tofu.Scope{}, Inventory: r.inv,
		Mode: r.mode, Now: time.Unix(1_800_000_000, 0), Values: r.values}
}

func (r *rig) open() driver.Session {
	r.t.Helper()
	s, err := tofu.New().Open(context.Background(), r.environment(), driver.Write)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) tryPlan() (*plan.Plan, error) {
	return r.open().Plan(context.Background(), r.input())
}

func (r *rig) plan() *plan.Plan {
	r.t.Helper()
	p, err := r.tryPlan()
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// applyWith applies a plan and keeps what the journal says.
func (r *rig) applyWith(ctx context.Context, p *plan.Plan) error {
	r.t.Helper()
	p.Mode, p.Target = r.mode, r.target
	r.journal = drivertest.NewJournal(r.inv, p)
	err := r.open().Apply(ctx, r.input(), p, r.journal)
	r.inv = r.journal.Inventory()
	return err
}

// applyIn applies in a session that is open already.
func (r *rig) applyIn(s driver.Session, in driver.Input, p *plan.Plan) error {
	p.Mode, p.Target = in.Mode, in.Target
	j := drivertest.NewJournal(in.Inventory, p)
	if err := s.Apply(context.Background(), in, p, j); err != nil {
		return err
	}
	for _, res := range j.Results() {
		if res.Outcome != plan.Applied {
			return fmt.Errorf("%s: %s: %s", res.Key, res.Outcome, res.Error)
		}
	}
	return nil
}

// apply plans and applies, and reads back that nothing is left.
func (r *rig) apply() *plan.Plan {
	r.t.Helper()
	p := r.plan()
	if err := r.applyWith(context.Background(), p); err != nil {
		r.t.Fatalf("apply: %v\n%s", err, r.journal.Log())
	}
	for _, res := range r.journal.Results() {
		if res.Outcome != plan.Applied {
			r.t.Fatalf("%s: %s: %s", res.Key, res.Outcome, res.Error)
		}
	}
	if after := r.plan(); !after.Empty() {
		r.t.Fatalf("after the apply there is still something to do: %s", actions(after))
	}
	return p
}

// state works on the target's state.
func (r *rig) state(op driver.StateOp) (driver.StateResult, error) {
	return r.open().(driver.Stater).State(context.Background(), r.input(), op)
}

// actions writes a plan as "action address" words.
func actions(p *plan.Plan) string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, string(c.Action)+"("+string(c.Reason)+") "+string(c.Address))
	}
	return strings.Join(out, ", ")
}

func find(t testing.TB, p *plan.Plan, address string) plan.Change {
	t.Helper()
	for _, c := range p.Changes {
		if string(c.Address) == address {
			return c
		}
	}
	t.Fatalf("the plan has no change of %s: %s", address, actions(p))
	return plan.Change{}
}

func thing(label, name, value string) string {
	return fmt.Sprintf("resource \"things_thing\" %q {\n  name  = %q\n  value = %q\n}\n", label, name, value)
}

// values gives what is on the server.
func (r *rig) there() map[string]string {
	out := map[string]string{}
	for name, o := range r.things.All() {
		out[name] = o.Value
	}
	return out
}

// forEach runs a function for numbers at the same time.
func forEach(n int, run func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() { defer wg.Done(); run(i) }()
	}
	wg.Wait()
}
