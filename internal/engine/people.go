package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/codeowners"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/identity"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// policyFacts gathers what approval rules may know of this plan.
func (j *job) policyFacts(ctx context.Context) policy.Facts {
	actor, cause := j.run.Actor, j.run.Cause
	if f := j.run.First; f != nil {
		actor, cause = f.Actor, f.Cause
	}
	f := policy.Facts{Target: *j.res, Actor: string(actor), Cause: cause, Now: j.input.Now, Driver: j.env.Driver,
		Proposal: j.proposal(ctx), People: peopleOf{ctx, j.e, j.res.Repository}}
	if name, ok := strings.CutPrefix(string(actor), "user:"); ok {
		if u := j.cfg.Users[name]; u != nil {
			f.Teams = u.Teams
		}
	}
	if j.rules.NeedsOwners() {
		f.Owners = j.codeOwners(ctx)
	}
	return f
}

// proposal gives the pull requests behind the plan: the run's own, and those
// whose changes to this target were merged and never applied since.
func (j *job) proposal(ctx context.Context) policy.Proposal {
	own := policy.ProposalOf(j.run.Origin)
	conf := j.cfg.Repositories[j.res.Repository]
	if conf == nil || conf.Forge == nil || !j.rules.NeedsProposal() {
		return own
	}
	var parts []policy.Proposal
	if j.run.Origin != nil && j.desired.Source == "pull" {
		parts = append(parts, own)
	}
	// Mostly the newest few commits tell; the lists of old ones may be long.
	for _, most := range []int{8, 64, 512} {
		waiting, all, err := j.waitingProposals(ctx, own, most)
		if err != nil {
			j.log.Logf("who proposed the change is not known: %v", err)
			waiting, all = []policy.Proposal{unknownProposal}, true
		}
		if all || most == 512 {
			parts = append(parts, waiting...)
			break
		}
	}
	if len(parts) == 0 {
		return own
	}
	sum := parts[0]
	for _, p := range parts[1:] {
		sum = sum.And(p)
	}
	return sum
}

// unknownProposal is by somebody who is not known.
var unknownProposal = policy.Proposal{Authors: []policy.Author{{}}}

// waitingProposals gives the proposals among the newest commits that concern
// the target and were not applied, and whether these are all.
func (j *job) waitingProposals(ctx context.Context, own policy.Proposal, most int) (out []policy.Proposal, all bool, err error) {
	landings, err := j.e.store.Landings(ctx, j.res.Repository, most)
	if err != nil {
		return nil, false, err
	}
	for _, l := range landings {
		if !slices.Contains(l.Targets, j.target.ID) {
			continue
		}
		if j.wasApplied(ctx, l.Commit) {
			return out, true, nil
		}
		switch {
		case l.Origin != nil:
			out = append(out, policy.ProposalOf(l.Origin))
		case l.Commit == j.desired.Commit && j.run.Origin != nil:
			out = append(out, own) // the forge has not told yet; the plan is the pull request's
		default:
			out = append(out, unknownProposal)
		}
	}
	return out, len(landings) < most, nil
}

// wasApplied tells whether a commit is part of what was last applied. What
// can't be told was not.
func (j *job) wasApplied(ctx context.Context, commit string) bool {
	if j.status.Applied == "" {
		return false
	}
	m, err := j.e.mirror(ctx, j.res.Repository)
	if err != nil {
		return false
	}
	ok, err := m.IsAncestor(ctx, commit, j.status.Applied)
	return err == nil && ok
}

// peopleOf answers for those who approved, on the forge of a repository.
type peopleOf struct {
	ctx        context.Context
	e          *Engine
	repository string
}

// person finds who gave an approval.
func (p peopleOf) person(a store.Approval) (identity.Person, error) {
	if a.Login != "" {
		return p.e.people.OnForge(p.repository, a.Login)
	}
	id := auth.Identity{Actor: a.Actor, Role: auth.Viewer}
	if name, ok := strings.CutPrefix(string(a.Actor), "user:"); ok {
		if u := p.e.cfg.Load().Users[name]; u != nil {
			id = auth.UserIdentity(name, u)
		}
	}
	return p.e.people.User(p.repository, id), nil
}

