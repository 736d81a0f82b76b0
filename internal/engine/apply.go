package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// carryOut applies a plan that all gates let through, reads the result back
// and checks health.
func (j *job) carryOut(ctx context.Context) (outcome, error) {
	j.run.PlanHash, j.run.Digest, j.run.Summary = j.hash, j.digest, j.plan.Summary()
	if err := j.record(ctx); err != nil {
		return gone, err
	}
	if err := j.e.store.PutPlan(ctx, j.lease.Fence, j.run.ID, j.hash, j.plan); err != nil {
		return gone, err
	}
	if err := j.claim(ctx); err != nil {
		return gone, err
	}
	if j.several(j.plan) && !j.correction {
		// A part of the scopes may end up at this commit: its inputs are needed to
		// keep them there.
		if err := j.keep(ctx, "applied"); err != nil {
			return gone, err
		}
	}
	if j.rolls() {
		return j.rollOut(ctx)
	}
	if err := j.phase(ctx, "apply"); err != nil {
		return gone, err
	}
	results, err := j.apply(ctx)
	if err != nil {
		return gone, fmt.Errorf("apply: %w", err)
	}
	if err := j.phase(ctx, "verify"); err != nil {
		return gone, err
	}
	after, err := j.verify(ctx, results)
	if err != nil {
		return gone, fmt.Errorf("verify: %w", err)
	}
	if trouble := incomplete(results); trouble != nil {
		return partial, errors.Join(trouble, j.settle(ctx, after, nil))
	}
	if err := j.phase(ctx, "health"); err != nil {
		return gone, err
	}
	if err := j.health(ctx); err != nil {
		return unhealthy, errors.Join(err, j.settle(ctx, after, nil))
	}
	if err := j.settle(ctx, after, nil); err != nil {
		return gone, err
	}
	if len(after.UnknownScopes()) > 0 {
		return partial, nil
	}
	return succeeded, j.keep(ctx, "good")
}

// claim takes the addresses that the plan writes or adopts. Two targets that
// claim one thing in one realm collide here, whatever their environments are
// called.
func (j *job) claim(ctx context.Context) error {
	realm := j.realms()
	var claims []store.Claim
	for i := range j.plan.Changes {
		c := &j.plan.Changes[i]
		if c.Action == plan.Delete || c.Action == plan.Forget || c.Action == plan.None {
			continue
		}
		claims = append(claims, store.Claim{Realm: realm[c.Scope], Address: c.Address, Target: j.target.ID})
	}
	if len(claims) == 0 {
		return nil
	}
	taken, err := j.e.store.TakeClaims(ctx, j.lease.Fence, claims)
	if errors.Is(err, store.ErrConflict) {
		texts := make([]string, len(taken))
		for i, c := range taken {
			texts[i] = fmt.Sprintf("%s is owned by target %s", c.Address, c.Target)
		}
		return driver.Permanent(fmt.Errorf("two targets claim the same: %s", listed(texts)))
	}
	return err
}

func (j *job) realms() map[plan.Scope]string {
	m := map[plan.Scope]string{}
	for _, s := range j.plan.Scopes {
		if s.Unknown == "" {
			m[s.Scope] = s.Realm
		}
	}
	return m
}

func (j *job) apply(ctx context.Context) ([]plan.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, j.limits().ApplyTimeout)
	defer cancel()
	jr := &journal{j: j, realm: j.realms()}
	err := j.session.Apply(ctx, j.input, j.cleared(), jr)
	if err != nil {
		j.dropSession(err)
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
	}
	return jr.all(), err
}

// cleared gives the plan with its conflicts lifted: they are violations that
// only an approval of this very plan lets through.
func (j *job) cleared() *plan.Plan {
	p := *j.plan
	p.Changes = slices.Clone(j.plan.Changes)
	for i := range p.Changes {
		p.Changes[i].Conflict = ""
	}
	return &p
}

// journal writes down what an apply does, under the run's fence, before and
// after each write.
type journal struct {
	j     *job
	realm map[plan.Scope]string

	mu      sync.Mutex
	results []plan.Result
	refusal error
}

// refuse keeps the error by which the journal ended an apply.
func (r *journal) refuse(err error) error {
	if err != nil {
		r.mu.Lock()
		r.refusal = err
		r.mu.Unlock()
	}
	return err
}

// refused tells why the journal ended an apply; nil when it did not.
func (r *journal) refused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal
}

// Pending marks addresses as about to be written.
func (r *journal) Pending(ctx context.Context, keys []plan.Key) error {
	return r.refuse(r.pending(ctx, keys))
}

