package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// wantPull asks for a look at a pull request.
func (e *Engine) wantPull(ctx context.Context, repository string, number int, class store.Class, cause string, by store.Actor) error {
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Preview, Key: pullKey(repository, number), Slot: pullSlot(repository),
		Class: class, Cause: cause, Actor: by})
}

// openPulls lists the open pull requests and has those looked at of which
// something is new, so that a missed delivery is made up for. It is asked for
// again at the repository's interval.
func (e *Engine) openPulls(ctx context.Context, conf *config.Repository, f forge.Forge, l store.Lease) store.Finish {
	done := store.Finish{Observed: l.Generation, NextDue: e.clock().Add(jitter(conf.Poll))}
	if err := e.listOpen(ctx, conf, f, l.Fence); err != nil {
		e.log.Warn("the open pull requests could not be listed", "repository", conf.Name, "error", err)
		retry := e.forgeRetry(l, conf.Name, err)
		done.NextDue = e.clock().Add(max(retry.RetryAfter, jitter(conf.Poll)))
	}
	return done
}

func (e *Engine) listOpen(ctx context.Context, conf *config.Repository, f forge.Forge, fence store.Fence) error {
	st, err := e.store.Repository(ctx, conf.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	open, err := f.Open(ctx)
	if err != nil {
		return err
	}
	known, err := e.store.Pulls(ctx, conf.Name, store.PullOpen)
	if err != nil {
		return err
	}
	was := map[int]store.Pull{}
	for _, p := range known {
		was[p.Number] = p
	}
	base, err := e.store.Said(ctx, conf.Name, "base")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	now := hashOf(st.Head, st.ConfigVer)
	moved := base.Hash != now
	for _, p := range open {
		have, ok := was[p.Number]
		delete(was, p.Number)
		if ok && !moved && sameUpdate(have, p) {
			continue
		}
		class := store.ByPush
		if ok && sameUpdate(have, p) {
			class = store.ByClock // the base branch moved
		}
		if err := e.wantPull(ctx, conf.Name, p.Number, class, "poll", "system:poll"); err != nil {
			return err
		}
	}
	for n := range was { // merged or closed meanwhile
		if err := e.wantPull(ctx, conf.Name, n, store.ByPush, "poll", "system:poll"); err != nil {
			return err
		}
	}
	if !moved {
		return nil
	}
	return e.store.Say(ctx, fence, conf.Name, "base", store.Said{Hash: now})
}

func sameUpdate(have store.Pull, now forge.PullRequest) bool {
	return !now.UpdatedAt.IsZero() && have.UpdatedAt.Equal(now.UpdatedAt) && (now.HeadCommit == "" || have.Head == now.HeadCommit)
}

// queueRef is where forges put what a merge queue, or a merge train on GitLab,
// is about to merge.
var queueRef = regexp.MustCompile(`^refs/(heads/.+|merge-requests/[1-9][0-9]{0,9}/train)$`)

// Event takes a verified delivery as a hint where to look. Nothing in it is
// believed, and nothing of it is carried out.
func (e *Engine) Event(ctx context.Context, repository string, ev forge.Event) error {
	conf := e.cfg.Load().Repositories[repository]
	if conf == nil {
		return fmt.Errorf("repository %q: %w", repository, store.ErrNotFound)
	}
	by := store.Actor("webhook:" + repository)
	switch ev.Kind {
	case forge.Pushed:
		return e.Poll(ctx, by, repository)
	case forge.PullChanged, forge.Commented:
		if ev.Number <= 0 || conf.Forge == nil {
			return nil
		}
		cause := "pull"
		if ev.Kind == forge.Commented {
			// An ordinary remark costs no look at the forge.
			if ev.Body != "" && len(parseCommands(ev.Body)) == 0 {
				return nil
			}
			cause = "comment"
		}
		return e.wantPull(ctx, repository, ev.Number, store.ByPush, cause, by)
	case forge.MergeQueue:
		if conf.Forge == nil || !queueRef.MatchString(ev.Ref) || len(ev.Ref) > 200 {
			return nil
		}
		return e.store.Trigger(ctx, store.Trigger{Kind: store.Preview, Key: repository + "#" + groupWork + ev.Ref, Slot: pullSlot(repository),
			Class: store.ByPush, Cause: "queue", Actor: by})
	}
	return nil
}

// previewGroup plans what a merge queue is about to merge, and tells the
// status that the queue waits for.
func (e *Engine) previewGroup(ctx context.Context, cfg *active, conf *config.Repository, l store.Lease, ref string) error {
	st, err := e.store.Repository(ctx, conf.Name)
	if err != nil {
		return err
	}
	if st.Head == "" || st.ConfigVer != cfg.version {
		return errors.New("the repository has not been taken in yet")
	}
	m, err := e.mirror(ctx, conf.Name)
	if err != nil {
		return err
	}
	name := "group/" + hashOf(ref)[:16]
	got, err := m.FetchAside(ctx, name, ref)
	if err != nil {
		return err
	}
	defer func() {
		if err := m.DropAside(context.WithoutCancel(ctx), name); err != nil {
			e.log.Warn("the refs of a merge group could not be dropped", "ref", ref, "error", err)
		}
	}()
	p := pull{Facts: forge.PullRequest{HeadCommit: got[0].Commit, Head: strings.TrimPrefix(ref, "refs/heads/")}}
	if conf.PullRequests.Planned() {
		err = cfg.inTime(ctx, func(ctx context.Context) error { return e.planGroup(ctx, cfg, conf, l, m, st, got[0], &p) })
		switch {
		case err == nil:
		case l.Attempts < sayAttempts || ctx.Err() != nil || errors.Is(err, store.ErrFenced):
			return err
		default: // the queue waits for the status
			p.Failed, p.Targets = err.Error(), nil
		}
	} else {
		p.Refused = "pull requests of this repository are not planned"
	}
	s := p.status(e.publicURL())
	return e.tell(ctx, forgeMessage{Kind: tellStatus, Repository: conf.Name, Commit: s.Commit, Status: &s})
}

// planGroup plans the targets that a merge queue's group concerns.
func (e *Engine) planGroup(ctx context.Context, cfg *active, conf *config.Repository, l store.Lease, m mirrored, st store.RepositoryState, rev source.Revision, p *pull) error {
	ch, err := e.analyse(ctx, cfg, conf, m, st, st.Head, rev)
	if err != nil {
		return err
	}
	ch.lease, ch.actor, ch.trusted = l, "system:queue", true // whoever may merge has queued it
	p.Findings = ch.fresh
	if len(ch.targets)+len(ch.orphans) > maxPreviewTargets {
		p.Failed = fmt.Sprintf("it concerns %d targets, and at most %d are planned at once", len(ch.targets)+len(ch.orphans), maxPreviewTargets)
		return nil
	}
	p.Targets, err = e.planAll(ctx, ch)
	return err
}
