package tofu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Apply carries out exactly the saved plan.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	if s.purpose == driver.Read {
		return driver.Permanent(errors.New("the session was opened to read"))
	}
	if p.Mode != "" && in.Mode != "" && p.Mode != in.Mode {
		return fmt.Errorf("the plan is for mode %s, the run for %s: %w", p.Mode, in.Mode, driver.ErrStale)
	}
	if p.Target != "" && p.Target != in.Target {
		return fmt.Errorf("the plan is of target %s: %w", p.Target, driver.ErrStale)
	}
	if len(p.Changes) == 0 {
		return nil
	}
	w, err := s.open(ctx, in)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.initialise(ctx, false); err != nil {
		return w.scrub.err(err)
	}
	if len(p.Scopes) != 1 || p.Scopes[0].Realm != w.realm() {
		return fmt.Errorf("the plan is for another state: %w", driver.ErrStale)
	}
	if err := w.conflicts(p); err != nil {
		return err
	}
	a := &application{work: w, plan: p, report: report, ctx: ctx, done: map[plan.Address]bool{}, begun: map[plan.Address]bool{}, erred: map[plan.Address]bool{}}
	if len(p.Artefact) == 0 {
		return a.withoutWriting(ctx)
	}
	// Whether the state moved since, the program itself says; an encrypted plan
	// file tells nothing here.
	a.before, _ = planMeta(p.Artefact)
	return w.scrub.err(a.run(ctx))
}

// conflicts refuses a plan whose conflicts nobody lifted.
func (w *work) conflicts(p *plan.Plan) error {
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Conflict != "" {
			return driver.Permanent(fmt.Errorf("%s: %s", c.Address, c.Conflict))
		}
	}
	return nil
}

// application is one apply under way.
type application struct {
	*work
	plan   *plan.Plan
	report driver.Report
	ctx    context.Context
	before stateMeta

	mu    sync.Mutex
	done  map[plan.Address]bool
	begun map[plan.Address]bool
	erred map[plan.Address]bool
	first *plan.Result // kept back until the state's lineage is known
	diags diagnostics
	// proper tells that the program ended by itself.
	proper bool
}

// withoutWriting takes over and gives up what the state says already.
func (a *application) withoutWriting(ctx context.Context) error {
	var results []plan.Result
	for i := range a.plan.Changes {
		c := &a.plan.Changes[i]
		if c.Action.Writes() {
			return fmt.Errorf("%s has no saved plan to apply: %w", c.Address, driver.ErrStale)
		}
		results = append(results, a.result(c, plan.Applied, ""))
	}
	meta, err := a.pullMeta(ctx)
	if err != nil {
		return a.scrub.err(err)
	}
	for i := range results {
		results[i].Hash = lineageHash(meta)
	}
	return a.report.Done(ctx, results)
}

func lineageHash(m stateMeta) string {
	if m.Lineage == "" {
		return ""
	}
	return "lineage:" + m.Lineage
}

func (a *application) result(c *plan.Change, outcome plan.Outcome, text string) plan.Result {
	r := plan.Result{Key: c.Key, Kind: c.Kind, Action: c.Action, From: c.From, Outcome: outcome, Error: a.scrub.text(text),
		Source: c.Source, Hash: lineageHash(a.before)}
	if c.Kind != kindOutput {
		r.Class = class
	}
	if outcome == plan.Applied && len(c.After) > 0 {
		if doc, err := plan.Redact(c.After, c.Sensitive); err == nil {
			r.LastApplied = doc
		}
	}
	return r
}

