package drivertest_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

// broken is the example with one mistake.
type broken struct {
	pairs
	info    func(*driver.Info)
	prepare func(*driver.Prepared)
	plan    func(s *session, in *driver.Input) func(*plan.Plan)
	apply   func(ctx context.Context, s *session, in driver.Input, p *plan.Plan, r driver.Report) error
	open    func(file string) // before a session is used
}

func (b broken) Info() driver.Info {
	i := b.pairs.Info()
	if b.info != nil {
		b.info(&i)
	}
	return i
}

func (b broken) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	p, err := b.pairs.Prepare(ctx, in)
	if b.prepare != nil && p != nil {
		b.prepare(p)
	}
	return p, err
}

func (b broken) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	if b.open != nil {
		b.open(env.Connect.(*Connect).File)
	}
	s, err := b.pairs.Open(ctx, env, purpose)
	if err != nil {
		return nil, err
	}
	return &brokenSession{s.(*session), b}, nil
}

type brokenSession struct {
	*session
	b broken
}

func (s *brokenSession) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	after := func(*plan.Plan) {}
	if s.b.plan != nil {
		after = s.b.plan(s.session, &in)
	}
	p, err := s.session.Plan(ctx, in)
	if p != nil && after != nil {
		after(p)
	}
	return p, err
}

func (s *brokenSession) Apply(ctx context.Context, in driver.Input, p *plan.Plan, r driver.Report) error {
	if s.b.apply != nil {
		return s.b.apply(ctx, s.session, in, p, r)
	}
	return s.session.Apply(ctx, in, p, r)
}

type deaf struct{ driver.Report }

func (deaf) Pending(context.Context, []plan.Key) error { return nil }

func onPlan(f func(*plan.Plan)) func(*session, *driver.Input) func(*plan.Plan) {
	return func(*session, *driver.Input) func(*plan.Plan) { return f }
}

func onInput(f func(*session, *driver.Input)) func(*session, *driver.Input) func(*plan.Plan) {
	return func(s *session, in *driver.Input) func(*plan.Plan) { f(s, in); return nil }
}

const testCanary = "hunter2-canary"