func (r *journal) pending(ctx context.Context, keys []plan.Key) error {
	if err := r.j.e.fail("pending"); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := r.j.e.store.MarkPending(ctx, r.j.lease.Fence, r.j.target.ID, r.j.run.ID, r.realm, keys)
	if err != nil {
		return err
	}
	return r.j.e.fail("write")
}

// Done records outcomes in inventory and history.
func (r *journal) Done(ctx context.Context, results []plan.Result) error {
	return r.refuse(r.done(ctx, results))
}

func (r *journal) done(ctx context.Context, results []plan.Result) error {
	if err := r.j.e.fail("done"); err != nil {
		return err
	}
	e, f := r.j.e, r.j.lease.Fence
	if err := e.store.Record(ctx, f, r.j.target.ID, r.j.run.ID, r.realm, results); err != nil {
		return err
	}
	if err := e.store.AddResults(ctx, f, r.j.run.ID, results); err != nil {
		return err
	}
	r.mu.Lock()
	r.results = append(r.results, results...)
	n := len(r.results)
	r.mu.Unlock()
	for _, res := range results {
		if res.Outcome != plan.Applied {
			r.Logf("%s %s: %s: %s", res.Action, res.Key, res.Outcome, res.Error)
		}
	}
	r.Logf("%d of %d changes done", n, len(r.j.plan.Changes))
	return e.fail("recorded")
}

// Logf adds a line to the run's log.
func (r *journal) Logf(format string, args ...any) { r.j.log.Logf(format, args...) }

func (r *journal) all() []plan.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.results
}

// incomplete gives an error when some change was not carried out.
func incomplete(results []plan.Result) error {
	var texts []string
	for _, r := range results {
		if r.Outcome != plan.Applied {
			texts = append(texts, fmt.Sprintf("%s %s: %s", r.Action, r.Key, r.Error))
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d changes failed: %s", len(texts), len(results), listed(texts))
}

// verify reads the result back. A change that did not stick is a failure.
func (j *job) verify(ctx context.Context, results []plan.Result) (*plan.Plan, error) {
	j.fingerprintBefore(ctx)
	after, err := j.readBack(ctx, j.only)
	if err != nil {
		return nil, err
	}
	j.blame(results)
	if err := j.stuck(after, results); err != nil {
		return nil, errors.Join(err, j.settle(ctx, after, nil))
	}
	j.fingerprintAfter(ctx)
	if !after.Empty() || len(after.UnknownScopes()) > 0 || j.only != nil {
		j.fpBefore = nil
	}
	if j.undo {
		return after, nil
	}
	return after, j.takeOutputs(ctx, after)
}

// blame notes in which scopes a change was not carried out, and why.
func (j *job) blame(results []plan.Result) {
	for _, r := range results {
		if r.Outcome != plan.Applied {
			j.trouble(r.Scope, fmt.Sprintf("%s %s: %s", r.Action, r.Address, r.Error))
		}
	}
}

// trouble notes the first thing that is wrong with a scope.
func (j *job) trouble(s plan.Scope, why string) {
	if j.troubles == nil {
		j.troubles = map[plan.Scope]string{}
	}
	if j.troubles[s] == "" {
		j.troubles[s] = why
	}
}

// stuck compares what was applied with what is read back.
func (j *job) stuck(after *plan.Plan, results []plan.Result) error {
	left := map[plan.Key]*plan.Change{}
	for i := range after.Changes {
		if after.Changes[i].Action.Writes() {
			left[after.Changes[i].Key] = &after.Changes[i]
		}
	}
	unknown := map[plan.Scope]bool{}
	for _, s := range after.UnknownScopes() {
		unknown[s.Scope] = true
	}
	var texts, lost []string
	for _, r := range results {
		if r.Outcome != plan.Applied || !r.Action.Writes() {
			continue
		}
		if unknown[r.Scope] {
			j.trouble(r.Scope, "can't be read back")
			lost = append(lost, string(r.Scope))
			continue
		}
		if c := left[r.Key]; c != nil {
			j.trouble(r.Scope, fmt.Sprintf("%s still needs %s after it was applied", r.Address, c.Action))
			texts = append(texts, fmt.Sprintf("%s still needs %s", r.Key, c.Action))
		}
	}
	if len(texts) > 0 {
		return fmt.Errorf("%d changes did not stick: %s", len(texts), listed(texts))
	}
	if len(lost) > 0 {
		return fmt.Errorf("can't be read back: %s: %w", listed(slices.Compact(lost)), driver.ErrUnreachable)
	}
	return nil
}
