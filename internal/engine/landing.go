package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// landings make the triggers that follow a commit in a repository with a
// forge: how it came to be is looked up, the open pull requests are looked at
// again, and the commit's status is told.
func (in *intake) landings() []store.Trigger {
	if in.conf.Forge == nil || in.state.Head == in.rev.Commit {
		return nil
	}
	at := func(what string, class store.Class) store.Trigger {
		return store.Trigger{Kind: store.Preview, Key: in.conf.Name + "#" + what, Slot: pullSlot(in.conf.Name), Class: class,
			Cause: "commit", Actor: in.actor, Commit: in.rev.Commit}
	}
	return []store.Trigger{at(landingWork+in.rev.Commit, store.ByPush), at(openWork, store.ByClock)}
}

// land remembers which targets a commit made due.
func (e *Engine) land(ctx context.Context, in *intake) error {
	if in.conf.Forge == nil || in.state.Head == in.rev.Commit {
		return nil
	}
	return e.store.PutLanding(ctx, in.fence, store.Landing{Repository: in.conf.Name, Commit: in.rev.Commit, Ref: in.rev.Ref,
		Before: in.state.Head, Targets: sortedKeys(in.due), Mistakes: len(in.invalid.Errors()), At: e.clock()})
}

// pendingLandings is how many commits are looked at again when a newer one
// lands.
const pendingLandings = 200

// mergeSettles is how long a forge may take to record a merge whose commit it
// has pushed already; until then a commit that no pull request brought may be
// one all the same.
const mergeSettles = 10 * time.Second

// settleWait is the first wait until the forge is asked again.
const settleWait = 500 * time.Millisecond

// landed finds out how a commit came to be, and has its outcome told. It asks
// to be called again while the forge may not know yet.
func (e *Engine) landed(ctx context.Context, conf *config.Repository, f forge.Forge, l store.Lease, commit string) (again time.Duration, err error) {
	land, err := e.store.Landing(ctx, conf.Name, commit)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := e.tellLandings(ctx, conf); err != nil {
		return 0, err
	}
	brought, err := e.store.LandedWith(ctx, conf.Name, commit)
	if err != nil {
		return 0, err
	}
	if land.Origin == nil || land.Origin.Number == 0 && len(brought) > 0 {
		o, sure, err := e.surelyOrigin(ctx, conf, f, commit)
		if err != nil {
			return 0, err
		}
		if !sure && e.clock().Sub(land.At) < mergeSettles {
			return settleWait << min(l.Attempts, 3), nil
		}
		if err := e.store.SetOrigin(ctx, l.Fence, conf.Name, commit, o); err != nil {
			return 0, err
		}
		land.Origin = &o
		if err := e.wakeWaiting(ctx, land); err != nil {
			return 0, err
		}
		if err := e.tell(ctx, forgeMessage{Kind: tellLanding, Repository: conf.Name, Commit: commit}); err != nil {
			return 0, err
		}
	}
	if err := e.originForRuns(ctx, l.Fence, land); err != nil {
		return 0, err
	}
	return 0, e.lookAtMerged(ctx, conf, land)
}