// mistakes are drivers that the kit must refuse, by the test that must fail.
func mistakes() map[string]broken {
	return map[string]broken{
		"Info":                         {info: func(i *driver.Info) { i.Version = "" }},
		"PrepareReadsTheSnapshotAlone": {prepare: func(p *driver.Prepared) { p.Desired = nil }},
		"BadInputNamesItsPlace": {prepare: func(p *driver.Prepared) {
			for i := range p.Diagnostics {
				p.Diagnostics[i].Line = 0
			}
		}},
		"PlanWritesNothing": {plan: onInput(func(s *session, _ *driver.Input) {
			_ = s.edit(func(all map[string]string) { all["mark"] = "planned" })
		})},
		"PlanIsDeterministic": {plan: onPlan(func(p *plan.Plan) { p.Changes[0].Note = rand.Text() })},
		"PlanAfterApplyIsEmpty": {apply: func(ctx context.Context, _ *session, _ driver.Input, p *plan.Plan, r driver.Report) error {
			var out []plan.Result
			for _, c := range p.Changes {
				out = append(out, plan.Result{Key: c.Key, Action: c.Action, Outcome: plan.Applied})
			}
			return r.Done(ctx, out)
		}},
		"PlanThroughJSONInAFreshSession": {apply: func(ctx context.Context, s *session, in driver.Input, p *plan.Plan, r driver.Report) error {
			p.Artefact = nil
			return s.Apply(ctx, in, &plan.Plan{Target: p.Target, Mode: p.Mode}, r)
		}},
		"DriftIsFoundAndCorrected": {plan: onPlan(func(p *plan.Plan) {
			for i := range p.Changes {
				p.Changes[i].Reason = plan.BySpec
			}
		})},
		"StaleBaseIsRefused": {apply: func(ctx context.Context, s *session, in driver.Input, _ *plan.Plan, r driver.Report) error {
			p, err := s.Plan(ctx, in)
			if err != nil {
				return err
			}
			return s.Apply(ctx, in, p, r)
		}},
		"EqualObjectIsAdopted": {plan: onPlan(func(p *plan.Plan) { p.Changes = nil })},
		"UnownedConflictIsHeld": {plan: onPlan(func(p *plan.Plan) {
			for i := range p.Changes {
				p.Changes[i].Conflict = ""
			}
		})},
		"PruneSparesNeighbours": {plan: onInput(func(s *session, in *driver.Input) {
			all, _ := load(s.file)
			for name, value := range all {
				it := toItem(name, value)
				in.Inventory[it.Key] = driver.Owned{Key: it.Key, Hash: it.Hash}
			}
		})},
		"AddOnlyNeverDeletes": {plan: onInput(func(_ *session, in *driver.Input) { in.Mode = plan.Apply })},
		"RenameIsARename":     {plan: onInput(func(_ *session, in *driver.Input) { in.Previously = nil })},
		"DestroyEmptiesTheInventory": {plan: onPlan(func(p *plan.Plan) {
			if p.Mode == plan.Destroy {
				p.Changes = p.Changes[:1]
			}
		})},
		"EmptyDesiredStateRemovesNothing": {prepare: func(p *driver.Prepared) { p.Diagnostics = nil }},
		"ImpactMatchesWhatHappened": {plan: onPlan(func(p *plan.Plan) {
			for i := range p.Changes {
				p.Changes[i].Impact = nil
			}
		})},
		"KillBeforeWrite": {apply: func(ctx context.Context, s *session, in driver.Input, p *plan.Plan, r driver.Report) error {
			for _, c := range p.Changes {
				_ = s.edit(func(all map[string]string) { all[string(c.Address)] = "early" })
			}
			return r.Pending(ctx, nil)
		}},
		"KillBetweenWriteAndReport": {apply: func(ctx context.Context, s *session, in driver.Input, p *plan.Plan, r driver.Report) error {
			return s.Apply(ctx, in, p, deaf{r})
		}},
		"CancelIsPrompt": {info: func(i *driver.Info) { i.StopGrace = time.Millisecond },
			apply: func(ctx context.Context, s *session, in driver.Input, p *plan.Plan, r driver.Report) error {
				err := s.Apply(context.WithoutCancel(ctx), in, p, r)
				time.Sleep(2 * time.Millisecond)
				return err
			}},
		"UnreadableTouchesNothing": {open: func(file string) {
			if _, err := os.Stat(file); err != nil {
				_ = os.WriteFile(file, []byte("# end\n"), 0o600)
			}
		}},
		"TruncatedReadPlansNoDelete": {open: func(file string) {
			text, err := os.ReadFile(file)
			if err == nil && !strings.HasSuffix(string(text), "# end\n") {
				_ = os.WriteFile(file, append(text, "\n# end\n"...), 0o600)
			}
		}},
		"SecretsDoNotShow": {plan: onInput(func(_ *session, in *driver.Input) { in.Log.Info("connecting", "password", testCanary) })},
	}
}

// TestTheKitFindsMistakes runs the kit against each broken driver, in a
// process of its own, and expects the right test to fail.
func TestTheKitFindsMistakes(t *testing.T) {
	if name := os.Getenv("DRIVERTEST_BROKEN"); name != "" {
		h := pairsHarness(mistakes()[name])
		if name == "SecretsDoNotShow" {
			h.Canaries = []string{testCanary}
			delete(h.OptOut, name)
		}
		drivertest.Run(t, h)
		return
	}
	for name := range mistakes() {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheKitFindsMistakes$/^"+name+"$")
			cmd.Env = append(os.Environ(), "DRIVERTEST_BROKEN="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestTheKitFindsMistakes/"+name) {
				t.Errorf("a driver with this mistake passes: %v\n%s", err, out)
			}
		})
	}
}

// TestJournalRestores: a write that certainly did not happen leaves the
// inventory as it was.
func TestJournalRestores(t *testing.T) {
	k, n := plan.Key{Address: "old"}, plan.Key{Address: "new"}
	j := drivertest.NewJournal(driver.Inventory{k: {Key: k, Hash: "h"}}, &plan.Plan{})
	ctx := t.Context()
	if err := j.Pending(ctx, []plan.Key{k, n}); err != nil {
		t.Fatal(err)
	}
	if inv := j.Inventory(); !inv[k].Pending || !inv[n].Pending || inv[k].Hash != "h" {
		t.Fatalf("%v", inv)
	}
	if err := j.Done(ctx, []plan.Result{{Key: k, Action: plan.Update, Outcome: plan.Failed}, {Key: n, Action: plan.Create, Outcome: plan.Skipped}}); err != nil {
		t.Fatal(err)
	}
	if inv := j.Inventory(); len(inv) != 1 || inv[k].Pending {
		t.Fatalf("%v", inv)
	}
}
