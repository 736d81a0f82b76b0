package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/git"
	"trueup.dev/trueup/internal/store"
)

// previewing is one look at one pull request. Each step fills in what the
// next one needs. Nothing of it writes to an environment.
type previewing struct {
	e     *Engine
	cfg   *active
	lease store.Lease
	conf  *config.Repository
	f     forge.Forge
	rec   store.Pull
	known bool // it was seen before
	pull
	repo   store.RepositoryState
	mirror *git.Mirror
	talk
	again   time.Duration // look again after this
	changed *change       // the merge result, analysed
	before  []pullTarget  // plans that stand where the inputs are the same
}

// talk is what people say on a pull request.
type talk struct {
	comments []command      // that were not answered yet
	order    map[string]int // of all comments, by id
}

// preview answers one lease of preview work.
func (e *Engine) preview(ctx context.Context, l store.Lease) store.Finish {
	done := store.Finish{Observed: l.Generation, Remove: true}
	repository, what, number := splitKey(l.Key)
	cfg := e.cfg.Load()
	conf := cfg.Repositories[repository]
	if conf == nil || conf.Forge == nil {
		return done
	}
	// What remains after the planning is for telling how it ended.
	ctx, cancel := context.WithTimeout(ctx, cfg.previewLimit()+time.Minute)
	defer cancel()
	f, err := e.Forge(ctx, repository)
	if err == nil {
		switch {
		case number > 0:
			p := &previewing{e: e, cfg: cfg, lease: l, conf: conf, f: f}
			err = p.look(ctx, number)
			done.RetryAfter = p.again
		case what == openWork:
			return e.openPulls(ctx, conf, f, l)
		case strings.HasPrefix(what, landingWork):
			done.RetryAfter, err = e.landed(ctx, conf, f, l, strings.TrimPrefix(what, landingWork))
		case strings.HasPrefix(what, groupWork):
			err = e.previewGroup(ctx, cfg, conf, l, strings.TrimPrefix(what, groupWork))
		}
	}
	if err == nil {
		done.Remove = done.RetryAfter == 0
		return done
	}
	if errors.Is(err, store.ErrFenced) || errors.Is(context.Cause(ctx), errLeaseLost) {
		return done
	}
	if errors.Is(context.Cause(ctx), errStopping) {
		return store.Finish{Observed: l.Generation, Release: true}
	}
	e.log.Warn("a pull request could not be looked at", "work", l.Key, "attempts", l.Attempts, "error", err)
	return e.forgeRetry(l, repository, err)
}

// leastPreview is the least time that planning a pull request may take.
var leastPreview = 5 * time.Minute

// previewLimit bounds the planning of one pull request.
func (c *active) previewLimit() time.Duration { return max(c.Limits.PlanTimeout*2, leastPreview) }

// errPreviewTime says that a pull request's plans took too long together.
var errPreviewTime = errors.New("planning took too long")

// inTime plans within the limit. That it was too short is an error to be told
// like another, not one that ends the look.
func (c *active) inTime(ctx context.Context, planning func(context.Context) error) error {
	limit := c.previewLimit()
	inner, cancel := context.WithTimeoutCause(ctx, limit, errPreviewTime)
	defer cancel()
	err := planning(inner)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(inner), errPreviewTime) {
		return fmt.Errorf("%w: more than %s for all targets", errPreviewTime, limit)
	}
	return err
}

// previewAttempts bounds how often work that the forge keeps failing is tried;
// the next look at the open pull requests brings it back.
const previewAttempts = 20

// forgeRetry says what becomes of work that failed: wait as long as the
// forge's limit says, try again, or leave it.
func (e *Engine) forgeRetry(l store.Lease, repository string, err error) store.Finish {
	done := store.Finish{Observed: l.Generation, RetryAfter: e.backoff(l.Attempts)}
	var limited forge.LimitedError
	switch {
	case errors.As(err, &limited):
		done.RetryAfter = max(limited.Until.Sub(e.clock()), done.RetryAfter)
	case errors.Is(err, forge.ErrDenied):
		e.forges.forget(repository) // the credentials are resolved anew
		if l.Attempts >= previewAttempts {
			return store.Finish{Observed: l.Generation, Remove: true}
		}
	case errors.Is(err, forge.ErrNotFound), l.Attempts >= previewAttempts && !errors.Is(err, forge.ErrUnreachable):
		return store.Finish{Observed: l.Generation, Remove: true}
	}
	return done
}

