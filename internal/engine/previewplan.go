package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

const (
	// maxPreviewTargets bounds the targets that one pull request is planned for.
	maxPreviewTargets = 200
	// previewAtOnce is how many of them are planned at the same time.
	previewAtOnce = 4
)

// plan makes the merge result and plans the targets that it concerns.
func (p *previewing) plan(ctx context.Context, base string) error {
	rev, err := p.merge(ctx, base)
	if err != nil || p.Failed != "" {
		return err
	}
	p.Merge = rev.Commit
	pv, err := p.e.analyse(ctx, p.cfg, p.conf, p.mirror, p.repo, p.Base, rev)
	if err != nil {
		return err
	}
	p.Findings = pv.fresh
	if len(pv.targets)+len(pv.orphans) > maxPreviewTargets {
		p.Failed = fmt.Sprintf("it concerns %d targets, and at most %d are planned on one pull request", len(pv.targets)+len(pv.orphans), maxPreviewTargets)
		return nil
	}
	p.changed = pv
	p.fill(pv)
	pv.before = map[string]pullTarget{}
	for _, t := range p.before {
		if t.State == pullPlanned || t.State == pullNothing {
			pv.before[t.ID] = t
		}
	}
	p.Targets, err = p.e.planAll(ctx, pv)
	return err
}

// fill says who stands behind a change.
func (p *previewing) fill(c *change) {
	c.lease, c.superseded, c.trusted = p.lease, p.superseded, p.Vouched == p.Facts.HeadCommit
	info := p.f.Info()
	c.actor = store.Actor(info.Kind + ":" + p.Facts.Author)
	author := p.e.party(p.conf.Name, p.Facts.Author)
	if author.Actor != "" {
		c.actor = author.Actor
	}
	c.origin = &store.Origin{Forge: info.Kind, Noun: info.Noun, Number: p.rec.Number, Title: p.Facts.Title, URL: p.Facts.URL,
		Proposed: author, Requested: p.Requested, Labels: p.Facts.Labels, CommitURL: commitURL(info, p.Facts.HeadCommit)}
}

// base is the commit to merge with; "" is the base branch's own, as fetched.
func (p *previewing) base() string {
	if p.conf.Tags != "" {
		return ""
	}
	return p.repo.Head
}

// change is a merge result beside what is followed: which targets it would
// concern, and what is wrong with it.
type change struct {
	cfg      *active
	lease    store.Lease
	rev      source.Revision
	ref      string // what is followed
	snapshot *source.Snapshot
	targets  []*config.Resolved
	fresh    plan.Diagnostics // mistakes that the base does not have
	orphans  []*config.Resolved
	// coming are all targets as they would be, new and changed ones.
	coming  map[string]*config.Resolved
	renamed map[string]string // new id to the one it had
	// before are plans that stand as long as their inputs are the same.
	before map[string]pullTarget
	sponsor
	// superseded stops the planning when something newer waits; nil never does.
	superseded func(context.Context) error
}

// sponsor is who stands behind a change.
type sponsor struct {
	actor   store.Actor
	origin  *store.Origin
	trusted bool // to have code of the repository run
}

// analyse finds the targets that a commit would concern if it became what is
// followed, by the same steps as the intake. It stores nothing.
func (e *Engine) analyse(ctx context.Context, cfg *active, conf *config.Repository, m mirrored, st store.RepositoryState, base string, rev source.Revision) (*change, error) {
	index, err := e.previewIndex(ctx, conf.Name, st)
	if err != nil {
		return nil, err
	}
	known := st.Invalid
	st.Head = base
	rev.Ref = st.Ref
	in := intake{cfg: cfg, conf: conf, mirror: m, state: st, rev: rev, index: index,
		found: found{frozen: map[string]bool{}, put: map[string]*config.Resolved{}, orphan: map[string]bool{}, due: map[string]bool{}, mended: map[string]bool{}}}
	if in.snapshot, err = m.Snapshot(ctx, rev.Commit); err != nil {
		return nil, err
	}
	if in.changed, err = m.Changed(ctx, base, rev.Commit); err != nil {
		return nil, err
	}
	manifests, err := in.changedManifests(ctx)
	if err != nil {
		return nil, err
	}
	if err := in.resolve(ctx, e, manifests); err != nil {
		return nil, err
	}
	if err := in.concern(e.drivers); err != nil {
		return nil, err
	}
	c := &change{cfg: cfg, rev: rev, ref: st.Ref, snapshot: in.snapshot, coming: in.put, renamed: in.comeFrom()}
	for _, d := range in.invalid {
		if !slices.ContainsFunc(known, func(k plan.Diagnostic) bool { return k.File == d.File && k.Message == d.Message && k.Field == d.Field }) {
			c.fresh = append(c.fresh, d)
		}
	}
	var due []config.Resolved
	for _, id := range sortedKeys(in.due) {
		due = append(due, *in.put[id])
	}
	for _, r := range inOrder(due) {
		c.targets = append(c.targets, in.put[r.ID])
	}
	for _, id := range sortedKeys(in.orphan) {
		c.orphans = append(c.orphans, index.targets[id])
	}
	return c, nil
}