// InTeam tells whether an approver is in a team on a forge.
func (p peopleOf) InTeam(a store.Approval, team config.Who) (bool, error) {
	who, err := p.person(a)
	if err != nil {
		return false, err
	}
	return who.InTeam(p.ctx, team.Name, team.Repository)
}

// IsOwner tells whether an approver is, or belongs to, a code owner.
func (p peopleOf) IsOwner(a store.Approval, o codeowners.Owner) (bool, error) {
	who, err := p.person(a)
	if err != nil {
		return false, err
	}
	at, _ := p.e.cfg.Load().ForgeServer(p.repository)
	switch o.Kind {
	case codeowners.Team:
		return who.InTeam(p.ctx, o.Name, "")
	case codeowners.Email:
		return p.hasEmail(who, o.Name), nil
	case codeowners.Role:
		have, err := who.Permission(p.ctx)
		need := map[string]forge.Permission{"developer": forge.CanWrite, "maintainer": forge.CanMaintain, "owner": forge.CanAdmin}[o.Name]
		return err == nil && need > forge.NoAccess && have >= need, err
	case codeowners.Login:
		if who.Login != "" && config.SameLogin(at.Kind, who.Login, o.Name) {
			return true, nil
		}
		if at.Kind == "gitlab" { // a name there may be a group's
			in, err := who.InTeam(p.ctx, o.Name, "")
			if errors.Is(err, forge.ErrNotFound) {
				return false, nil
			}
			return in, err
		}
	}
	return false, nil
}

func (p peopleOf) hasEmail(who identity.Person, address string) bool {
	name, ok := strings.CutPrefix(string(who.Actor), "user:")
	u := p.e.cfg.Load().Users[name]
	return ok && u != nil && slices.ContainsFunc(u.Emails, func(e string) bool { return strings.EqualFold(e, address) })
}

// codeOwners reads CODEOWNERS as it was before the change: at the commit that
// was last applied to the target, or for one that never was, at the commit
// before the one that brought it. What is being proposed has no say in who
// approves it.
func (j *job) codeOwners(ctx context.Context) policy.Owners {
	out := policy.Owners{Path: j.res.Path, Was: func(k plan.Key) string { return j.input.Inventory[k].Source.File }}
	at, ok := j.cfg.ForgeServer(j.res.Repository)
	places := codeowners.Places(codeowners.Dialect(at.Kind))
	if !ok || places == nil {
		out.Problem = fmt.Sprintf("repository %s is on no forge whose CODEOWNERS are known", j.res.Repository)
		return out
	}
	commit, err := j.ownersCommit(ctx)
	if err == nil {
		out.File, err = j.e.readOwners(ctx, j.res.Repository, commit, codeowners.Dialect(at.Kind), places)
	}
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}

// ownersCommit finds the commit whose CODEOWNERS counts.
func (j *job) ownersCommit(ctx context.Context) (string, error) {
	repository := j.res.Repository
	state, err := j.e.store.Repository(ctx, repository)
	if err != nil {
		return "", err
	}
	if j.status.Applied != "" {
		return j.onBranch(ctx, j.status.Applied, state.Head)
	}
	landings, err := j.e.store.Landings(ctx, repository, 1000)
	if err != nil {
		return "", err
	}
	for _, l := range slices.Backward(landings) { // the oldest first
		if slices.Contains(l.Targets, j.target.ID) {
			return cmp.Or(l.Before, l.Commit), nil
		}
	}
	if state.Head != "" && state.Head != j.desired.Commit {
		return state.Head, nil
	}
	return "", errors.New("there is no commit before this one to take the owners from")
}

// onBranch gives an applied commit, or the branch's own when it was applied
// from a pull request before the merge.
func (j *job) onBranch(ctx context.Context, applied, head string) (string, error) {
	if r := j.cfg.Repositories[j.res.Repository]; r == nil || r.Tags != "" || r.Commit != "" || head == "" {
		return applied, nil
	}
	m, err := j.e.mirror(ctx, j.res.Repository)
	if err != nil {
		return "", err
	}
	ok, err := m.IsAncestor(ctx, applied, head)
	if err != nil || !ok {
		// It is not in the branch's history, or no longer in the mirror.
		return head, nil
	}
	return applied, nil
}

