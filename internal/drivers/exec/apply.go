package exec

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/plan"

	"trueup.dev/trueup/internal/driver"
)

// applier carries out one plan.
type applier struct {
	*work
	plan   *plan.Plan
	report driver.Report
	now    *plan.Plan
	writes []*plan.Change
}

func (a *applier) run(ctx context.Context) error {
	now, err := a.work.plan(ctx)
	if err == nil {
		a.now = now
		err = a.stale(a.plan, now)
	}
	if err == nil {
		err = a.prepareFiles()
	}
	if err != nil {
		return errors.Join(err, a.done(ctx, a.all(), plan.Skipped, err.Error()))
	}
	if err := a.settleQuiet(ctx); err != nil || len(a.writes) == 0 {
		return err
	}
	keys := make([]plan.Key, len(a.writes))
	for i, c := range a.writes {
		keys[i] = c.Key
	}
	if err := a.report.Pending(ctx, keys); err != nil {
		return fmt.Errorf("journal before the write: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, a.done(ctx, a.writes, plan.Skipped, err.Error()))
	}
	return a.execute(ctx)
}

func (a *applier) all() []*plan.Change {
	out := make([]*plan.Change, len(a.plan.Changes))
	for i := range a.plan.Changes {
		out[i] = &a.plan.Changes[i]
	}
	return out
}

// prepareFiles sorts the changes and writes what the command is given: the
// changes with their secrets, and the plan that was approved.
func (a *applier) prepareFiles() error {
	fresh := map[plan.Address]*plan.Change{}
	for i := range a.now.Changes {
		fresh[a.now.Changes[i].Address] = &a.now.Changes[i]
	}
	type given struct {
		Address plan.Address    `json:"address"`
		Kind    string          `json:"kind,omitempty"`
		Action  plan.Action     `json:"action"`
		Before  json.RawMessage `json:"before,omitempty"`
		After   json.RawMessage `json:"after,omitempty"`
	}
	list := []given{}
	var lines []byte
	for _, c := range a.all() {
		if c.Conflict != "" || !c.Action.Writes() {
			continue
		}
		f := fresh[c.Address]
		a.writes = append(a.writes, f)
		list = append(list, given{c.Address, c.Kind, c.Action, f.Before, f.After})
		lines = fmt.Appendf(lines, "%s %s\n", c.Action, c.Address)
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := a.write(fileChanges, b); err != nil {
		return err
	}
	if err := a.write(fileActions, lines); err != nil {
		return err
	}
	if len(a.plan.Artefact) == 0 {
		return nil
	}
	return a.write(filePlan, a.plan.Artefact)
}

// settleQuiet reports what needs no write, and what is held.
func (a *applier) settleQuiet(ctx context.Context) error {
	var quiet, held []*plan.Change
	for _, c := range a.all() {
		switch {
		case c.Conflict != "":
			held = append(held, c)
		case !c.Action.Writes():
			quiet = append(quiet, c)
		}
	}
	for _, c := range held {
		if err := a.done(ctx, []*plan.Change{c}, plan.Skipped, "held: "+c.Conflict); err != nil {
			return err
		}
	}
	return a.done(ctx, quiet, plan.Applied, "")
}

// execute runs the command and finds out what became of the changes. A failed
// one is followed by another plan: what is no longer planned was done.
func (a *applier) execute(ctx context.Context) error {
	cmd := "apply"
	if a.in.Mode == plan.Destroy {
		cmd = "destroy"
	}
	log := func(line string) { a.report.Logf("%s", line) }
	var r ran
	var err error
	if a.s.connect.Preset == jenkins {
		err = a.work.jenkins(ctx, log)
	} else {
		r, err = a.work.run(ctx, cmd, log)
	}
	if err == nil && r.status == 0 {
		return a.done(ctx, a.writes, plan.Applied, "")
	}
	if err == nil {
		err = r.failure(cmd)
	}
	if ctx.Err() != nil || a.in.Mode == plan.Destroy {
		return errors.Join(err, a.done(ctx, a.writes, plan.Unknown, err.Error()))
	}
	left, lookErr := a.work.look(ctx)
	if lookErr != nil || a.s.blind() {
		return errors.Join(err, a.done(ctx, a.writes, plan.Unknown, err.Error()))
	}
	still := map[plan.Address]bool{}
	for i := range left.Changes {
		still[left.Changes[i].Address] = true
	}
	var did, failed []*plan.Change
	for _, c := range a.writes {
		if still[c.Address] {
			failed = append(failed, c)
		} else {
			did = append(did, c)
		}
	}
	if jerr := a.done(ctx, did, plan.Applied, ""); jerr != nil {
		return errors.Join(err, jerr)
	}
	return errors.Join(err, a.done(ctx, failed, plan.Failed, err.Error()))
}

// done records an outcome of changes, also of a run that was cancelled.
func (a *applier) done(ctx context.Context, changes []*plan.Change, outcome plan.Outcome, why string) error {
	if len(changes) == 0 {
		return nil
	}
	results := make([]plan.Result, len(changes))
	for i, c := range changes {
		results[i] = plan.Result{Key: c.Key, Kind: c.Kind, Action: c.Action, Outcome: outcome, Error: why, Class: class, Weight: 1,
			Source: c.Source}
		if len(c.Impact) > 0 {
			results[i].Class = cmp.Or(c.Impact[0].Class, class)
		}
		if c.Action == plan.Delete {
			continue
		}
		if len(c.After) > 0 {
			results[i].Hash = a.s.hash("object", c.After)
			doc, err := plan.Redact(c.After, c.Sensitive)
			if err != nil {
				return err
			}
			results[i].LastApplied = doc
		}
		if o, ours := a.in.Inventory[c.Key]; ours && c.Action == plan.Adopt {
			results[i].Class, results[i].Weight = cmp.Or(o.Class, class), o.Weight
		}
	}
	return a.report.Done(context.WithoutCancel(ctx), results)
}