// run applies the saved plan and follows it resource by resource.
func (a *application) run(ctx context.Context) error {
	keys := make([]plan.Key, 0, len(a.plan.Changes))
	for i := range a.plan.Changes {
		c := &a.plan.Changes[i]
		keys = append(keys, c.Key)
		if c.From != "" && c.From != c.Address {
			keys = append(keys, plan.Key{Scope: c.Scope, Address: c.From})
		}
	}
	if err := a.write(planFile, a.plan.Artefact); err != nil {
		return err
	}
	if err := a.s.owner.give(a.path(planFile)); err != nil {
		return err
	}
	if err := a.report.Pending(ctx, keys); err != nil {
		return err
	}
	args := []string{"apply", "-input=false", "-no-color", "-json", "-auto-approve", "-lock-timeout=" + a.s.c.lockTimeout().String()}
	if a.s.c.Parallelism > 0 {
		args = append(args, "-parallelism="+itoa(a.s.c.Parallelism))
	}
	// An error of the journal stops the program as a cancel does: it finishes
	// what it is at and writes its state.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	_, err := a.start(ctx, invocation{args: append(args, a.path(planFile)), gentle: true, line: func(text []byte) error {
		if err := a.line(text); err != nil {
			stop(err)
			return err
		}
		return nil
	}})
	if rerr := a.rescue(); rerr != nil {
		err = errors.Join(rerr, err)
	}
	err = a.finish(ctx, err)
	if a.proper {
		_ = os.Remove(a.path(applyLog))
	}
	return err
}

// finish accounts for what the program did not report on.
func (a *application) finish(ctx context.Context, err error) error {
	var exit *exitError
	ended := err == nil || errors.As(err, &exit)
	a.proper = err == nil || wentOut(err)
	if exit != nil {
		_ = a.diags.with(err, a.work)
	}
	explained := err
	if err != nil {
		explained = a.explain("apply", err)
	}
	if errors.Is(explained, driver.ErrStale) || strings.Contains(fmt.Sprint(explained), "the state is locked by") {
		return errors.Join(explained, a.nothingDone(ctx))
	}
	meta := a.before
	if first := a.kept(); first != nil || meta.Lineage == "" {
		if m, merr := a.pullMeta(context.WithoutCancel(ctx)); merr == nil {
			meta = m
		}
	}
	a.before = meta
	var rest []plan.Result
	if first := a.kept(); first != nil {
		first.Hash = lineageHash(meta)
		rest = append(rest, *first)
	}
	for i := range a.plan.Changes {
		c := &a.plan.Changes[i]
		if a.done[c.Address] {
			continue
		}
		rest = append(rest, a.outcome(c, err, ended))
	}
	if !ended {
		// The journal has ended this apply, or it was cancelled: what was not
		// reported stays pending and the next run reads what became of it.
		if context.Cause(a.ctx) == nil {
			return explained
		}
	}
	if len(rest) > 0 {
		if derr := a.report.Done(context.WithoutCancel(ctx), rest); derr != nil {
			return errors.Join(derr, explained)
		}
	}
	if err == nil {
		return nil
	}
	if exit != nil && len(a.done) > 0 && len(a.failedOnes(rest)) > 0 && context.Cause(ctx) == nil {
		return nil // a part was done: the results say which
	}
	return explained
}

func (a *application) failedOnes(rest []plan.Result) []plan.Result {
	var out []plan.Result
	for _, r := range rest {
		if r.Outcome != plan.Applied {
			out = append(out, r)
		}
	}
	return out
}

func (a *application) kept() *plan.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// outcome is what became of a change that was not reported as done.
func (a *application) outcome(c *plan.Change, err error, ended bool) plan.Result {
	switch {
	case err == nil: // moves, adoptions, outputs and the like have no progress
		return a.result(c, plan.Applied, "")
	case c.Kind == kindOutput || !c.Action.Writes() || c.Action == plan.Rename:
		return a.result(c, plan.Unknown, "the apply ended early")
	case a.erred[c.Address] && ended: // what came of it the provider has said, and it is in the state
		return a.result(c, plan.Failed, a.whyNot(c, err))
	case ended && !a.begun[c.Address] && wentOut(err):
		return a.result(c, plan.Skipped, "not begun: "+a.whyNot(c, err))
	case ended:
		return a.result(c, plan.Unknown, a.whyNot(c, err))
	}
	return a.result(c, plan.Unknown, "the apply was stopped: "+fmt.Sprint(err))
}

// wentOut tells that the program ended by itself: all that it began it said.
func wentOut(err error) bool {
	var exit *exitError
	return errors.As(err, &exit) && exit.status > 0
}