// look reads a pull request again and does what is due about it.
func (p *previewing) look(ctx context.Context, number int) error {
	var err error
	if p.rec, p.pull, p.known, err = p.e.loadPull(ctx, p.conf.Name, number); err != nil {
		return err
	}
	p.requested()
	facts, err := p.f.PullRequest(ctx, number)
	if errors.Is(err, forge.ErrNotFound) {
		return p.vanished(ctx, number, err)
	}
	if err != nil {
		return err
	}
	if p.repo, err = p.e.store.Repository(ctx, p.conf.Name); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if p.repo.Head == "" || p.repo.ConfigVer != p.cfg.version {
		p.again = time.Second // the first poll, or the one under this configuration, is due
		return p.e.Poll(ctx, "system:pulls", p.conf.Name)
	}
	if err := p.readCommands(ctx, number); err != nil {
		return err
	}
	p.Facts.State = facts.State
	if facts.State != "open" {
		return p.ended(ctx, facts)
	}
	if err := p.open(ctx, facts); err != nil {
		return err
	}
	if err := p.reviews(ctx); err != nil {
		return err
	}
	return p.carryOut(ctx)
}

// requested remembers who had trueup open the pull request: a rule that leaves
// out the author leaves out them.
func (p *previewing) requested() {
	for _, t := range p.lease.Triggers {
		if t.Cause == byRequest && !slices.Contains(p.Requested, t.Actor) {
			p.Requested = append(p.Requested, t.Actor)
		}
	}
}

// updateSettles is how long a pull request's time of change may hide a later
// one: forges tell it in whole seconds.
const updateSettles = 2 * time.Second

// lastUpdate gives the time of change to compare the next list with. While
// another change may come within the same second it is one that no list has,
// so that the next poll looks once more.
func (p *previewing) lastUpdate(now time.Time) time.Time {
	if !now.Equal(p.Seen) {
		p.Seen, p.SeenAt = now, p.e.clock()
	}
	if p.e.clock().Sub(p.SeenAt) < updateSettles {
		return now.Add(-time.Microsecond)
	}
	return now
}

// vanished ends a pull request that was removed from the forge, so that its
// locks are given back. A forge says "not found" as well of what one may no
// longer see: the list of the open ones has to be readable, and without it.
func (p *previewing) vanished(ctx context.Context, number int, why error) error {
	if !p.known || p.rec.State != store.PullOpen {
		return why
	}
	open, err := p.f.Open(ctx)
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.Number == number {
			return why
		}
	}
	facts := p.Facts
	facts.State = "closed"
	return p.ended(ctx, facts)
}

// open plans an open pull request, unless nothing that counts is new.
func (p *previewing) open(ctx context.Context, facts forge.PullRequest) error {
	moved := p.Facts.HeadCommit != facts.HeadCommit
	p.Facts = facts
	p.rec.State, p.rec.Head, p.rec.UpdatedAt, p.rec.Landed = store.PullOpen, facts.HeadCommit, p.lastUpdate(facts.UpdatedAt), ""
	why, base, err := p.refusal(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		p.pull = pull{Facts: facts, Refused: why, Locks: p.Locks, Requested: p.Requested, Seen: p.Seen, SeenAt: p.SeenAt, ConfigVer: p.cfg.version, PlannedAt: p.e.clock()}
		return p.save(ctx)
	}
	if err := p.vouch(ctx); err != nil {
		return err
	}
	if !p.due(moved, base) {
		return p.save(ctx)
	}
	if !moved && !p.forced() && p.settling(ctx, base) {
		p.again = p.e.backoff(p.lease.Attempts)
		return p.save(ctx)
	}
	if moved || p.PlannedAt.IsZero() || p.forced() {
		p.Planning = true
		if moved {
			p.Assents = nil
		}
		if err := p.save(ctx); err != nil {
			return err
		}
	}
	if !moved && !p.forced() && p.ConfigVer == p.cfg.version && !p.PlannedAt.IsZero() {
		p.before = p.Targets
	}
	p.Refused, p.Failed, p.Retry, p.Findings, p.Targets = "", "", false, nil, nil
	p.ConfigVer, p.Ref = p.cfg.version, p.repo.Ref
	err = p.cfg.inTime(ctx, func(ctx context.Context) error { return p.plan(ctx, base) })
	switch {
	case errors.Is(err, errSuperseded):
		return nil // the newer push is answered next
	case err != nil && (p.lease.Attempts < sayAttempts || ctx.Err() != nil || errors.Is(err, store.ErrFenced)):
		return err
	case err != nil: // whoever waits for the status is told, and it goes on trying
		p.Failed, p.Retry, p.Targets = err.Error(), true, nil
	}
	p.Planning, p.PlannedAt = false, p.e.clock()
	if p.mayPass() && p.lease.Attempts < previewAttempts {
		p.again = p.e.backoff(p.lease.Attempts)
	}
	return p.save(ctx)
}

