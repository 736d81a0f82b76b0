package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/identity"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// approve records an approval of a plan that is shown now. It counts for the
// merge as long as inputs and plan are equal then.
func (p *previewing) approve(ctx context.Context, c command) (string, error) {
	if p.rec.State == store.PullMerged {
		return p.approveHeld(ctx, c)
	}
	if p.Refused != "" || p.Planning {
		return "", refusef("there is no plan to approve")
	}
	chosen, err := p.chosen(c.arg)
	if err != nil {
		return "", err
	}
	if !chosen.hashed(c.arg) {
		if err := p.sawIt(ctx, c); err != nil {
			return "", err
		}
	}
	given := store.Assent{Party: store.Party{Login: c.who.Login}, Via: store.ByComment, Commit: p.Facts.HeadCommit, URL: c.comment.URL, At: c.comment.At}
	if c.who.Known() {
		given.Actor = c.who.Actor
		if err := c.who.May(auth.Approve, auth.Object{Environment: chosen.Environment, Target: chosen.ID}); err != nil {
			return "", refusef("%s", render.Code(err.Error()))
		}
	}
	a := p.approval(c.who, given)
	why, err := p.counts(ctx, chosen, a)
	if err != nil {
		return "", err
	}
	if why != nil {
		return "", refusef("%s", render.Code(why.Error()))
	}
	if err := p.record(ctx, chosen, a, given); err != nil {
		return "", err
	}
	if chosen.Approval.Missing != "" {
		return fmt.Sprintf("Approved plan %s of %s; it still %s.", render.Code(chosen.Hash[:12]), render.Code(chosen.ID), render.Code(chosen.Approval.Missing)), nil
	}
	return fmt.Sprintf("Approved plan %s of %s. The approval stands as long as the plan stays what it is.", render.Code(chosen.Hash[:12]), render.Code(chosen.ID)), nil
}

// sawIt refuses a command that does not name a plan by its hash when the plans
// were others, or not there yet, when it was written.
func (p *previewing) sawIt(ctx context.Context, c command) error {
	shown, err := p.shownPlans(ctx)
	if err != nil {
		return err
	}
	if !p.after(c, shown) {
		return refusef("the plan has changed since, or was not there yet: look at it again")
	}
	return nil
}

// shownPlans gives when the plans that stand now came to be shown; the zero
// value is not yet.
func (p *previewing) shownPlans(ctx context.Context) (store.Said, error) {
	shown, err := p.e.store.Said(ctx, p.conf.Name, fmt.Sprintf("shown/%d", p.rec.Number))
	if key := p.plansKey(); errors.Is(err, store.ErrNotFound) || err == nil && (key == "" || shown.Hash != key) {
		return store.Said{}, nil
	}
	return shown, err
}

// after tells whether a comment was written after the plans were shown: by the
// order of the comments, which is the forge's and needs no clocks; by time
// where the comment that came before the plans is gone.
func (p *previewing) after(c command, shown store.Said) bool {
	last, there := p.order[shown.ID]
	switch {
	case shown.Hash == "":
		return false
	case shown.ID == "":
		return true
	case there:
		return p.order[c.comment.ID] > last
	}
	return c.comment.At.After(shown.At)
}

