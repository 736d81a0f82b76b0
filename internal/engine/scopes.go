package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// scoped is what a pass knows of the target's scopes, and which of them it is
// limited to.
type scoped struct {
	// correction marks a second pass that keeps up an earlier state, inside a
	// run for another one.
	correction bool
	infos      []driver.ScopeInfo              // as the driver tells, in its order
	states     map[plan.Scope]store.ScopeState // as stored, and what this pass adds
	limit      []string                        // what a person limited the run to
	only       []plan.Scope                    // what the pass is limited to; nil is all
	own        bool                            // limited to the scopes whose own retry is due
	fresh      bool                            // nothing was stored
	undo       bool                            // the pass brings scopes back after a failed change
	// troubles has, after an apply, why a scope is not as it should be.
	troubles map[plan.Scope]string
}

// loadScopes reads what is known of the target's scopes.
func (j *job) loadScopes(ctx context.Context) error {
	list, err := j.e.store.Scopes(ctx, j.target.ID)
	if err != nil {
		return err
	}
	j.states = make(map[plan.Scope]store.ScopeState, len(list))
	for _, s := range list {
		j.states[s.Scope] = s
	}
	j.fresh = len(list) == 0
	return nil
}

// chooseScopes finds out which scopes there are and which of them the pass is
// about: those that a person named, or those that have a retry of their own.
func (j *job) chooseScopes(ctx context.Context) error {
	if s, ok := j.session.(driver.Scoper); ok && j.mode != plan.Destroy {
		infos, err := s.Scopes(ctx, j.input)
		if err != nil {
			return fmt.Errorf("scopes: %w", err)
		}
		j.infos = infos
	}
	switch {
	case j.only != nil: // a correction brings its own
	case len(j.limit) > 0:
		if j.infos != nil {
			chosen, err := selectScopes(j.limit, j.infos)
			if err != nil {
				return driver.Permanent(err)
			}
			j.only = chosen
		}
	case j.ownRetry():
		j.only, j.own = j.due(), true
	}
	j.input.Only = j.only
	return nil
}

// selectScopes gives the scopes that words choose; a word that chooses none is
// an error.
func selectScopes(words []string, infos []driver.ScopeInfo) ([]plan.Scope, error) {
	used := make([]bool, len(words))
	out := []plan.Scope{}
	for _, info := range infos {
		hit := false
		for i, w := range words {
			if config.Selects(w, string(info.Scope), info.Groups) {
				used[i], hit = true, true
			}
		}
		if hit {
			out = append(out, info.Scope)
		}
	}
	for i, w := range words {
		if !used[i] {
			return nil, fmt.Errorf("--limit %s: no host or group of the target is called that", w)
		}
	}
	return out, nil
}

// ownRetry tells that the pass is only there for scopes with a retry of their
// own: nothing but time caused it, and a look at all is not due yet.
func (j *job) ownRetry() bool {
	if j.correction || j.mode != plan.Apply || j.lease.Class < store.ByRetry || j.status.FullDigest != j.digest ||
		j.res.Rollout != nil && j.res.Rollout.Unreachable == "hold" {
		return false
	}
	return j.e.clock().Before(j.status.FullDue) && len(j.due()) > 0
}

