package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/store"
)

// rollout carries a plan out in batches of scopes. Each batch is drained,
// applied, read back, checked and put back into service before the next one.
type rollout struct {
	*job
	conf    config.Rollout
	total   int // scopes of the target
	mayFail int
	batches [][]plan.Scope
	quiet   []plan.Scope // nothing is written there
	jr      *journal
	prog    store.Progress
	told    map[plan.Scope]bool // scopes that the rollout is through with
	// remember tells that a failure is one of the desired state, which is not
	// given again, and not one of drift.
	remember bool
	why      string // what failed first
}

// rolls tells that the plan is carried out in batches.
func (j *job) rolls() bool {
	if j.correction || j.mode == plan.Destroy {
		return false
	}
	return j.res.Rollout != nil || j.policy.Rollout != nil && len(j.plan.Scopes) > 1
}

// unfinished lists scopes in which an earlier run did not come to its end:
// even where nothing is left to write, they are to be checked and put back
// into service.
func (j *job) unfinished() []plan.Scope {
	if j.plan == nil || !j.rolls() {
		return nil
	}
	var out []plan.Scope
	key := j.stateKey()
	for _, sp := range j.plan.Scopes {
		st := j.states[sp.Scope]
		open := st.Phase == store.ScopeRolling || st.Phase == store.ScopeFailed || st.Drained
		given := st.Bad == "" || st.Bad != key || j.person()
		if sp.Unknown == "" && open && given {
			out = append(out, sp.Scope)
		}
	}
	return out
}

func (j *job) newRollout() *rollout {
	r := &rollout{job: j, told: map[plan.Scope]bool{}, jr: &journal{j: j, realm: j.realms()},
		total: max(len(j.infos), len(j.states), len(j.plan.Scopes)), remember: !j.correction && !j.driftOnly()}
	if j.res.Rollout != nil {
		r.conf = *j.res.Rollout
	}
	r.mayFail = r.conf.MaxFailures.Of(r.total)
	most := 0
	if l := j.policy.Rollout; l != nil {
		if !l.MaxBatch.IsZero() {
			most = max(l.MaxBatch.Of(r.total), 1)
		}
		if l.MaxFailures != nil {
			r.mayFail = min(r.mayFail, l.MaxFailures.Of(r.total))
		}
	}
	todo := append(writing(j.plan), j.unfinished()...)
	slices.Sort(todo)
	ordered := orderScopes(slices.Compact(todo), j.infos, r.conf.Order, j.target.ID+j.desired.Commit)
	r.batches = cutBatches(ordered, r.conf.Batch, r.total, most)
	loud := among(ordered)
	for _, sp := range j.plan.Scopes {
		if sp.Unknown == "" && !loud(sp.Scope) {
			r.quiet = append(r.quiet, sp.Scope)
		}
	}
	r.prog = store.Progress{Batches: len(r.batches), Scopes: len(ordered)}
	return r
}

// rollOut carries the plan out, batch by batch.
func (j *job) rollOut(ctx context.Context) (outcome, error) {
	r := j.newRollout()
	if unknown := j.plan.UnknownScopes(); len(unknown) > 0 && r.conf.Unreachable == "hold" {
		if err := j.settle(ctx, j.plan, nil); err != nil {
			return gone, err
		}
		return partial, fmt.Errorf("nothing is changed until every host can be reached (rollout.unreachable: hold): %w", unreachable(unknown))
	}
	if err := r.adopt(ctx); err != nil {
		return gone, err
	}
	for n := range r.batches {
		if n > 0 && !sleep(ctx, r.conf.Pause) && ctx.Err() != nil {
			return gone, context.Cause(ctx)
		}
		why, err := r.interrupted(ctx)
		if err != nil {
			return gone, err
		}
		if why != "" {
			return partial, errors.Join(fmt.Errorf("stopped before batch %d of %d: %s", n+1, len(r.batches), why), r.settle(ctx, j.plan, r.isTold))
		}
		b, err := r.batch(ctx, n)
		if err != nil {
			return gone, fmt.Errorf("batch %d of %d: %w", n+1, len(r.batches), err)
		}
		stop, err := r.conclude(ctx, b)
		if err != nil {
			return gone, fmt.Errorf("batch %d of %d: %w", n+1, len(r.batches), err)
		}
		if stop {
			return stopped, errors.Join(r.stopError(n), r.settle(ctx, j.plan, r.isTold))
		}
	}
	return r.end(ctx)
}

