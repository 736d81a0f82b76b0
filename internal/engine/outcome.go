package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// landState is what became of a commit in one target.
type landState string

const (
	landPending    landState = "pending"
	landApplied    landState = "applied"
	landHeld       landState = "held"
	landFailed     landState = "failed"
	landRolledBack landState = "rolled back"
	landSuperseded landState = "superseded"
	landGone       landState = "gone"
)

// final tells that nothing more will come of the commit.
func (s landState) final() bool {
	return s == landApplied || s == landSuperseded || s == landGone
}

// landOutcome is what became of a commit in one target, with what there is to
// say about it.
type landOutcome struct {
	target, environment, message, run string
	state                             landState
}

// outcomes tells what became of a commit in targets.
func (e *Engine) outcomes(ctx context.Context, repository, commit string, ids []string) ([]landOutcome, error) {
	var out []landOutcome
	for _, id := range ids {
		o, err := e.outcomeOf(ctx, commit, id)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func (e *Engine) outcomeOf(ctx context.Context, commit, id string) (landOutcome, error) {
	o := landOutcome{target: id, state: landPending}
	t, err := e.store.Target(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		o.state = landGone
		return o, nil
	}
	if err != nil {
		return o, err
	}
	o.environment = t.Environment
	s := t.Status
	switch {
	case t.State != store.Active:
		o.state, o.message = landGone, string(t.State)
		return o, nil
	case s.Phase == store.Synced && s.Applied == commit:
		o.state, o.run = landApplied, s.Run
		return o, nil
	case t.Desired.Source == "lock" && t.Desired.Commit != commit:
		o.message = "locked by " + t.Desired.Lock
		return o, nil
	case t.Desired.Source == "pin":
		o.state, o.message = landRolledBack, fmt.Sprintf("%.12s is in force", t.Desired.Commit)
		return o, nil
	case t.Desired.Commit != commit:
		o.state, o.message = landSuperseded, fmt.Sprintf("%.12s is in force", t.Desired.Commit)
		return o, nil
	}
	if waits, err := e.runs(ctx, id, s.Run); waits || err != nil {
		return o, err
	}
	o.message, o.run = s.Message, s.Run
	switch s.Phase {
	case store.Held, store.OutOfSync:
		o.state = landHeld
		if s.Gate != "" {
			o.message = s.Gate + ": " + s.Message
		}
	case store.Failing, store.Partial:
		o.state = landFailed
	}
	return o, nil
}

// runs tells whether a target's run is still to come. A run that has told how
// it ended gives its lease back a moment later; that one is over.
func (e *Engine) runs(ctx context.Context, target, last string) (bool, error) {
	w, err := e.store.Work(ctx, store.Reconcile, target)
	if errors.Is(err, store.ErrNotFound) || err == nil && w.Generation <= w.Observed {
		return false, nil
	}
	if err != nil || last == "" {
		return true, err
	}
	r, err := e.store.Run(ctx, last)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return r.State == store.RunActive || r.Generation != w.Generation, err
}

// landStatus adds outcomes up to one status.
func landStatus(commit, ref string, out []landOutcome, url string) forge.Status {
	s := forge.Status{Commit: commit, Context: applyStatus, Ref: shortRefName(ref), State: forge.StatusSuccess, URL: url}
	n := map[landState]int{}
	for _, o := range out {
		n[o.state]++
	}
	var parts []string
	for _, state := range []landState{landFailed, landRolledBack, landHeld, landPending, landApplied, landSuperseded, landGone} {
		if n[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[state], state))
		}
	}
	switch {
	case n[landFailed]+n[landRolledBack] > 0:
		s.State = forge.StatusFailure
	case n[landHeld]+n[landPending] > 0:
		s.State = forge.StatusPending
	}
	s.Description = strings.Join(parts, ", ")
	if len(out) == 0 {
		s.Description = "no target is concerned"
	}
	return s
}

func shortRefName(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}

// landing tells the outcome of a commit: its status, the deployments, and the
// pull requests that it brought.
func (t *telling) landing(ctx context.Context) error {
	land, err := t.e.store.Landing(ctx, t.Repository, t.Commit)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	out, err := t.e.outcomes(ctx, t.Repository, t.Commit, land.Targets)
	if err != nil {
		return err
	}
	url := first(t.e.publicURL(), commitURL(t.f.Info(), t.Commit))
	s := landStatus(t.Commit, land.Ref, out, url)
	if land.Mistakes > 0 {
		text := counted(land.Mistakes, "mistake") + " in the configuration: the targets concerned stay as they are"
		if s.State, s.Description = forge.StatusFailure, text+"; "+s.Description; len(out) == 0 {
			s.Description = text
		}
	}
	if err := t.status(ctx, s); err != nil {
		return err
	}
	if err := t.deployments(ctx, land, out, url); err != nil {
		return err
	}
	if err := t.mention(ctx, land, out); err != nil {
		return err
	}
	brought, err := t.e.store.LandedWith(ctx, t.Repository, t.Commit)
	if err != nil {
		return err
	}
	for _, n := range brought {
		if err := t.e.tell(ctx, forgeMessage{Kind: tellPull, Repository: t.Repository, Number: n}); err != nil {
			return err
		}
	}
	for _, o := range out {
		if !o.state.final() {
			return nil
		}
	}
	return t.e.store.EndLanding(ctx, t.lease.Fence, t.Repository, t.Commit)
}