// approveHeld approves the plan of a run that is held after the merge.
func (p *previewing) approveHeld(ctx context.Context, c command) (string, error) {
	var waiting []*pullTarget
	for _, id := range p.ids() {
		t, err := p.e.store.Target(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if len(t.Status.PlanHash) > 12 {
			waiting = append(waiting, &pullTarget{ID: id, Environment: t.Environment, Hash: t.Status.PlanHash})
		}
	}
	chosen, err := choose(waiting, c.arg)
	if err != nil {
		return "", err
	}
	if !chosen.hashed(c.arg) {
		// What waits under a name may be a later commit's plan, which nobody has
		// looked at here.
		return "", refusef("after the merge a plan is approved by its hash: look at it (%s), then %s",
			render.Code("trueup show "+chosen.ID), planChoices([]*pullTarget{chosen}))
	}
	by, err := p.e.ApproverOnForge(p.conf.Name, c.comment.Author, chosen.Environment, c.comment.URL)
	if err == nil {
		_, err = p.e.Approve(ctx, by, chosen.ID, chosen.Hash, p.f.Info().Noun+" "+pullKey(p.conf.Name, p.rec.Number))
	}
	if errors.Is(err, auth.ErrDenied) {
		return "", refusef("%s", render.Code(err.Error()))
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Approved plan %s of %s.", render.Code(chosen.Hash[:12]), render.Code(chosen.ID)), nil
}

// chosen finds the plan that is meant among those that are shown.
func (p *previewing) chosen(arg string) (*pullTarget, error) {
	var waiting []*pullTarget
	for i := range p.Targets {
		if t := &p.Targets[i]; t.State == pullPlanned && len(t.Hash) > 12 {
			waiting = append(waiting, t)
		}
	}
	return choose(waiting, arg)
}

func (p *previewing) approval(who identity.Person, given store.Assent) store.Approval {
	return store.Approval{ID: newRunID(p.e.clock()), Approved: true, Actor: who.Actor, Teams: who.Teams(), Reason: p.f.Info().Noun + " " + pullKey(p.conf.Name, p.rec.Number),
		At: p.e.clock(), Via: given.Via, URL: given.URL, Login: given.Login, Commit: given.Commit, Pull: p.rec.Number}
}

// counts says why an approval would not count, nil if it would.
func (p *previewing) counts(ctx context.Context, t *pullTarget, a store.Approval) (why, err error) {
	pl, _, err := p.e.store.Plan(ctx, t.Run)
	if err != nil {
		return nil, fmt.Errorf("plan %.12s: %w", t.Hash, err)
	}
	a.Target, a.Digest, a.PlanHash = t.ID, t.Digest, t.Hash
	j, err := p.jobOf(ctx, t)
	if err != nil {
		return nil, err
	}
	j.plan, j.hash, j.digest = pl, t.Hash, t.Digest
	given, err := p.e.store.Approvals(ctx, t.ID, t.Digest, t.Hash)
	if err != nil {
		return nil, err
	}
	forced, _ := j.forced()
	return j.rules.Counts(pl, j.policyFacts(ctx), given, forced, a), nil
}

// jobOf makes the job of a target that was planned, to ask its rules again.
func (p *previewing) jobOf(ctx context.Context, t *pullTarget) (*job, error) {
	ch, err := p.analysed(ctx)
	if err != nil {
		return nil, err
	}
	r := ch.coming[t.ID]
	if r == nil {
		return nil, refusef("the target %s is no longer concerned", render.Code(t.ID))
	}
	j, err := p.e.previewJob(ctx, ch, r, &pullTarget{})
	if err != nil {
		return nil, err
	}
	if j.input.Inventory, err = p.e.store.Owned(ctx, first(j.inventoryOf, t.ID)); err != nil {
		return nil, err
	}
	j.input.Now = p.e.clock()
	return j, nil
}

// record keeps an approval, and looks at the gates again.
func (p *previewing) record(ctx context.Context, t *pullTarget, a store.Approval, given store.Assent) error {
	a.Target, a.Digest, a.PlanHash = t.ID, t.Digest, t.Hash
	have, err := p.e.store.Approvals(ctx, t.ID, t.Digest, t.Hash)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(have, func(h store.Approval) bool {
		return h.Actor == a.Actor && h.URL == a.URL && h.Approved == a.Approved && h.Via == a.Via
	}) {
		if err := p.e.store.AddApproval(ctx, a); err != nil {
			return err
		}
	}
	if a.Approved && !slices.ContainsFunc(p.Assents, func(x store.Assent) bool { return x.Login == given.Login && x.URL == given.URL }) {
		p.Assents = append(p.Assents, given)
	}
	if err := p.regate(ctx, t); err != nil {
		return err
	}
	if err := p.wake(ctx, t); err != nil {
		return err
	}
	return p.save(ctx)
}

// wake has a target that waits for exactly this plan look at it again.
func (p *previewing) wake(ctx context.Context, t *pullTarget) error {
	known, err := p.e.store.Target(ctx, t.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && known.Status.PlanHash != t.Hash {
		return nil
	}
	if err != nil {
		return err
	}
	return p.e.request(ctx, store.Actor("system:pulls"), known, "approval", request{Mode: plan.Apply, First: p.e.firstCause(ctx, known)})
}

// regate asks the gates again about a plan that is stored.
func (p *previewing) regate(ctx context.Context, t *pullTarget) error {
	j, err := p.jobOf(ctx, t)
	if err != nil {
		return err
	}
	if j.plan, _, err = p.e.store.Plan(ctx, t.Run); err != nil {
		return err
	}
	j.hash, j.digest = t.Hash, t.Digest
	if err := j.gates(ctx); err != nil {
		return err
	}
	t.Gate, t.Message, t.Approval = j.decision.Gate, j.decision.Message, j.approval
	return nil
}

// analysed analyses the merge result once more, once for each look.
func (p *previewing) analysed(ctx context.Context) (*change, error) {
	if p.changed != nil {
		return p.changed, nil
	}
	rev, err := p.merge(ctx, p.base())
	if err != nil {
		return nil, err
	}
	if p.Failed != "" || rev.Commit != p.Merge {
		return nil, refusef("the plan was superseded just now")
	}
	p.changed, err = p.e.analyse(ctx, p.cfg, p.conf, p.mirror, p.repo, p.Base, rev)
	if err == nil {
		p.fill(p.changed)
	}
	return p.changed, err
}

// reviews turn the forge's reviews of the head into decisions on the plans
// that were shown when they were given. Whether the rules count them is up to
// the rules.
func (p *previewing) reviews(ctx context.Context) error {
	shown, err := p.shownPlans(ctx)
	if err != nil || shown.Hash == "" {
		return err
	}
	all, err := p.headReviews(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.At.Before(shown.At.Truncate(time.Second)) || r.State != "approved" && r.State != "rejected" {
			continue
		}
		if err := p.review(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// review records one review for every plan that is shown.
func (p *previewing) review(ctx context.Context, r forge.Review) error {
	subject := "review/" + hashOf(p.rec.Number, r.User, r.State, r.Commit, r.At.Unix(), p.plansKey())
	if _, err := p.e.store.Said(ctx, p.conf.Name, subject); err == nil {
		return nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	who, err := p.e.people.OnForge(p.conf.Name, r.User)
	if err != nil {
		return nil //nolint:nilerr // nobody's review counts for nothing
	}
	given := store.Assent{Party: store.Party{Login: r.User}, Via: store.ByReview, Commit: r.Commit, URL: r.URL, At: r.At}
	if who.Known() {
		given.Actor = who.Actor
	}
	for i := range p.Targets {
		t := &p.Targets[i]
		if t.State != pullPlanned || t.Hash == "" {
			continue
		}
		if who.Known() && who.May(auth.Approve, auth.Object{Environment: t.Environment, Target: t.ID}) != nil {
			continue
		}
		a := p.approval(who, given)
		if a.Approved = r.State == "approved"; !a.Approved && !who.Known() {
			continue // anybody may ask for changes; holding a run takes a right here
		}
		if err := p.record(ctx, t, a, given); err != nil {
			return err
		}
	}
	return p.e.store.Say(ctx, p.lease.Fence, p.conf.Name, subject, store.Said{Hash: r.State})
}

// headReviews gives the reviews that are about the head as it is.
func (p *previewing) headReviews(ctx context.Context) ([]forge.Review, error) {
	all, err := p.f.Reviews(ctx, p.rec.Number)
	if errors.Is(err, forge.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reviews: %w", err)
	}
	return slices.DeleteFunc(all, func(r forge.Review) bool {
		return r.Stale || r.Commit != "" && r.Commit != p.Facts.HeadCommit
	}), nil
}

// approvers are the people who approved the head on the forge. A review that
// names no commit is about what was shown when it was given: forges that leave
// approvals standing after a push say nothing about the new head.
func (p *previewing) approvers(ctx context.Context, shown store.Said) ([]identity.Person, error) {
	all, err := p.headReviews(ctx)
	if err != nil {
		return nil, err
	}
	var out []identity.Person
	for _, r := range all {
		if r.State != "approved" || r.Commit == "" && (shown.Hash == "" || r.At.Before(shown.At.Truncate(time.Second))) {
			continue
		}
		if who, err := p.e.people.OnForge(p.conf.Name, r.User); err == nil {
			out = append(out, who)
		}
	}
	return out, nil
}
