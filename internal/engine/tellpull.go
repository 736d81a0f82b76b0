package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// The contexts of trueup's statuses.
const (
	planStatus = "trueup/plan"
	// findingsName is what findings at lines go by; it is no status, so that
	// it is not taken for one.
	findingsName = "trueup/findings"
	applyStatus  = "trueup/apply"
)

// pull brings a pull request's status, findings and comment up to date.
func (t *telling) pull(ctx context.Context) error {
	rec, p, known, err := t.e.loadPull(ctx, t.Repository, t.Number)
	if err != nil || !known {
		return err
	}
	// The comment is there to see before the status says that it is; that it
	// can't be written keeps nobody waiting for the status.
	told := error(nil)
	if !p.Planning {
		told = t.comment(ctx, rec, &p)
	}
	if p.Facts.HeadCommit != "" && rec.State == store.PullOpen {
		told = errors.Join(told, t.status(ctx, p.status(t.e.publicURL())))
	}
	if p.Planning {
		told = errors.Join(told, t.comment(ctx, rec, &p))
	}
	return errors.Join(told, t.annotate(ctx, &p), t.mergeStatus(ctx, rec, &p))
}

// status is the state of trueup/plan: success when the plan could be made and
// nothing in it is refused.
func (p *pull) status(public string) forge.Status {
	s := forge.Status{Commit: p.Facts.HeadCommit, Context: planStatus, Ref: p.Facts.Head, State: forge.StatusSuccess, URL: first(public, p.Facts.URL)}
	var changes, failed, refused, waits, targets int
	for _, t := range p.Targets {
		targets++
		switch {
		case t.State == pullFailed:
			failed++
		case t.State == pullWaits:
			waits++
		case t.refused():
			refused++
		case t.Gate == GateApproval || t.Gate == GateGuard:
			waits++
		}
		for _, n := range t.Summary {
			changes += n
		}
	}
	found := len(p.Findings.Errors())
	switch {
	case p.Planning:
		s.State, s.Description = forge.StatusPending, "planning"
	case p.Refused != "":
		s.Description = "not planned: " + p.Refused
	case p.Failed != "":
		s.State, s.Description = forge.StatusFailure, p.Failed
	case found > 0:
		s.State, s.Description = forge.StatusFailure, counted(found, "mistake")+" in the configuration"
	case failed > 0:
		s.State, s.Description = forge.StatusFailure, "no plan for "+counted(failed, "target")
	case refused > 0:
		s.State, s.Description = forge.StatusFailure, counted(refused, "plan")+" refused"
	case targets == 0:
		s.Description = "no target is concerned"
	case p.unplanned() > 0:
		s.State, s.Description = forge.StatusFailure, counted(p.unplanned(), "target")+" not planned: somebody trusted has to look first"
	default:
		s.Description = counted(changes, "change") + " to " + counted(targets, "target")
		if waits > 0 {
			s.Description += fmt.Sprintf(", %d held for approval", waits)
		}
	}
	return s
}

func (p *pull) unplanned() int {
	n := 0
	for _, t := range p.Targets {
		if t.State == pullWaits {
			n++
		}
	}
	return n
}