// tellLandings has the outcomes of the newest commits told: a newer one has
// taken targets over from the older ones.
func (e *Engine) tellLandings(ctx context.Context, conf *config.Repository) error {
	older, err := e.store.Landings(ctx, conf.Name, pendingLandings)
	if err != nil {
		return err
	}
	for _, o := range older {
		if !o.Final {
			if err := e.tell(ctx, forgeMessage{Kind: tellLanding, Repository: conf.Name, Commit: o.Commit}); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAtMerged has the pull requests looked at again that a commit may have
// brought.
func (e *Engine) lookAtMerged(ctx context.Context, conf *config.Repository, land store.Landing) error {
	numbers := map[int]bool{}
	if land.Origin != nil && land.Origin.Number > 0 {
		numbers[land.Origin.Number] = true
	}
	merged, err := e.store.Pulls(ctx, conf.Name, store.PullMerged)
	if err != nil {
		return err
	}
	const months = 90 * 24 * time.Hour
	for _, p := range merged {
		if p.Landed == "" && e.clock().Sub(p.UpdatedAt) < months {
			numbers[p.Number] = true
		}
	}
	for n := range numbers {
		if err := e.wantPull(ctx, conf.Name, n, store.ByPush, "merge", "system:pulls"); err != nil {
			return err
		}
	}
	return nil
}

// surelyOrigin asks the forge how a commit came to be. It is not sure of a
// direct push while there are open pull requests that it could belong to.
func (e *Engine) surelyOrigin(ctx context.Context, conf *config.Repository, f forge.Forge, commit string) (o store.Origin, sure bool, err error) {
	if o, err = e.lookUpOrigin(ctx, conf, f, commit); err != nil || o.Number > 0 {
		return o, true, err
	}
	open, err := f.Open(ctx)
	if err != nil {
		return o, false, fmt.Errorf("open pull requests: %w", err)
	}
	if len(open) > 0 {
		return o, false, nil
	}
	o, err = e.lookUpOrigin(ctx, conf, f, commit) // it may have been recorded between the two questions
	return o, true, err
}

// lookUpOrigin asks the forge how a commit came to be.
func (e *Engine) lookUpOrigin(ctx context.Context, conf *config.Repository, f forge.Forge, commit string) (store.Origin, error) {
	info := f.Info()
	o := store.Origin{Forge: info.Kind, Noun: info.Noun, CommitURL: commitURL(info, commit)}
	pr, err := f.MergedBy(ctx, commit)
	if errors.Is(err, forge.ErrNotFound) || errors.Is(err, forge.ErrUnsupported) {
		return o, nil // a direct push
	}
	if err != nil {
		return o, fmt.Errorf("who merged %.12s: %w", commit, err)
	}
	o.Number, o.Title, o.URL, o.Labels = pr.Number, pr.Title, pr.URL, pr.Labels
	o.Proposed, o.Merged = e.party(conf.Name, pr.Author), e.party(conf.Name, pr.MergedBy)
	reviews, err := f.Reviews(ctx, pr.Number)
	if err != nil && !errors.Is(err, forge.ErrUnsupported) {
		return o, fmt.Errorf("reviews of %d: %w", pr.Number, err)
	}
	for _, r := range reviews {
		if r.State == "approved" && !r.Stale {
			o.Approved = append(o.Approved, store.Assent{Party: e.party(conf.Name, r.User), Via: store.ByReview, Commit: r.Commit, URL: r.URL, At: r.At})
		}
	}
	_, p, _, err := e.loadPull(ctx, conf.Name, pr.Number)
	if err != nil {
		return o, err
	}
	o.Requested = p.Requested
	for _, a := range p.Assents {
		if a.Via != store.ByReview {
			o.Approved = append(o.Approved, a)
		}
	}
	return o, nil
}

// commitURL gives the page of a commit.
func commitURL(info forge.Info, commit string) string {
	if info.WebURL == "" {
		return ""
	}
	base := strings.TrimSuffix(info.WebURL, "/")
	switch info.Kind {
	case "gitlab":
		return base + "/-/commit/" + commit
	case "bitbucket", "bitbucketdc":
		return base + "/commits/" + commit
	}
	return base + "/commit/" + commit
}

// party is somebody with a login, and who that is to trueup.
func (e *Engine) party(repository, login string) store.Party {
	p := store.Party{Login: login}
	if who, err := e.people.OnForge(repository, login); err == nil && who.Known() {
		p.Actor = who.Actor
	}
	return p
}

// originForRuns gives the finished runs of a commit their origin; those that
// still run take it from the store when they end.
func (e *Engine) originForRuns(ctx context.Context, f store.Fence, land store.Landing) error {
	for _, id := range land.Targets {
		runs, _, err := e.store.Runs(ctx, store.RunFilter{Target: id, Since: land.At.Add(-time.Minute), Page: store.Page{Limit: 20}})
		if err != nil {
			return err
		}
		for _, r := range runs {
			if r.Commit != land.Commit || r.State == store.RunActive || reflect.DeepEqual(r.Origin, land.Origin) {
				continue
			}
			r.Origin = land.Origin
			if err := e.store.PutRun(ctx, f, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// origin gives how the run's commit came to be, as far as it is known by now:
// as the forge told, or, while it does not, the pull request on which this
// very plan was made.
func (j *job) origin(ctx context.Context) *store.Origin {
	if j.target.Repository == "" || j.desired.Commit == "" || j.desired.Source == "pull" {
		return j.run.Origin
	}
	if conf := j.cfg.Repositories[j.target.Repository]; conf == nil || conf.Forge == nil {
		return j.run.Origin
	}
	if j.desired.Source == "lock" {
		return j.e.originOfLock(ctx, j.desired.Lock)
	}
	if land, err := j.e.store.Landing(ctx, j.target.Repository, j.desired.Commit); err == nil && land.Origin != nil {
		return land.Origin
	}
	if j.run.Origin != nil || j.hash == "" {
		return j.run.Origin
	}
	_, id, err := j.e.store.PlanByHash(ctx, j.target.ID, j.hash)
	if err != nil {
		return nil
	}
	r, err := j.e.store.Run(ctx, id)
	if err != nil {
		return nil
	}
	return r.Origin
}

// originOfLock tells of the pull request that was applied before its merge.
func (e *Engine) originOfLock(ctx context.Context, lock string) *store.Origin {
	repository, _, number := splitKey(lock)
	_, p, known, err := e.loadPull(ctx, repository, number)
	if err != nil || !known {
		return nil
	}
	at, _ := e.cfg.Load().ForgeServer(repository)
	return &store.Origin{Forge: at.Kind, Number: number, Title: p.Facts.Title, URL: p.Facts.URL, Labels: p.Facts.Labels,
		Proposed: e.party(repository, p.Facts.Author), Requested: p.Requested, Approved: p.Assents}
}

// originWanted says that the rules ask for what only the forge can tell, and
// it has not yet: who proposed the change, and where. Nothing is let pass on a
// rule that could not know.
func (j *job) originWanted(ctx context.Context) string {
	if j.run.Origin != nil || !j.rules.NeedsProposal() || j.driftOnly() || j.undo || !j.plan.Writes() || j.mode == plan.Destroy {
		return ""
	}
	land, err := j.e.store.Landing(ctx, j.target.Repository, j.desired.Commit)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "" // it was there before the forge was set up
	case err != nil:
		return fmt.Sprintf("the record of the commit (%s)", err)
	case land.Origin == nil:
		return "the forge, which has not told yet how this commit came to be (a rule asks for that)"
	}
	return ""
}

// wakeWaiting looks again at the targets of a commit that wait for its origin.
func (e *Engine) wakeWaiting(ctx context.Context, land store.Landing) error {
	for _, id := range land.Targets {
		t, err := e.store.Target(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && t.Status.Gate != string(GateDependency) {
			continue
		}
		if err != nil {
			return err
		}
		// What caused the run that waits causes this one, too.
		cause := store.Caused{Cause: "merge", Actor: "system:pulls"}
		if r, err := e.store.Run(ctx, t.Status.Run); err == nil {
			cause = store.Caused{Cause: r.Cause, Actor: r.Actor}
		}
		if err := e.store.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: id, Slot: t.Environment, Class: store.ByPush,
			Cause: cause.Cause, Actor: cause.Actor, Commit: land.Commit}); err != nil {
			return err
		}
	}
	return nil
}

// tellForge has the outcome told where it can be seen: on the commit, or on
// the pull request that holds the target.
func (j *job) tellForge(ctx context.Context, prev, now store.Status) error {
	conf := j.cfg.Repositories[j.target.Repository]
	if conf == nil || conf.Forge == nil || j.correction {
		return nil
	}
	if prev.Phase == now.Phase && prev.Applied == now.Applied && prev.Message == now.Message && prev.Run == now.Run {
		return nil
	}
	if repository, _, number := splitKey(j.desired.Lock); number > 0 && j.desired.Source == "lock" {
		return j.e.tell(ctx, forgeMessage{Kind: tellPull, Repository: repository, Number: number})
	}
	land, err := j.e.store.Landing(ctx, j.target.Repository, j.desired.Commit)
	if errors.Is(err, store.ErrNotFound) || err == nil && land.Final {
		return nil
	}
	if err != nil {
		return err
	}
	return j.e.tell(ctx, forgeMessage{Kind: tellLanding, Repository: land.Repository, Commit: land.Commit})
}