// settling tells that the base moved and what it brought is still being
// applied: a plan made now would show that work as the pull request's.
func (p *previewing) settling(ctx context.Context, base string) bool {
	if p.Planning || p.PlannedAt.IsZero() || p.Base == base || p.lease.Attempts >= landAttempts {
		return false
	}
	land, err := p.e.store.Landing(ctx, p.conf.Name, base)
	return err == nil && !land.Final
}

// sayAttempts is how often a plan fails before that is said.
const sayAttempts = 3

// mayPass tells that a failure may pass by itself.
func (p *pull) mayPass() bool {
	for _, t := range p.Targets {
		if t.Retry {
			return true
		}
	}
	return p.Retry
}

// due tells whether anything that a plan rests on is new.
func (p *previewing) due(moved bool, base string) bool {
	if moved || p.Planning || p.PlannedAt.IsZero() || p.Refused != "" || p.forced() || p.ConfigVer != p.cfg.version || p.Base != base {
		return true
	}
	return p.mayPass() || p.unplanned() > 0
}

// forced tells that somebody asked for a new plan.
func (p *previewing) forced() bool {
	for _, c := range p.comments {
		if c.verb == "plan" && c.allowed == nil {
			return true
		}
	}
	return false
}

// refusal says why a pull request is not planned, "" where it is, and the
// commit that it is merged with.
func (p *previewing) refusal(ctx context.Context) (why, base string, err error) {
	set := p.conf.PullRequests
	switch {
	case !set.Planned():
		return "pull requests of this repository are not planned", "", nil
	case p.Facts.Fork && !set.Forks:
		return "it comes from a fork; the operator does not plan those", "", nil
	case p.Facts.Draft && !set.PlansDrafts():
		return "it is a draft", "", nil
	case p.conf.Commit != "":
		return "the repository follows a fixed commit", "", nil
	}
	if p.mirror, err = p.e.mirror(ctx, p.conf.Name); err != nil {
		return "", "", err
	}
	if p.conf.Tags != "" {
		return "", "", nil // merged with the base branch; a tag deploys it
	}
	branch := strings.TrimPrefix(p.conf.Branch, "refs/heads/")
	if branch == "" {
		if branch, err = p.mirror.DefaultBranch(ctx); err != nil {
			return "", "", err
		}
	}
	if p.Facts.Base != branch {
		return fmt.Sprintf("it goes to %s, and %s is what is applied", p.Facts.Base, branch), "", nil
	}
	return "", p.repo.Head, nil
}

// errSuperseded says that a newer push is waiting already.
var errSuperseded = errors.New("superseded by a newer push")

// superseded tells whether newer triggers wait for this lease to end.
func (p *previewing) superseded(ctx context.Context) error {
	w, err := p.e.store.Work(ctx, store.Preview, p.lease.Key)
	if err != nil || w.Generation <= p.lease.Generation {
		return nil
	}
	facts, err := p.f.PullRequest(ctx, p.rec.Number)
	if err != nil || facts.HeadCommit == p.Facts.HeadCommit && facts.State == "open" {
		return nil // something else was asked: it can wait
	}
	return errSuperseded
}

func (p *previewing) save(ctx context.Context) error {
	return p.e.savePull(ctx, p.lease.Fence, p.rec, p.pull)
}

// merge fetches the head and makes the merge result. What can't be merged is
// said in Failed.
func (p *previewing) merge(ctx context.Context, base string) (source.Revision, error) {
	name := fmt.Sprintf("pull/%d", p.rec.Number)
	refs := []string{"refs/heads/" + p.Facts.Head}
	if pattern := p.f.Info().HeadRef; pattern != "" {
		refs[0] = fmt.Sprintf(pattern, p.rec.Number)
	} else if p.Facts.Fork {
		p.Failed = "the forge keeps no ref of a fork's head, so it can't be fetched"
		return source.Revision{}, nil
	}
	if base == "" {
		refs = append(refs, "refs/heads/"+p.Facts.Base)
	}
	got, err := p.mirror.FetchAside(ctx, name, refs...)
	if err != nil {
		return source.Revision{}, fmt.Errorf("fetch the head: %w", err)
	}
	if got[0].Commit != p.Facts.HeadCommit {
		return source.Revision{}, fmt.Errorf("the head is %.12s, and %.12s was fetched: it moved just now", p.Facts.HeadCommit, got[0].Commit)
	}
	if base == "" {
		base = got[1].Commit
	}
	p.Base = base
	rev, err := p.mirror.Merge(ctx, name, base, p.Facts.HeadCommit)
	var conflict *git.ConflictError
	if errors.As(err, &conflict) {
		p.Failed = "it can't be merged: " + conflict.Error()
		return source.Revision{}, nil
	}
	return rev, err
}