// refused tells that no approval lets the plan through.
func (t *pullTarget) refused() bool {
	return t.Gate == GateScope || t.Gate == GateRejected || t.Gate == GateRetired
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

// publicURL is where people reach the server, "" when it is not known.
func (e *Engine) publicURL() string { return strings.TrimSuffix(e.cfg.Load().Listen.PublicURL, "/") }

// annotate shows findings at their lines, where the forge can.
func (t *telling) annotate(ctx context.Context, p *pull) error {
	a, ok := t.f.(forge.Annotator)
	if !ok || p.Facts.HeadCommit == "" || p.Planning {
		return nil
	}
	var notes []forge.Annotation
	for _, d := range p.Findings {
		if d.File == "" || len(notes) == 50 {
			continue
		}
		level := "error"
		if d.Severity == plan.Warning {
			level = "warning"
		}
		text := render.Line(d.Message)
		if d.Mend != "" {
			text += " (" + render.Line(d.Mend) + ")"
		}
		notes = append(notes, forge.Annotation{Path: d.File, Line: d.Line, Level: level, Message: text})
	}
	subject := "findings/" + p.Facts.HeadCommit
	have, err := t.said(ctx, subject)
	if err != nil || have.Hash == hashOf(notes) || have.Hash == "" && len(notes) == 0 {
		return err
	}
	if err := a.Annotate(ctx, p.Facts.HeadCommit, findingsName, notes); err != nil && !errors.Is(err, forge.ErrUnsupported) {
		return fmt.Errorf("findings: %w", err)
	}
	return t.say(ctx, subject, "", hashOf(notes))
}

// comment writes the one comment, or edits it.
func (t *telling) comment(ctx context.Context, rec store.Pull, p *pull) error {
	subject := fmt.Sprintf("comment/%d", t.Number)
	have, err := t.said(ctx, subject)
	if err != nil {
		return err
	}
	if have.ID == "" {
		if have.ID, err = t.findComment(ctx); err != nil {
			return err
		}
	}
	if have.ID == "" && (p.quiet() || rec.State != store.PullOpen && len(p.Targets) == 0) {
		return nil
	}
	c, err := t.compose(ctx, rec, p)
	if err != nil {
		return err
	}
	body := c.Markdown()
	show, err := t.showing(ctx, p)
	if err != nil {
		return err
	}
	if hash := hashOf(body); have.Hash != hash {
		if have.ID, err = t.write(ctx, have.ID, body); err != nil {
			return fmt.Errorf("comment: %w", err)
		}
		if err := t.e.fail("forge comment"); err != nil {
			return err
		}
		if err := t.say(ctx, subject, have.ID, hash); err != nil {
			return err
		}
	}
	if show == nil {
		return nil
	}
	return t.say(ctx, t.shownSubject(), show.ID, show.Hash)
}

// quiet tells that there is nothing that a comment is worth.
func (p *pull) quiet() bool {
	return p.Refused != "" || p.Planning && len(p.Targets) == 0 || p.Failed == "" && len(p.Findings) == 0 && len(p.Targets) == 0
}

func (t *telling) shownSubject() string { return fmt.Sprintf("shown/%d", t.Number) }

// showing gives what to remember once the comment shows these plans: what
// stands for them, and the last comment that was there before. Nothing when
// they are shown already.
func (t *telling) showing(ctx context.Context, p *pull) (*store.Said, error) {
	key := p.plansKey()
	have, err := t.said(ctx, t.shownSubject())
	if err != nil || key == "" || have.Hash == key {
		return nil, err
	}
	all, err := t.f.List(ctx, t.Number)
	if err != nil {
		return nil, fmt.Errorf("comments: %w", err)
	}
	s := &store.Said{Hash: key}
	if len(all) > 0 {
		s.ID = all[len(all)-1].ID
	}
	return s, nil
}

// findComment looks for the comment that an earlier life wrote.
func (t *telling) findComment(ctx context.Context) (string, error) {
	all, err := t.f.List(ctx, t.Number)
	if err != nil {
		return "", fmt.Errorf("comments: %w", err)
	}
	for _, c := range all {
		if own(c, "plan", t.Repository) {
			return c.ID, nil
		}
	}
	return "", nil
}

// write edits the comment; one that somebody removed is written anew.
func (t *telling) write(ctx context.Context, id, body string) (string, error) {
	if id != "" {
		err := t.f.Edit(ctx, t.Number, id, body)
		if !errors.Is(err, forge.ErrNotFound) {
			return id, err
		}
	}
	c, err := t.f.Add(ctx, t.Number, body)
	return c.ID, err
}

// compose gathers what the comment tells.
func (t *telling) compose(ctx context.Context, rec store.Pull, p *pull) (render.PullComment, error) {
	info := t.f.Info()
	c := render.PullComment{Marker: marker("plan", t.Repository), Noun: info.Noun, Head: p.Facts.HeadCommit, Base: p.Base,
		BaseName: p.Facts.Base, Planning: p.Planning, Refused: p.Refused, Failed: p.Failed, Findings: p.Findings,
		Locks: p.Locks, Limit: info.CommentLimit, Collapse: info.Collapse}
	for i := range p.Targets {
		one, err := t.composeTarget(ctx, rec, p, &p.Targets[i])
		if err != nil {
			return c, err
		}
		c.Targets = append(c.Targets, one)
	}
	if rec.State == store.PullOpen && p.Refused == "" {
		c.Commands = t.e.offered(t.cfg.Repositories[t.Repository], p)
	}
	if rec.Landed == "" {
		return c, nil
	}
	out, err := t.e.outcomes(ctx, t.Repository, rec.Landed, p.ids())
	if err != nil {
		return c, err
	}
	c.Landed = rec.Landed
	for _, o := range out {
		c.Outcomes = append(c.Outcomes, render.PullOutcome{ID: o.target, Environment: o.environment, State: string(o.state), Detail: o.message, Run: o.run})
	}
	return c, nil
}

// ids lists the targets that the pull request concerns.
func (p *pull) ids() []string {
	var out []string
	for _, t := range p.Targets {
		if t.State != pullOrphaned {
			out = append(out, t.ID)
		}
	}
	return out
}

func (t *telling) composeTarget(ctx context.Context, rec store.Pull, p *pull, x *pullTarget) (render.PullTarget, error) {
	out := render.PullTarget{ID: x.ID, Environment: x.Environment, Hash: x.Hash, Run: x.Run, Change: changeText(x)}
	out.State, out.Note, out.Detail = x.words()
	switch {
	case x.LockedBy == "":
	case x.LockedBy != pullKey(rec.Repository, rec.Number):
		out.Note = join(out.Note, "locked by "+render.Code(x.LockedBy))
	case rec.State == store.PullOpen:
		o, err := t.e.outcomeOf(ctx, p.Merge, x.ID)
		if err != nil {
			return out, err
		}
		out.State, out.Note, out.Detail = string(o.state)+" before the merge", "locked", o.message
	}
	if public := t.e.publicURL(); public != "" && x.Run != "" {
		out.URL = public + "/api/v1/runs/" + x.Run + "/plan"
	}
	if x.Run == "" || x.State != pullPlanned {
		return out, nil
	}
	pl, _, err := t.e.store.Plan(ctx, x.Run)
	if errors.Is(err, store.ErrNotFound) {
		out.Note = join(out.Note, "the plan is no longer stored")
		return out, nil
	}
	out.Plan = pl
	return out, err
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// words give a target's state, a note in Markdown and a detail as text.
func (t *pullTarget) words() (state, note, detail string) {
	switch t.State {
	case pullNothing:
		return "no change", "", ""
	case pullFailed:
		return "failed", "", t.Message
	case pullOrphaned:
		return "leaves Git", fmt.Sprintf("orphaned: the %d objects that it owns stay as they are", t.Owned), t.Message
	case pullWaits:
		return "not planned", "", t.Message
	case pullLeftOut:
		return "left out", "", t.Message
	}
	ask := ""
	if len(t.Hash) > 12 {
		ask = render.Code("trueup approve " + t.Hash[:12])
	}
	switch {
	case t.refused():
		return "refused", "", t.Message
	case t.Gate == GateApproval:
		return "needs approval", render.Code(t.Message) + ": " + ask, ""
	case t.Gate == GateGuard:
		note = "an approval of this very plan lets it through: " + ask
		if t.Approval.Missing != "" {
			note = render.Code(t.Approval.Missing) + ": " + ask
		}
		return "held by the guard", note, t.Message
	case t.Gate == GateWindow:
		return "ready", render.Code(t.Message), ""
	case t.Gate != GateNone:
		return "would be held", string(t.Gate), t.Message
	case len(t.Approval.Have) > 0:
		return "ready", "approved by " + render.Code(strings.Join(t.Approval.Have, ", ")), ""
	case t.Approval.Auto:
		return "ready", "rule " + render.Code(t.Approval.Rule), ""
	}
	return "ready", "", ""
}

// changeText counts what a plan would do.
func changeText(t *pullTarget) string {
	switch t.State {
	case pullNothing, pullPlanned:
	default:
		return ""
	}
	var parts []string
	for _, a := range []plan.Action{plan.Create, plan.Update, plan.Replace, plan.Rename, plan.Disable, plan.Delete, plan.Adopt, plan.Forget} {
		if n := t.Summary[a]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	if t.New {
		parts = append(parts, "new target")
	}
	return strings.Join(parts, ", ")
}
