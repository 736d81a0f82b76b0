package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/git"
	"trueup.dev/trueup/internal/store"
)

// apply puts the merge result in force before the merge, for targets that the
// operator allows it for. They stay locked to it until merge or close; the
// gates hold as they do for any run.
func (p *previewing) apply(ctx context.Context, c command) (string, error) {
	if err := p.mayApply(); err != nil {
		return "", err
	}
	if err := p.sawIt(ctx, c); err != nil {
		return "", err
	}
	var chosen []*pullTarget
	var no []string
	for i := range p.Targets {
		t := &p.Targets[i]
		if c.arg != "" && t != p.target(c.arg) {
			continue
		}
		if why := p.notBefore(t); why != "" {
			no = append(no, render.Code(t.ID)+": "+why)
			continue
		}
		chosen = append(chosen, t)
	}
	if len(chosen) == 0 && len(no) == 0 {
		return "", refusef("there is nothing to apply")
	}
	if len(no) > 0 {
		// All or nothing: half of a change is none that anybody reviewed.
		return "", refusef("nothing was applied:\n\n- %s", strings.Join(no, "\n- "))
	}
	ch, err := p.analysed(ctx)
	if err != nil {
		return "", err
	}
	if err := p.unlocked(ctx, chosen); err != nil {
		return "", err
	}
	var ids []string
	for _, t := range chosen {
		ids = append(ids, render.Code(t.ID))
		if !slices.Contains(p.Locks, t.ID) {
			p.Locks = append(p.Locks, t.ID)
		}
	}
	// The record comes first: a lock that is not there is easily given back.
	if err := p.save(ctx); err != nil {
		return "", err
	}
	for _, t := range chosen {
		if err := p.lock(ctx, ch, t, c); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("Applying %s to %s. Locked until merge or close.", render.Code(render.Short(p.Merge)), strings.Join(ids, ", ")), nil
}

// unlocked refuses targets that another pull request holds by now: who held
// them when the plan was made may have changed since.
func (p *previewing) unlocked(ctx context.Context, chosen []*pullTarget) error {
	var no []string
	for _, t := range chosen {
		known, err := p.e.store.Target(ctx, t.ID)
		if err != nil {
			return err
		}
		if t.LockedBy = known.Desired.Lock; t.LockedBy != "" && t.LockedBy != pullKey(p.conf.Name, p.rec.Number) {
			no = append(no, render.Code(t.ID)+": it is locked by "+render.Code(t.LockedBy))
		}
	}
	if len(no) > 0 {
		return refusef("nothing was applied:\n\n- %s", strings.Join(no, "\n- "))
	}
	return nil
}

func (p *previewing) mayApply() error {
	switch {
	case !p.conf.PullRequests.ApplyBeforeMerge:
		return refusef("the operator does not allow applying before the merge here")
	case p.conf.Signatures != nil:
		return refusef("what is applied here must be signed, and a merge result is not: it counts from the merge")
	case p.Refused != "":
		return refusef("this %s is not planned: %s", p.f.Info().Noun, render.Code(p.Refused))
	case p.Failed != "" || p.Planning:
		return refusef("there is no plan to apply")
	case len(p.Findings.Errors()) > 0:
		return refusef("there are mistakes in the configuration")
	case p.Facts.Draft:
		return refusef("this is a draft")
	}
	return nil
}

// notBefore says why a target can't be applied before the merge.
func (p *previewing) notBefore(t *pullTarget) string {
	env := p.cfg.Environments[t.Environment]
	switch {
	case env == nil:
		return "its environment is not in the operator's configuration"
	case t.State == pullNothing:
		return "it is as desired already"
	case t.State == pullOrphaned:
		return "it leaves Git, and that counts from the merge"
	case t.State != pullPlanned:
		return "there is no plan for it"
	case t.refused():
		return "its plan is refused"
	case t.New:
		return "it is new: it counts from the merge"
	}
	if pol, _ := p.cfg.policyOf(env); !pol.PullRequests.Applied() {
		return "its policy does not allow applying before the merge"
	}
	return ""
}

// lock makes the merge result the target's desired record. Its inputs and its
// configuration are kept in the store: the commit is on no branch.
func (p *previewing) lock(ctx context.Context, ch *change, t *pullTarget, c command) error {
	r := ch.coming[t.ID]
	if r == nil {
		return refusef("the target %s is no longer concerned", render.Code(t.ID))
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	view := ch.snapshot.View(r.Path, r.Reads())
	if err := view.Prefetch(ctx); err != nil {
		return err
	}
	entries, err := view.Save(ctx, kept{ctx, p.e.store})
	if err != nil {
		return err
	}
	listing, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	state := store.KeptState{Commit: p.Merge, Kind: "approved", Listing: listing, Config: body, At: p.e.clock()}
	if err := p.e.store.KeepState(ctx, p.lease.Fence, t.ID, state, keepStates); err != nil {
		return err
	}
	key := pullKey(p.conf.Name, p.rec.Number)
	d := store.Desired{Commit: p.Merge, Ref: p.Ref, Source: "lock", Lock: key, Actor: c.who.Actor, At: p.e.clock()}
	if err := p.e.store.SetDesired(ctx, t.ID, d); errors.Is(err, store.ErrConflict) {
		return refusef("%s", render.Code(err.Error()))
	} else if err != nil {
		return err
	}
	t.LockedBy = key
	if err := p.e.event(ctx, c.who.Actor, "target.locked", t.ID, "", map[string]any{"pull": key, "commit": p.Merge, "url": c.comment.URL}); err != nil {
		return err
	}
	known, err := p.e.store.Target(ctx, t.ID)
	if err != nil {
		return err
	}
	return p.e.request(ctx, c.who.Actor, known, "pull", request{Mode: plan.Apply})
}

// unlockCommand gives back the pull request's own locks.
func (p *previewing) unlockCommand(ctx context.Context, c command) (string, error) {
	if len(p.Locks) == 0 {
		return "", refusef("this %s holds no lock", p.f.Info().Noun)
	}
	n := len(p.Locks)
	if err := p.unlock(ctx, c.who.Actor); err != nil {
		return "", err
	}
	return fmt.Sprintf("Gave back %s. What %s says is in force again, planned like any change.", counted(n, "lock"), render.Code(p.Facts.Base)), nil
}

// unlock puts what the repository says in force again for every target that
// this pull request holds.
func (p *previewing) unlock(ctx context.Context, by store.Actor) error {
	key := pullKey(p.conf.Name, p.rec.Number)
	for _, id := range p.Locks {
		t, err := p.e.store.Target(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && (t.Desired.Source != "lock" || t.Desired.Lock != key) {
			continue
		}
		if err != nil {
			return err
		}
		d, err := p.follow(ctx, id, by)
		if err != nil {
			return err
		}
		if err := p.e.event(ctx, by, "target.unlocked", id, "", map[string]any{"pull": key, "commit": d.Commit}); err != nil {
			return err
		}
		// Not a person's wish: what follows passes the gates like any change.
		if err := p.e.store.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: id, Slot: t.Environment, Class: store.ByPush,
			Cause: "unlock", Actor: by, Commit: d.Commit}); err != nil {
			return err
		}
		if x := p.target(id); x != nil {
			x.LockedBy = ""
		}
	}
	p.Locks = nil
	return p.save(ctx)
}

// originOf has a commit's origin looked up again that was taken for a direct
// push before the forge had recorded the merge.
func (p *previewing) originOf(ctx context.Context, l store.Landing) error {
	if l.Origin == nil || l.Origin.Number > 0 {
		return nil
	}
	if err := p.save(ctx); err != nil {
		return err
	}
	return p.e.store.Trigger(ctx, store.Trigger{Kind: store.Preview, Key: p.conf.Name + "#" + landingWork + l.Commit, Slot: pullSlot(p.conf.Name),
		Class: store.ByPush, Cause: "merge", Actor: "system:pulls", Commit: l.Commit})
}

// follow lets a target follow its repository again. The poll leaves a locked
// target's commit alone, so it is looked at twice whether the head has moved.
func (p *previewing) follow(ctx context.Context, id string, by store.Actor) (store.Desired, error) {
	var d store.Desired
	for {
		now, err := p.e.store.Repository(ctx, p.conf.Name)
		if err != nil || now.Head == d.Commit {
			return d, err
		}
		d = store.Desired{Commit: now.Head, Ref: now.Ref, Source: followedBy(p.conf), Actor: by, At: p.e.clock()}
		if err := p.e.store.SetDesired(ctx, id, d); err != nil {
			return d, err
		}
	}
}

// takenIn tells whether what is taken in has reached a commit that landed: the
// landing is recorded a moment before.
func (p *previewing) takenIn(ctx context.Context, m *git.Mirror, commit string) (bool, error) {
	now, err := p.e.store.Repository(ctx, p.conf.Name)
	if err != nil {
		return false, err
	}
	return m.IsAncestor(ctx, commit, now.Head)
}

// landAttempts is how often a merged pull request is looked at while its merge
// commit has not been taken in.
const landAttempts = 10

// ended looks at a pull request that was merged or closed.
func (p *previewing) ended(ctx context.Context, facts forge.PullRequest) error {
	p.Facts, p.Planning = facts, false
	p.rec.Head, p.rec.UpdatedAt, p.rec.State = facts.HeadCommit, facts.UpdatedAt, store.PullClosed
	if facts.State == "merged" {
		p.rec.State = store.PullMerged
		if err := p.findLanding(ctx); err != nil {
			return err
		}
	}
	if err := p.carryOutEnded(ctx); err != nil {
		return err
	}
	if p.again > 0 {
		return p.save(ctx)
	}
	if len(p.Locks) > 0 {
		if err := p.unlock(ctx, "system:pulls"); err != nil {
			return err
		}
	}
	m, err := p.e.mirror(ctx, p.conf.Name)
	if err == nil {
		err = m.DropAside(ctx, fmt.Sprintf("pull/%d", p.rec.Number))
	}
	if err != nil {
		p.e.log.Warn("the refs of a pull request could not be dropped", "pull", p.lease.Key, "error", err)
	}
	return p.save(ctx)
}

// carryOutEnded refuses the commands that came too late.
func (p *previewing) carryOutEnded(ctx context.Context) error {
	for i := range p.comments {
		c := &p.comments[i]
		late := c.verb != "help" && (c.verb != "approve" || p.rec.State != store.PullMerged)
		if c.allowed == nil && late {
			c.allowed = fmt.Errorf("the %s is %s", p.f.Info().Noun, p.Facts.State)
		}
	}
	return p.carryOut(ctx)
}

// findLanding finds the commit of the followed branch or tag that brought the
// merge. Until there is one, it looks again; a tag may come much later, and
// has the pull request looked at when it does.
func (p *previewing) findLanding(ctx context.Context) error {
	if p.rec.Landed != "" || p.Facts.MergeCommit == "" || p.Refused != "" && len(p.Targets) == 0 && len(p.Locks) == 0 {
		return nil
	}
	m, err := p.e.mirror(ctx, p.conf.Name)
	if err != nil {
		return err
	}
	lands, err := p.e.store.Landings(ctx, p.conf.Name, 100)
	if err != nil {
		return err
	}
	for _, l := range slices.Backward(lands) { // the oldest first
		ok, err := m.IsAncestor(ctx, p.Facts.MergeCommit, l.Commit)
		if err != nil && !errors.Is(err, source.ErrNoRef) && !errors.Is(err, source.ErrCorrupt) {
			break // the merge commit is not here yet
		}
		if !ok {
			continue
		}
		in, err := p.takenIn(ctx, m, l.Commit)
		if err != nil {
			return err
		}
		if !in && p.lease.Attempts < landAttempts {
			p.again = settleWait
			return nil
		}
		p.rec.Landed = l.Commit
		return p.originOf(ctx, l)
	}
	if p.conf.Tags != "" || p.lease.Attempts >= landAttempts {
		return nil
	}
	p.again = p.e.backoff(p.lease.Attempts)
	return p.e.Poll(ctx, "system:pulls", p.conf.Name)
}