// comeFrom finds the targets that are the same under a new id, and takes the
// old ids off the list of orphans.
func (in *intake) comeFrom() map[string]string {
	out := map[string]string{}
	for _, id := range sortedKeys(in.put) {
		if in.index.targets[id] != nil {
			continue
		}
		for _, prev := range in.put[id].PreviousIDs {
			if in.orphan[prev] {
				out[id] = prev
				delete(in.orphan, prev)
				break
			}
		}
	}
	return out
}

// previewIndex gives an index that is never changed: the intake's own may be
// changing right now.
func (e *Engine) previewIndex(ctx context.Context, name string, st store.RepositoryState) (*repoIndex, error) {
	r := e.repos.get(name)
	r.mu.Lock()
	have := r.preview
	r.mu.Unlock()
	if have != nil && have.head == st.Head && have.configVer == st.ConfigVer {
		return have, nil
	}
	x, err := e.buildIndex(ctx, name, st)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.preview = x
	r.mu.Unlock()
	return x, nil
}

// planAll plans every target of a change, a few at the same time. What goes
// wrong with one is said of that one.
func (e *Engine) planAll(ctx context.Context, c *change) ([]pullTarget, error) {
	out := make([]pullTarget, len(c.targets))
	sem := make(chan struct{}, previewAtOnce)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var stop error
	stopped := func(err error) bool {
		mu.Lock()
		defer mu.Unlock()
		stop = cmp.Or(stop, err)
		return stop != nil || ctx.Err() != nil
	}
	for i, r := range c.targets {
		sem <- struct{}{}
		if stopped(nil) || c.superseded != nil && stopped(c.superseded(ctx)) {
			break
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-sem }()
			t, err := e.planOne(ctx, c, r)
			stopped(err)
			out[i] = t
		}()
	}
	wg.Wait()
	if stop == nil {
		stop = context.Cause(ctx)
	}
	for _, r := range c.orphans {
		t := pullTarget{ID: r.ID, Environment: r.Environment, Path: r.Path, State: pullOrphaned}
		if known, err := e.store.Target(ctx, r.ID); err == nil {
			t.Owned = known.Status.Owned
		}
		if r.OnRemove == "destroy" {
			t.Message = "a plan that removes all it owns will wait for an approval"
		}
		out = append(out, t)
	}
	return out, stop
}

// planOne plans one target as its run after the merge would. The error is for
// what ends the whole preview.
func (e *Engine) planOne(ctx context.Context, c *change, r *config.Resolved) (pullTarget, error) {
	t := pullTarget{ID: r.ID, Environment: r.Environment, Path: r.Path}
	j, err := e.previewJob(ctx, c, r, &t)
	if err == nil {
		defer j.disconnect()
		defer j.log.flush(ctx)
		err = j.previewPlan(ctx, &t, c.before[r.ID])
	}
	if err == nil && t.Run != "" {
		return t, nil // it stands as it was
	}
	switch {
	case err == nil:
	case errors.Is(err, store.ErrFenced) || ctx.Err() != nil:
		return t, err
	default:
		t.State, t.Message = pullFailed, err.Error()
		t.Retry = !driver.IsPermanent(err)
	}
	if j == nil || j.run.ID == "" || t.State == pullLeftOut || t.State == pullWaits {
		return t, nil
	}
	return t, j.endPreview(ctx, &t)
}

