package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/store"
)

// policyRules is a policy with its rules compiled and its digest.
type policyRules struct {
	*policy.Rules
	digest string
}

func compilePolicy(p *config.Policy) (*policyRules, error) {
	r, err := policy.Compile(p.Approve)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(struct {
		Guard   map[string]config.Limit
		Approve []config.Approval
	}{p.Guard, p.Approve})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return &policyRules{Rules: r, digest: hex.EncodeToString(sum[:])}, nil
}

// policyOf gives an environment's policy; without one the defaults hold.
func (a *active) policyOf(env *config.Environment) (*config.Policy, *policyRules) {
	if p, ok := a.Policies[env.Policy]; ok {
		return p, a.rules[env.Policy]
	}
	p := config.DefaultPolicy()
	r, err := compilePolicy(p)
	if err != nil { // the default has no expressions that could fail
		r = &policyRules{}
	}
	return p, r
}

// gates gathers the facts about the plan and decides.
func (j *job) gates(ctx context.Context) error {
	if err := j.owners(ctx); err != nil {
		return err
	}
	f, err := j.facts(ctx)
	if err != nil {
		return err
	}
	j.decision, j.approval = Decide(f), f.Approval
	if j.decision.Proceed {
		j.run.Approval = j.decision.RestsOn
	}
	return nil
}

// maxOwners is how many objects in conflict are looked up.
const maxOwners = 20

// owners refuses a plan that wants what another target owns. Only an object
// that nobody owns can be taken over with an approval.
func (j *job) owners(ctx context.Context) error {
	var texts []string
	n := 0
	for i := range j.plan.Changes {
		c := &j.plan.Changes[i]
		if c.Conflict == "" || n == maxOwners {
			continue
		}
		n++
		owned, err := j.e.store.WhoOwns(ctx, j.env.Name, c.Address)
		if err != nil {
			return err
		}
		for _, o := range owned {
			if o.Scope == c.Scope && o.Target != j.target.ID {
				texts = append(texts, fmt.Sprintf("%s is owned by target %s", c.Key, o.Target))
			}
		}
	}
	if len(texts) > 0 {
		return driver.Permanent(fmt.Errorf("two targets claim the same: %s", listed(texts)))
	}
	return nil
}

func (j *job) facts(ctx context.Context) (Facts, error) {
	outside, err := j.outside()
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Plan: j.plan, Person: j.person(), Outside: outside, Repointed: j.repointed(),
		Holds: Holds{PolicyFreeze: j.policy.Freeze, ConfigFreeze: j.cfg.Freeze, Suspend: j.res.Suspend, Retired: j.env.Retired},
		Drift: Drift{DriftOnly: j.driftOnly(), ReportDrift: j.policy.Drift == "report", LetIn: j.status.RestsOn}}
	f.Undo = j.undo
	if j.status.Stopped != "" && j.status.Stopped == j.stateKey() {
		f.Stopped = j.status.StoppedText
	}
	if f.Hold, err = j.hold(ctx); err != nil {
		return f, err
	}
	if f.Waiting, err = j.waiting(ctx); err != nil {
		return f, err
	}
	if f.Undo {
		f.Waiting = nil // what it goes back to was there before
	}
	if f.DriftOnly && j.plan.Writes() {
		if f.Flapping, err = j.flapping(ctx); err != nil {
			return f, err
		}
	}
	j.run.Origin = j.origin(ctx)
	if text := j.originWanted(ctx); text != "" {
		f.Waiting = append(f.Waiting, text)
	}
	given, err := j.e.store.Approvals(ctx, j.target.ID, j.digest, j.hash)
	if err != nil {
		return f, err
	}
	if len(given) == 0 {
		if given, err = j.continued(ctx); err != nil {
			return f, err
		}
	}
	var forced []policy.Violation
	forced, f.Violations = j.forced()
	f.Approval, err = j.rules.Decide(j.plan, j.policyFacts(ctx), j.standing(ctx, given), forced)
	if err != nil {
		return f, err
	}
	f.InWindow, f.NextWindow = policy.InWindow(j.policy.Windows, j.input.Now)
	return f, nil
}

// forced gives what needs an approval whatever the rules say, and the part of
// it that a held run shows as violations.
func (j *job) forced() (all, shown []policy.Violation) {
	all = policy.Guard(j.policy.Guard, j.plan)
	shown = all
	if text := j.repointed(); text != "" {
		all = append(all, policy.Violation{Text: text})
	}
	if j.mode == plan.Destroy && j.plan.Writes() {
		all = append(all, policy.Violation{Text: fmt.Sprintf("destroys all %d objects that the target owns", len(j.input.Inventory))})
		shown = all
	}
	return all, shown
}