// deployments records, for each environment, what was put there.
func (t *telling) deployments(ctx context.Context, land store.Landing, out []landOutcome, url string) error {
	d, ok := t.f.(forge.Deployer)
	if !ok {
		return nil
	}
	byEnv := map[string][]landOutcome{}
	for _, o := range out {
		if o.environment != "" {
			byEnv[o.environment] = append(byEnv[o.environment], o)
		}
	}
	for _, env := range sortedKeys(byEnv) {
		s := landStatus(t.Commit, land.Ref, byEnv[env], url)
		subject := "deployment/" + t.Commit + "/" + env
		have, err := t.said(ctx, subject)
		if err != nil {
			return err
		}
		hash := hashOf(s.State, s.Description)
		if have.Hash == hash {
			continue
		}
		run := ""
		for _, o := range byEnv[env] {
			run = first(run, o.run)
		}
		id, err := d.Deploy(ctx, forge.Deployment{ID: have.ID, Commit: t.Commit, Ref: shortRefName(land.Ref), Environment: env,
			State: string(s.State), Description: s.Description, URL: url, Run: run})
		switch {
		case errors.Is(err, forge.ErrUnsupported):
			return nil
		case errors.Is(err, forge.ErrDenied):
			t.e.log.Warn("deployments can't be recorded: the forge's credentials may not", "repository", t.Repository, "error", err)
			return nil
		case err != nil:
			return fmt.Errorf("deployment to %s: %w", env, err)
		}
		if err := t.say(ctx, subject, id, hash); err != nil {
			return err
		}
	}
	return nil
}

// login is what a name must look like to be mentioned.
var login = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// mention tells the author of a pull request that applying it failed, once.
func (t *telling) mention(ctx context.Context, land store.Landing, out []landOutcome) error {
	if land.Origin == nil || land.Origin.Number == 0 {
		return nil
	}
	var failed []string
	for _, o := range out {
		if o.state != landFailed && o.state != landRolledBack {
			continue
		}
		text := fmt.Sprintf("- %s: %s", render.Code(o.target), o.state)
		if o.message != "" {
			text += ": " + render.Code(forge.Shorten(o.message, 500))
		}
		if o.run != "" {
			text += " (" + render.Code("trueup show "+o.run) + ")"
		}
		if len(failed) < 10 {
			failed = append(failed, text)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	subject := "mention/" + t.Commit
	have, err := t.said(ctx, subject)
	if err != nil || have.ID != "" {
		return err
	}
	all, err := t.f.List(ctx, land.Origin.Number)
	if err != nil {
		return fmt.Errorf("comments: %w", err)
	}
	for _, c := range all {
		if own(c, "failed", t.Commit) {
			return t.say(ctx, subject, c.ID, "")
		}
	}
	who := ""
	if login.MatchString(land.Origin.Proposed.Login) {
		who = "@" + land.Origin.Proposed.Login + " "
	}
	body := fmt.Sprintf("%s\n%sapplying %s did not succeed:\n\n%s\n\ntrueup tries again where that can help; the comment with the plan shows where it is.\n",
		marker("failed", t.Commit), who, render.Code(render.Short(t.Commit)), strings.Join(failed, "\n"))
	c, err := t.f.Add(ctx, land.Origin.Number, body)
	if err != nil {
		return fmt.Errorf("comment: %w", err)
	}
	return t.say(ctx, subject, c.ID, "")
}

// mergeStatus tells the outcome on the merge commit of a pull request that
// came in together with later ones.
func (t *telling) mergeStatus(ctx context.Context, rec store.Pull, p *pull) error {
	if rec.Landed == "" || p.Facts.MergeCommit == "" || p.Facts.MergeCommit == rec.Landed {
		return nil
	}
	out, err := t.e.outcomes(ctx, t.Repository, rec.Landed, p.ids())
	if err != nil {
		return err
	}
	return t.status(ctx, landStatus(p.Facts.MergeCommit, p.Facts.Base, out, first(t.e.publicURL(), p.Facts.URL)))
}