// previewJob makes the job that plans a target, with a session that reads.
func (e *Engine) previewJob(ctx context.Context, c *change, r *config.Resolved, t *pullTarget) (*job, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	j := &job{e: e, cfg: c.cfg, lease: c.lease, log: e.newRunLog()}
	j.coming, j.inventoryOf = c.coming, c.renamed[r.ID]
	j.target, err = e.store.Target(ctx, cmp.Or(j.inventoryOf, r.ID))
	if errors.Is(err, store.ErrNotFound) {
		j.target, t.New, err = store.Target{State: store.Active}, true, nil
	}
	if err != nil {
		return nil, err
	}
	t.LockedBy = j.target.Desired.Lock
	j.status = j.target.Status
	j.target.ID, j.target.Repository, j.target.Manifest, j.target.Name = r.ID, r.Repository, r.Manifest, r.Name
	j.target.Environment, j.target.Config = r.Environment, body
	j.desired = store.Desired{Commit: c.rev.Commit, Ref: c.ref, Source: "pull", At: e.clock()}
	if err := j.decode(body); err != nil {
		return j, err
	}
	j.purpose = driver.Read
	now := e.clock()
	j.run = store.Run{ID: newRunID(now), Target: r.ID, Environment: r.Environment, Repository: r.Repository, Commit: c.rev.Commit,
		Ref: c.ref, Class: store.ByPush, Cause: "pull", Actor: c.actor, Mode: j.mode, ConfigVer: c.cfg.version, State: store.RunPlanned, Started: now, Origin: c.origin}
	j.log.run = j.run.ID
	switch {
	case !j.policy.PullRequests.Planned():
		t.State, t.Message = pullLeftOut, fmt.Sprintf("the policy %s keeps its environments out of pull requests", j.policy.Name)
	case j.drv.Info().RunsRepositoryCode && !c.trusted:
		t.State = pullWaits
		t.Message = fmt.Sprintf("the driver %s runs code of the repository: somebody trusted has to look at the change and comment `trueup plan`, or approve it", j.env.Driver)
	default:
		j.view = c.snapshot.View(r.Path, r.Reads())
	}
	return j, nil
}

// previewPlan takes the target from snapshot to decision.
func (j *job) previewPlan(ctx context.Context, t *pullTarget, before pullTarget) error {
	if t.State != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.limits().PlanTimeout)
	defer cancel()
	var err error
	if j.viewID, err = j.view.ID(ctx); err != nil {
		return err
	}
	if err := j.computeDigest(ctx); err != nil {
		return err
	}
	if before.Run != "" && before.Digest == j.digest && before.New == t.New {
		before.LockedBy = t.LockedBy
		*t = before
		return nil
	}
	if err := j.prepare(ctx); err != nil {
		return err
	}
	if err := j.makePlan(ctx); err != nil {
		return err
	}
	t.Hash, t.Digest, t.Summary, t.Owned, t.State = j.hash, j.digest, j.plan.Summary(), len(j.input.Inventory), pullPlanned
	if j.plan.Empty() {
		t.State, t.Hash = pullNothing, ""
		return nil
	}
	if err := j.gates(ctx); err != nil {
		return err
	}
	t.Gate, t.Message, t.Approval = j.decision.Gate, j.decision.Message, j.approval
	return nil
}

// endPreview stores the run and its plan.
func (j *job) endPreview(ctx context.Context, t *pullTarget) error {
	j.run.Digest, j.run.PlanHash, j.run.Summary, j.run.Gate, j.run.Finished = t.Digest, t.Hash, t.Summary, string(t.Gate), j.e.clock()
	if t.State == pullFailed {
		j.run.Error = t.Message
	}
	t.Run = j.run.ID
	if err := j.e.store.PutRun(ctx, j.lease.Fence, j.run); err != nil {
		return err
	}
	if j.plan == nil {
		return nil
	}
	return j.e.store.PutPlan(ctx, j.lease.Fence, j.run.ID, j.hash, j.plan)
}
