package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// promotions proposes what has been healthy for long enough.
func (p *proposer) promotions(ctx context.Context) error {
	var errs []error
	for _, id := range sortedKeys(p.index.targets) {
		if r := p.index.targets[id]; r.Promote != nil && r.Promote.After > 0 {
			errs = append(errs, p.told(ctx, store.AutoPromotion, id, p.promotion(ctx, id)))
		}
	}
	for _, id := range sortedKeys(p.edits[store.AutoPromotion]) {
		if r := p.index.targets[id]; r == nil || r.Promote == nil || r.Promote.After == 0 {
			errs = append(errs, p.drop(ctx, p.edits[store.AutoPromotion][id]))
		}
	}
	return errors.Join(errs...)
}

// promotion looks at one target. The clock runs while the target that it
// promotes from is verified and healthy with the same versions, and starts
// anew when it is not.
func (p *proposer) promotion(ctx context.Context, id string) error {
	res, rec := p.index.targets[id], p.edits[store.AutoPromotion][id]
	src, err := p.e.store.Target(ctx, res.Promote.From)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	healthy := src.State == store.Active && src.Status.Phase == store.Synced && src.Status.Good != "" && src.Status.Good == src.Status.Applied &&
		src.Desired.Commit == src.Status.Good && src.Desired.Source != "pin" && src.Desired.Source != "lock"
	x := promotable{Promotable: edit.Promotable{Target: id, Environment: res.Environment, From: src.ID, FromEnv: src.Environment}, repository: p.repo, res: res}
	if !healthy {
		if rec.State == store.EditWaiting {
			return p.drop(ctx, rec)
		}
		return nil
	}
	g, err := p.ground(ctx)
	if err != nil {
		return err
	}
	if err := p.e.compareVersions(ctx, map[string]*ground{p.repo: g}, &x, src); err != nil {
		return err
	}
	var wants []string
	for _, f := range x.Fields {
		wants = append(wants, f.Want.Text)
	}
	body, err := json.Marshal(wants)
	if err != nil {
		return err
	}
	digest := digestOf(body)
	if len(x.Changes()) == 0 {
		if rec.Kind == "" || rec.State == store.EditRefused && rec.Digest == digest {
			return nil
		}
		return p.drop(ctx, rec)
	}
	if rec.Digest != digest {
		rec = store.Edit{Kind: store.AutoPromotion, Target: id, Repository: p.repo, Digest: digest, Values: body, Run: src.Status.Run, Since: p.e.clock(), State: store.EditWaiting}
		if err := p.put(ctx, rec); err != nil {
			return err
		}
	}
	return p.promoteDue(ctx, &x, rec, src)
}

// promoteDue proposes when the period is over.
func (p *proposer) promoteDue(ctx context.Context, x *promotable, rec store.Edit, src store.Target) error {
	due := rec.Since.Add(x.res.Promote.After)
	switch now := p.e.clock(); {
	case rec.State == store.EditRefused:
		return nil
	case rec.State == store.EditProposed:
		state, err := p.pullState(ctx, rec.Number)
		if err != nil {
			return err
		}
		if state == "closed" {
			rec.State = store.EditRefused
			return errors.Join(p.put(ctx, rec), p.e.event(ctx, "system:promotion", "promotion.refused", x.Target, "", map[string]any{"url": rec.URL}))
		}
		p.wake(now.Add(lookAgain))
		return nil
	case rec.State == store.EditPushed:
		p.wake(now.Add(lookAgain))
		return nil
	case now.Before(due):
		p.wake(due)
		return nil
	}
	o := edit.Promotion{From: src.Environment, To: x.Environment, Only: []string{x.Target},
		Reason: fmt.Sprintf("healthy in %s since %s", src.Environment, rec.Since.UTC().Format(time.RFC3339))}
	w, err := p.e.promoteIn(ctx, "system:promotion", p.g, []promotable{*x}, o)
	if err != nil {
		return err
	}
	rec.State, rec.Branch, rec.Commit, rec.Number, rec.URL, rec.Error = store.EditProposed, w.Branch, w.Commit, w.Number, w.URL, ""
	if w.Number == 0 {
		rec.State = store.EditPushed
	}
	p.wake(p.e.clock().Add(lookAgain))
	return p.put(ctx, rec)
}

// watchPromotions asks for the work on promotions when a target that others
// promote from became healthy, stopped to be, or has another commit.
func (j *job) watchPromotions(ctx context.Context, prev, now store.Status) error {
	if prev.Phase == now.Phase && prev.Good == now.Good {
		return nil
	}
	r := j.e.repos.get(j.target.Repository)
	r.mu.Lock()
	watched := r.index != nil && r.index.promotes[j.target.ID]
	r.mu.Unlock()
	if !watched {
		return nil
	}
	return j.e.wantProposals(ctx, j.target.Repository, store.ByClock, "promotion", "system:promotion")
}
