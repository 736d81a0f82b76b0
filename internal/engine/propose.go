package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// proposer answers the work of writing into one repository: live values that
// are written back, and promotions that come due by themselves.
type proposer struct {
	e     *Engine
	lease store.Lease
	repo  string
	index *repoIndex
	edits map[store.EditKind]map[string]store.Edit
	g     *ground
	next  time.Time // when something comes due by the clock
}

// lookAgain is how often open proposals are looked at.
const lookAgain = 10 * time.Minute

func (e *Engine) proposals(ctx context.Context, l store.Lease) store.Finish {
	done := store.Finish{Observed: l.Generation}
	if _, ok := e.cfg.Load().Repositories[l.Key]; !ok {
		done.Remove = true
		return done
	}
	ctx, cancel := context.WithTimeout(ctx, max(e.cfg.Load().Limits.FetchTimeout*2, 2*time.Minute))
	defer cancel()
	p := &proposer{e: e, lease: l, repo: l.Key}
	if err := p.run(ctx); err != nil {
		e.log.Warn("what trueup has to write into a repository could not be written", "repository", l.Key, "error", err)
		done.RetryAfter = e.backoff(l.Attempts)
		return done
	}
	if p.next.IsZero() {
		done.Remove = true
	}
	done.NextDue = p.next
	return done
}

func (p *proposer) run(ctx context.Context) error {
	st, err := p.e.store.Repository(ctx, p.repo)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.index, err = p.e.loadIndex(ctx, p.repo, st); err != nil {
		return err
	}
	list, err := p.e.store.Edits(ctx, p.repo)
	if err != nil {
		return err
	}
	p.edits = map[store.EditKind]map[string]store.Edit{store.LiveValues: {}, store.WrittenBack: {}, store.AutoPromotion: {},
		store.SeenVersions: {}, store.VersionUpdate: {}}
	for _, x := range list {
		p.edits[x.Kind][x.Target] = x
	}
	var errs []error
	for _, id := range sortedKeys(p.edits[store.LiveValues]) {
		errs = append(errs, p.told(ctx, store.WrittenBack, id, p.writeBack(ctx, id)))
	}
	for _, id := range sortedKeys(p.edits[store.WrittenBack]) {
		if _, still := p.edits[store.LiveValues][id]; !still {
			errs = append(errs, p.settled(ctx, id))
		}
	}
	errs = append(errs, p.promotions(ctx), p.updates(ctx))
	return errors.Join(errs...)
}

// told records what went wrong with one target, where people see it.
func (p *proposer) told(ctx context.Context, kind store.EditKind, id string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	x := p.edits[kind][id]
	x.Kind, x.Target, x.Repository = kind, id, p.repo
	if x.Error == err.Error() {
		return err
	}
	x.Error = err.Error()
	return errors.Join(fmt.Errorf("%s: %w", id, err), p.put(ctx, x))
}

func (p *proposer) put(ctx context.Context, x store.Edit) error {
	p.edits[x.Kind][x.Target] = x
	x.At = time.Time{}
	return p.e.store.PutEdit(ctx, p.lease.Fence, x)
}

func (p *proposer) drop(ctx context.Context, x store.Edit) error {
	delete(p.edits[x.Kind], x.Target)
	return p.e.store.DropEdit(ctx, p.lease.Fence, x.Kind, x.Target)
}

// wake makes sure that the work is looked at again by then.
func (p *proposer) wake(at time.Time) {
	if p.next.IsZero() || at.Before(p.next) {
		p.next = at
	}
}

// ground is fetched once for all that is written in one go.
func (p *proposer) ground(ctx context.Context) (*ground, error) {
	if p.g != nil {
		return p.g, nil
	}
	g, err := p.e.ground(ctx, p.repo)
	p.g = g
	return g, err
}

// writeBack brings one target's live values into Git, or proposes it.
func (p *proposer) writeBack(ctx context.Context, id string) error {
	live, was := p.edits[store.LiveValues][id], p.edits[store.WrittenBack][id]
	res := p.index.targets[id]
	if res == nil {
		return nil // it left Git; its next run, if there is one, says more
	}
	if len(res.WriteBack) == 0 {
		return p.drop(ctx, live)
	}
	var values []liveValue
	if err := json.Unmarshal(live.Values, &values); err != nil {
		return err
	}
	same := was.Digest == live.Digest
	if same && was.State == store.EditRefused {
		return nil
	}
	g, err := p.ground(ctx)
	if err != nil {
		return err
	}
	changes, err := p.e.liveChanges(ctx, g, res, values)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil // Git says the same by now; the target's next run finds nothing
	}
	if same && was.State != "" && was.State != store.EditFailed {
		stands, err := p.standing(ctx, &was)
		if err != nil || !stands {
			return err
		}
		// What is said already is not said again: the pull request may be closed
		// in this very moment, and must not be opened anew.
		if current, err := g.current(ctx, was.Branch, changes); err != nil || current {
			return err
		}
	}
	policy := "pullRequest"
	if env := p.e.cfg.Load().Environments[res.Environment]; env != nil {
		pol, _ := p.e.cfg.Load().policyOf(env)
		policy = pol.WriteBack
	}
	switch direct := direct(res, values); {
	case policy == "off":
		return errors.New("the operator has turned writing back off for this environment")
	case direct && policy != "commit":
		return errors.New("via: commit is not allowed by the operator's policy")
	case direct:
		return p.commitLive(ctx, res, live, values)
	}
	return p.proposeLive(ctx, res, live, changes)
}