// whyNot finds what the program said about a resource.
func (a *application) whyNot(c *plan.Change, err error) string {
	for _, d := range a.diags.found {
		if d.Severity == "error" && d.Address == string(c.Address) {
			return a.say(d)
		}
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return firstLine(exit.stderr)
	}
	return err.Error()
}

// nothingDone takes the pending marks off again: the program did not begin.
func (a *application) nothingDone(ctx context.Context) error {
	var results []plan.Result
	for i := range a.plan.Changes {
		results = append(results, a.result(&a.plan.Changes[i], plan.Skipped, "not begun"))
	}
	return a.report.Done(context.WithoutCancel(ctx), results)
}

// progress is one line of the program's output.
type progress struct {
	Message    string      `json:"@message"`
	Type       string      `json:"type"`
	Diagnostic *diagnostic `json:"diagnostic"`
	Hook       *struct {
		Resource struct {
			Addr string `json:"addr"`
			Mode string `json:"mode"`
		} `json:"resource"`
		Action string `json:"action"`
	} `json:"hook"`
}

// line takes one line: into the log, and into the journal when a resource is
// done. Values are in none of the lines that are logged.
func (a *application) line(text []byte) error {
	var l progress
	if json.Unmarshal(text, &l) != nil {
		return a.diags.line(text)
	}
	switch l.Type {
	case "version", "planned_change", "resource_drift", "outputs", "change_summary", "refresh_start", "refresh_complete", "log":
		return nil
	case "diagnostic":
		if l.Diagnostic != nil {
			a.diags.found = append(a.diags.found, *l.Diagnostic)
			a.report.Logf("%s: %s", l.Diagnostic.Severity, a.say(*l.Diagnostic))
		}
		return nil
	}
	a.report.Logf("%s", a.scrub.text(l.Message))
	if l.Type == "apply_start" && l.Hook != nil {
		a.begun[plan.Address(l.Hook.Resource.Addr)] = true
	}
	if l.Type == "apply_errored" && l.Hook != nil {
		a.erred[plan.Address(l.Hook.Resource.Addr)] = true
	}
	if l.Type == "apply_complete" && l.Hook != nil {
		return a.complete(plan.Address(l.Hook.Resource.Addr), l.Hook.Action)
	}
	return nil
}

// complete reports a resource as done, the last step of a replace alone.
func (a *application) complete(address plan.Address, action string) error {
	for i := range a.plan.Changes {
		c := &a.plan.Changes[i]
		if c.Address != address || a.done[address] {
			continue
		}
		if c.Action == plan.Replace && !a.lastStep(c, action) {
			return nil
		}
		a.done[address] = true
		r := a.result(c, plan.Applied, "")
		if a.before.Lineage == "" && c.Action == plan.Create && a.hold(r) {
			return nil
		}
		return a.report.Done(context.WithoutCancel(a.ctx), []plan.Result{r})
	}
	return nil
}

// lastStep tells whether a step of a replace is its second: the first one is
// noted down.
func (a *application) lastStep(c *plan.Change, action string) bool {
	key := plan.Address("\x00" + string(c.Address))
	if a.done[key] {
		return true
	}
	a.done[key] = true
	return false
}

// hold keeps the first result of a new state back until the state's lineage is
// known; its resource stays pending so long.
func (a *application) hold(r plan.Result) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first != nil {
		return false
	}
	a.first = &r
	return true
}

// rescue saves a state that could not be written to its backend.
func (a *application) rescue() error {
	name := filepath.Join(a.rootDir(), "errored.tfstate")
	body, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the state could not be written to its backend, and the program's copy of it not be read: %w", err)
	}
	saved, err := a.keepRescued(body)
	if err != nil {
		// Then it stays where it is; nothing may clear it away.
		return fmt.Errorf("the state could not be written to its backend; it is in %s and could not be saved: %w", name, err)
	}
	return driver.Permanent(fmt.Errorf("the state could not be written to its backend; it is saved, encrypted, in %s. "+
		"Bring it back with: trueup state recover %s", saved, a.in.Target))
}