func (r *rollout) isTold(s plan.Scope) bool { return r.told[s] }

// unreachable makes an error of the scopes that could not be read.
func unreachable(unknown []plan.ScopePlan) error {
	texts := make([]string, len(unknown))
	for i, u := range unknown {
		texts[i] = fmt.Sprintf("%s: %s", u.Scope, u.Unknown)
	}
	return fmt.Errorf("%w: %s", driver.ErrUnreachable, listed(texts))
}

// adopt carries out what writes nothing, in all scopes at once.
func (r *rollout) adopt(ctx context.Context) error {
	_, err := r.apply(ctx, r.quiet)
	return err
}

// interrupted tells why no further batch may begin: what was closed on purpose
// meanwhile, or a time window that has ended.
func (r *rollout) interrupted(ctx context.Context) (string, error) {
	h, err := r.hold(ctx)
	if err != nil {
		return "", err
	}
	cur := r.e.cfg.Load()
	pol, _ := cur.policyOf(r.env)
	open, next := policy.InWindow(pol.Windows, r.e.clock())
	switch {
	case h != nil:
		return fmt.Sprintf("%s by %s: %s", map[bool]string{true: "frozen", false: "suspended"}[h.Kind == "freeze"], h.Actor, h.Reason), nil
	case cur.Freeze != "":
		return "frozen in server.yaml: " + cur.Freeze, nil
	case pol.Freeze != "":
		return "frozen by its policy: " + pol.Freeze, nil
	case !open:
		return fmt.Sprintf("the time window has ended; the next opens %s", next.Format("2006-01-02T15:04Z07:00")), nil
	}
	return "", nil
}

// stopError says where the rollout stopped, and which scope is where.
func (r *rollout) stopError(n int) error {
	var there, back, failed []string
	untouched := 0
	for _, b := range r.batches {
		for _, s := range b {
			st := r.states[s]
			switch {
			case !r.told[s]:
				untouched++
			case st.Phase == store.ScopeSynced:
				there = append(there, string(s))
			case st.Phase == store.ScopeRolledBack:
				back = append(back, string(s))
			default:
				failed = append(failed, string(s))
			}
		}
	}
	text := fmt.Sprintf("the rollout of %.12s stopped in batch %d of %d: %s. %d of %d hosts have it", r.desired.Commit, n+1, len(r.batches), r.why, len(there), r.prog.Scopes)
	if len(back) > 0 {
		text += fmt.Sprintf(", %d were rolled back (%s)", len(back), names(back))
	}
	if len(failed) > 0 {
		text += fmt.Sprintf(", %d failed (%s)", len(failed), names(failed))
	}
	return fmt.Errorf("%s, %d are untouched", text, untouched)
}

// end reads everything back once more when all batches are through.
func (r *rollout) end(ctx context.Context) (outcome, error) {
	if err := r.phase(ctx, "verify"); err != nil {
		return gone, err
	}
	r.fingerprintBefore(ctx)
	after, err := r.readBack(ctx, r.only)
	if err != nil {
		return gone, fmt.Errorf("verify: %w", err)
	}
	r.fingerprintAfter(ctx)
	if !after.Empty() || len(after.UnknownScopes()) > 0 || r.only != nil {
		r.fpBefore = nil
	}
	ok := func(s plan.Scope) bool { return r.told[s] && r.states[s].Phase != store.ScopeSynced }
	if err := r.settle(ctx, after, ok); err != nil {
		return gone, err
	}
	if err := r.takeOutputs(ctx, after); err != nil {
		return gone, err
	}
	if r.prog.Failed > 0 {
		return partial, errors.New(r.scopesText())
	}
	if len(after.UnknownScopes()) > 0 || !r.allThere(r.only) {
		return partial, nil
	}
	return succeeded, r.keep(ctx, "good")
}

// readBack plans again for some scopes, with the inventory as it is now.
func (j *job) readBack(ctx context.Context, only []plan.Scope) (*plan.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, j.limits().PlanTimeout)
	defer cancel()
	inv, err := j.e.store.Owned(ctx, j.target.ID)
	if err != nil {
		return nil, err
	}
	j.input.Inventory = inv
	in := j.input
	in.Only = only
	after, err := j.session.Plan(ctx, in)
	if err != nil {
		j.dropSession(err)
		return nil, err
	}
	if only != nil {
		after = part(after, among(only))
	}
	return after, nil
}