// direct tells whether all fields may be committed without a pull request.
func direct(res *config.Resolved, values []liveValue) bool {
	for _, v := range values {
		if v.Index >= len(res.WriteBack) || res.WriteBack[v.Index].Via != "commit" {
			return false
		}
	}
	return true
}

// standing looks at what was made of these very values before. It tells
// whether the proposal is open and may be brought up to date. What was
// refused, closed or changed back is never proposed again.
func (p *proposer) standing(ctx context.Context, was *store.Edit) (bool, error) {
	switch was.State {
	case store.EditCommitted, store.EditMerged:
		// Git held these values and holds others now: somebody decided so.
		was.State = store.EditRefused
		return false, p.put(ctx, *was)
	case store.EditProposed:
		state, err := p.pullState(ctx, was.Number)
		if err != nil {
			return false, err
		}
		switch state {
		case "closed":
			was.State = store.EditRefused
			return false, errors.Join(p.put(ctx, *was), p.e.event(ctx, "system:writeback", "writeback.refused", was.Target, was.Run, map[string]any{"url": was.URL}))
		case "merged":
			was.State = store.EditMerged
			p.wake(p.e.clock().Add(time.Minute))
			return false, p.put(ctx, *was)
		}
		p.wake(p.e.clock().Add(lookAgain))
		return true, nil
	case store.EditPushed:
		p.wake(p.e.clock().Add(lookAgain))
	}
	return true, nil
}

func (p *proposer) pullState(ctx context.Context, number int) (string, error) {
	f, err := p.e.Forge(ctx, p.repo)
	if err != nil {
		return "", err
	}
	pr, err := f.PullRequest(ctx, number)
	if errors.Is(err, forge.ErrNotFound) {
		return "closed", nil
	}
	return pr.State, err
}

func (p *proposer) commitLive(ctx context.Context, res *config.Resolved, live store.Edit, values []liveValue) error {
	w, err := p.e.commitDirect(ctx, p.g, func(g *ground) (draft, error) {
		changes, err := p.e.liveChanges(ctx, g, res, values)
		return writeBackDraft(res, live, changes), err
	})
	if err != nil || w.Commit == "" {
		return err
	}
	p.g = nil // the branch has moved
	x := store.Edit{Kind: store.WrittenBack, Target: res.ID, Repository: p.repo, Digest: live.Digest, Values: live.Values, Run: live.Run, Since: live.Since,
		State: store.EditCommitted, Branch: w.Branch, Commit: w.Commit}
	if err := p.put(ctx, x); err != nil {
		return err
	}
	if err := p.e.event(ctx, "system:writeback", "writeback.committed", res.ID, live.Run, map[string]any{"commit": w.Commit, "branch": w.Branch, "changes": w.Changes}); err != nil {
		return err
	}
	return p.e.Poll(ctx, "system:writeback", p.repo)
}

func (p *proposer) proposeLive(ctx context.Context, res *config.Resolved, live store.Edit, changes []edit.Change) error {
	was := p.edits[store.WrittenBack][res.ID]
	w, err := p.e.propose(ctx, p.g, writeBackDraft(res, live, changes))
	if err != nil {
		return err
	}
	x := store.Edit{Kind: store.WrittenBack, Target: res.ID, Repository: p.repo, Digest: live.Digest, Values: live.Values, Run: live.Run, Since: live.Since,
		State: store.EditProposed, Branch: w.Branch, Commit: w.Commit, Number: w.Number, URL: w.URL}
	if w.Number == 0 {
		x.State = store.EditPushed
	}
	p.wake(p.e.clock().Add(lookAgain))
	if err := p.put(ctx, x); err != nil || was.Digest == x.Digest && was.Commit == x.Commit {
		return err
	}
	return p.e.event(ctx, "system:writeback", "writeback.proposed", res.ID, live.Run, map[string]any{"url": w.URL, "branch": w.Branch, "commit": w.Commit})
}

// settled ends a write-back whose values are gone: merged, or taken back by
// the environment itself. A refusal is kept, for the same values may return.
func (p *proposer) settled(ctx context.Context, id string) error {
	was := p.edits[store.WrittenBack][id]
	switch was.State {
	case store.EditRefused:
		return nil
	case store.EditProposed, store.EditPushed:
		g, err := p.ground(ctx)
		if err != nil {
			return err
		}
		state := "open"
		if was.Number != 0 {
			if state, err = p.pullState(ctx, was.Number); err != nil {
				return err
			}
		}
		if at, err := g.ours(ctx, was.Branch); err == nil && at != "" {
			if err := g.mirror.DropBranch(ctx, was.Branch, at); err != nil {
				return err
			}
		}
		if state == "open" && was.Number != 0 {
			f, err := p.e.Forge(ctx, p.repo)
			if err != nil {
				return err
			}
			if _, err := f.Add(ctx, was.Number, "The live values are what Git says again. There is nothing left to take over, and the branch is removed."); err != nil {
				return err
			}
		}
	}
	return p.drop(ctx, was)
}