// driftOnly tells that exactly these inputs were applied and verified before.
func (j *job) driftOnly() bool {
	return j.correction || j.mode == plan.Apply && j.status.Digest != "" && j.status.Digest == j.digest
}

// outside lists the changes that no grant covers.
func (j *job) outside() ([]string, error) {
	grants, err := j.boundGrants()
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range j.plan.Changes {
		c := &j.plan.Changes[i]
		keys := []plan.Key{c.Key}
		if c.From != "" {
			keys = append(keys, plan.Key{Scope: c.Scope, Address: c.From})
		}
		for _, k := range keys {
			if !granted(grants, k, c.Kind) {
				out = append(out, k.String())
			}
		}
	}
	return out, nil
}

func granted(grants []config.Grant, k plan.Key, kind string) bool {
	for _, g := range grants {
		if g.Scope == nil || g.Scope.Contains(k, kind) {
			return true
		}
	}
	return false
}

// repointed says that a scope is no longer what the inventory was written to.
func (j *job) repointed() string {
	realm := map[plan.Scope]string{}
	for _, s := range j.plan.Scopes {
		if s.Unknown == "" {
			realm[s.Scope] = s.Realm
		}
	}
	for k, o := range j.input.Inventory {
		now, read := realm[k.Scope]
		if read && o.Realm != "" && o.Realm != now {
			return fmt.Sprintf("environment %s was %s and is now %s: was it repointed?", j.env.Name, o.Realm, now)
		}
	}
	return ""
}

// hold finds the strongest suspension, freeze or restore over the target.
func (j *job) hold(ctx context.Context) (*store.Hold, error) {
	holds, err := j.e.store.Holds(ctx)
	if err != nil {
		return nil, err
	}
	var best *store.Hold
	rank := map[string]int{"restore": 4, "target": 3, "environment": 2, "repository": 2, "freeze": 1}
	for i := range holds {
		h := &holds[i]
		covers := h.Kind == "restore" || h.Kind == "freeze" || h.Kind == "target" && h.Key == j.target.ID ||
			h.Kind == "environment" && h.Key == j.target.Environment || h.Kind == "repository" && h.Key == j.target.Repository
		if covers && (best == nil || rank[h.Kind] > rank[best.Kind]) {
			best = h
		}
	}
	return best, nil
}

// waiting lists the dependencies that are not in the state their own desired
// record asks for.
func (j *job) waiting(ctx context.Context) ([]string, error) {
	if j.mode == plan.Destroy {
		return nil, nil
	}
	var out []string
	for _, id := range upstreams(j.res) {
		if j.coming[id] != nil {
			continue // it comes with the same pull request
		}
		up, err := j.e.store.Target(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			out = append(out, id+" (which is not there)")
			continue
		}
		if err != nil {
			return nil, err
		}
		work, err := j.e.store.Work(ctx, store.Reconcile, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		pending := err == nil && work.Generation > work.Observed
		if up.Status.Phase != store.Synced || pending {
			out = append(out, fmt.Sprintf("%s (%s)", id, up.Status.Phase))
		}
	}
	return out, nil
}

// flapping finds an object that was corrected again and again within the last
// hour: somebody else writes it too.
func (j *job) flapping(ctx context.Context) (string, error) {
	limit := j.policy.Flapping
	if limit <= 0 {
		return "", nil
	}
	runs, _, err := j.e.store.Runs(ctx, store.RunFilter{Target: j.target.ID, Since: j.input.Now.Add(-time.Hour), Page: store.Page{Limit: 200}})
	if err != nil {
		return "", err
	}
	now := map[plan.Key]*plan.Change{}
	for i := range j.plan.Changes {
		if j.plan.Changes[i].Action.Writes() {
			now[j.plan.Changes[i].Key] = &j.plan.Changes[i]
		}
	}
	count := map[plan.Key]int{}
	for _, r := range runs {
		if r.Cause != "drift" && r.Cause != "retry" || r.State == store.RunHeld {
			continue
		}
		results, err := j.e.store.Results(ctx, r.ID)
		if err != nil {
			return "", err
		}
		for _, res := range results {
			if c := now[res.Key]; c != nil && res.Outcome == plan.Applied {
				if count[res.Key]++; count[res.Key] >= limit {
					return fmt.Sprintf("%s was corrected %d times within the last hour and is %s again: another writer fights for it",
						res.Key, count[res.Key], shortDoc(c.Before)), nil
				}
			}
		}
	}
	return "", nil
}

// shortDoc shows a document in a sentence.
func shortDoc(doc json.RawMessage) string {
	if len(doc) == 0 {
		return "absent"
	}
	if len(doc) > 120 {
		return string(doc[:120]) + "…"
	}
	return string(doc)
}