// readOwners reads the first file of code owners at a commit.
func (e *Engine) readOwners(ctx context.Context, repository, commit string, d codeowners.Dialect, places []string) (*codeowners.File, error) {
	m, err := e.mirror(ctx, repository)
	if err != nil {
		return nil, err
	}
	snap, err := m.Snapshot(ctx, commit)
	if err != nil {
		return nil, fmt.Errorf("the code owners at commit %.12s: %w", commit, err)
	}
	for _, place := range places {
		entry, ok, err := snap.Tree().Lookup(ctx, place)
		if err != nil {
			return nil, err
		}
		if !ok || entry.IsDir() {
			continue
		}
		body, err := snap.ReadFile(ctx, place)
		if err != nil {
			return nil, err
		}
		f, mistakes := codeowners.Parse(d, body)
		if f == nil {
			return nil, fmt.Errorf("%s at commit %.12s: %w", place, commit, mistakes[0])
		}
		return f, nil
	}
	return nil, fmt.Errorf("there is no %s at commit %.12s", strings.Join(places, ", "), commit)
}

// counts says why a decision that somebody is about to give would not count.
// It looks at the plan as the held run did.
func (e *Engine) counts(ctx context.Context, t store.Target, p *plan.Plan, a store.Approval) error {
	j := &job{e: e, cfg: e.cfg.Load(), log: e.newRunLog(), target: t, status: t.Status, desired: t.Desired}
	if err := j.decode(t.Config); err != nil {
		return err
	}
	j.plan, j.hash, j.digest, j.mode, j.input.Now = p, t.Status.PlanHash, p.Digest, p.Mode, e.clock()
	var err error
	if j.run, err = e.store.Run(ctx, t.Status.Run); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if j.input.Inventory, err = e.store.Owned(ctx, t.ID); err != nil {
		return err
	}
	given, err := e.store.Approvals(ctx, t.ID, p.Digest, t.Status.PlanHash)
	if err != nil {
		return err
	}
	forced, _ := j.forced()
	return j.rules.Counts(j.plan, j.policyFacts(ctx), given, forced, a)
}

// standing leaves out the approving reviews that no longer stand on the forge:
// dismissed, withdrawn, or about another commit. What can't be asked does not
// stand. Where no rule counts reviews, nothing is asked.
func (j *job) standing(ctx context.Context, given []store.Approval) []store.Approval {
	if !j.rules.CountsReviews() {
		return given
	}
	pulls := map[int][]forge.Review{}
	return slices.DeleteFunc(slices.Clone(given), func(a store.Approval) bool {
		if a.Via != store.ByReview || !a.Approved {
			return false
		}
		reviews, asked := pulls[a.Pull]
		if !asked {
			f, err := j.e.Forge(ctx, j.res.Repository)
			if err == nil {
				reviews, err = f.Reviews(ctx, a.Pull)
			}
			if err != nil {
				j.log.Logf("the reviews of pull request %d can't be read and do not count now: %v", a.Pull, err)
			}
			pulls[a.Pull] = reviews
		}
		return !slices.ContainsFunc(reviews, func(r forge.Review) bool {
			return r.User == a.Login && r.State == "approved" && !r.Stale && r.Commit == a.Commit
		})
	})
}

// ApproverOnForge gives who decides in a comment on the forge. A user of the
// configuration needs the role there; whether anybody else counts is up to the
// rules.
func (e *Engine) ApproverOnForge(repository, login, environment, url string) (Approver, error) {
	p, err := e.people.OnForge(repository, login)
	if err != nil {
		return Approver{}, err
	}
	if p.Known() {
		if err := p.May(auth.Approve, auth.Object{Environment: environment}); err != nil {
			return Approver{}, err
		}
	}
	return Approver{Actor: p.Actor, Teams: p.Teams(), Login: login, Via: store.ByComment, URL: url}, nil
}