// due lists the scopes whose own retry is due.
func (j *job) due() []plan.Scope {
	var out []plan.Scope
	for s, st := range j.states {
		if !st.NextDue.IsZero() && !j.e.clock().Before(st.NextDue) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// narrow drops from a fresh plan what the pass is not about: other scopes than
// it is limited to, and what failed in a scope and is not tried there again.
func (j *job) narrow(p *plan.Plan) (*plan.Plan, error) {
	if j.only == nil && len(j.limit) > 0 {
		infos := make([]driver.ScopeInfo, len(p.Scopes))
		for i := range p.Scopes {
			infos[i].Scope = p.Scopes[i].Scope
		}
		var err error
		if j.only, err = selectScopes(j.limit, infos); err != nil {
			return nil, driver.Permanent(err)
		}
	}
	if j.only != nil {
		p = part(p, among(j.only))
	}
	if j.undo || j.person() || j.mode == plan.Destroy {
		return p, nil
	}
	bad, key := map[plan.Scope]bool{}, j.stateKey()
	for s, st := range j.states {
		bad[s] = st.Bad != "" && st.Bad == key
	}
	changes := slices.DeleteFunc(slices.Clone(p.Changes), func(c plan.Change) bool { return bad[c.Scope] })
	if len(changes) < len(p.Changes) {
		out := *p
		out.Changes = changes
		return &out, nil
	}
	return p, nil
}

// stateKey stands for the desired state with all that decides whether it is
// healthy and how it is rolled out. What failed is not given again until the
// key changes.
func (j *job) stateKey() string {
	body, err := json.Marshal(struct {
		Digest, OnFailure string
		Health            []config.Health
		Rollout           *config.Rollout
	}{j.digest, j.res.OnFailure, j.res.Health, j.res.Rollout})
	if err != nil {
		return j.digest
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// several tells that the target has scopes that are kept account of.
func (j *job) several(p *plan.Plan) bool {
	return j.mode != plan.Destroy && (len(j.states) > 0 || len(j.infos) > 0 || len(p.Scopes) > 1)
}

// settle writes down how the scopes of a plan are that was read after the
// work, or instead of it. Scopes that the rollout has spoken about already
// keep what it said.
func (j *job) settle(ctx context.Context, p *plan.Plan, said func(plan.Scope) bool) error {
	// A pass inside another one leaves the account to that one.
	if !j.several(p) || j.correction {
		return nil
	}
	behind := map[plan.Scope]bool{}
	for _, s := range writing(p) {
		behind[s] = true
	}
	var put []store.ScopeState
	for _, sp := range p.Scopes {
		if said != nil && said(sp.Scope) {
			continue
		}
		if st, changed := j.judged(sp, behind[sp.Scope]); changed {
			put = append(put, st)
		}
	}
	var drop []plan.Scope
	if j.only == nil {
		there := map[plan.Scope]bool{}
		for _, sp := range p.Scopes {
			there[sp.Scope] = true
		}
		for s := range j.states {
			if !there[s] {
				drop = append(drop, s)
			}
		}
	}
	return j.putScopes(ctx, put, drop)
}

// judged gives a scope's state after a look at it.
func (j *job) judged(sp plan.ScopePlan, behind bool) (store.ScopeState, bool) {
	old := j.states[sp.Scope]
	st := old
	st.Scope = sp.Scope
	trouble := j.troubles[sp.Scope]
	switch {
	case old.Bad != "" && old.Bad == j.stateKey() && !j.person():
		return old, false // what was said when it failed still holds
	case sp.Unknown != "":
		st.Phase, st.Message = store.ScopeUnreachable, sp.Unknown
	case trouble != "":
		st.Phase, st.Message = store.ScopeFailed, trouble
	case behind:
		st.Phase, st.Message = store.ScopeBehind, ""
		if j.fresh {
			st.Commit = j.status.Applied // of before there was an account of scopes
		}
		st.Attempts, st.NextDue = 0, time.Time{}
	default:
		st = store.ScopeState{Scope: sp.Scope, Phase: store.ScopeSynced, Commit: j.desired.Commit, Since: old.Since, Run: old.Run, Drained: old.Drained}
	}
	if st.Phase == store.ScopeUnreachable || st.Phase == store.ScopeFailed {
		st.Attempts++
		st.NextDue = j.e.clock().Add(j.e.backoff(st.Attempts))
	}
	return j.dated(old, st)
}

// dated fills in since when a scope is as it is, and tells whether there is
// anything to write.
func (j *job) dated(old, st store.ScopeState) (store.ScopeState, bool) {
	if st.Phase != old.Phase || st.Since.IsZero() {
		st.Since = j.e.clock()
	}
	if st != old && j.started {
		st.Run = j.run.ID
	}
	return st, st != old
}

// putScopes stores states and remembers them for the rest of the pass.
func (j *job) putScopes(ctx context.Context, put []store.ScopeState, drop []plan.Scope) error {
	if len(put)+len(drop) == 0 {
		return nil
	}
	if err := j.e.store.PutScopes(context.WithoutCancel(ctx), j.lease.Fence, j.target.ID, put, drop); err != nil {
		return err
	}
	for _, st := range put {
		j.states[st.Scope] = st
	}
	for _, s := range drop {
		delete(j.states, s)
	}
	return nil
}
