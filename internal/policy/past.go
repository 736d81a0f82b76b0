package policy

import (
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Past is a plan that was made once, with the run that made it.
type Past struct {
	Run  store.Run
	Plan *plan.Plan
	// Teams are those of who caused it.
	Teams []string
}

// The ways a plan went, or would go.
const (
	Passed   = "passed"   // by itself: a rule said auto, or nothing asked for more
	Approved = "approved" // after somebody's approval
	Held     = "held"     // it waited for an approval
)

// The ways rules differ from what happened.
const (
	Same     = "same"
	Looser   = "looser"   // would pass by itself, and waited for a person
	Stricter = "stricter" // would wait for a person, and passed by itself
)

// Verdict is what rules make of a past plan.
type Verdict struct {
	Run         string    `json:"run"`
	Target      string    `json:"target"`
	Environment string    `json:"environment"`
	Commit      string    `json:"commit,omitempty"`
	PlanHash    string    `json:"planHash,omitempty"`
	At          time.Time `json:"at"`
	// Then is how it went, RestedOn what it rested on or was held by.
	Then     string `json:"then"`
	RestedOn string `json:"restedOn,omitempty"`
	// Now is passed or held, by Rule, Needs and Guards.
	Now    string   `json:"now"`
	Rule   string   `json:"rule,omitempty"`
	Needs  string   `json:"needs,omitempty"`
	Guards []string `json:"guards,omitempty"`
	// Difference is same, looser or stricter.
	Difference string `json:"difference"`
	Error      string `json:"error,omitempty"`
}

// facts of a past plan. Code owners are not looked up: who they were then is
// not known any more.
func (x Past) facts() Facts {
	r := x.Run
	f := Facts{Target: config.Resolved{ID: r.Target, Name: nameOf(r.Target), Environment: r.Environment, Repository: r.Repository},
		Actor: string(r.Actor), Cause: r.Cause, Teams: x.Teams, Now: r.Started, Driver: x.Plan.Driver,
		Owners: Owners{Problem: "they are not looked up for past plans"}}
	if r.First != nil {
		f.Actor, f.Cause = string(r.First.Actor), r.First.Cause
	}
	f.Proposal = ProposalOf(r.Origin)
	return f
}

// nameOf gives the name in repository/name@environment.
func nameOf(target string) string {
	_, name, _ := strings.Cut(target, "/")
	name, _, _ = strings.Cut(name, "@")
	return name
}

// then says how it went.
func (x Past) then() string {
	r := x.Run
	switch {
	case strings.HasPrefix(r.Approval, "approved by "):
		return Approved
	case slices.Contains([]string{"approval", "guard", "rejected"}, r.Gate):
		return Held
	}
	return Passed
}

// Try says what rules and guards would have made of a past plan, and how that
// differs from what happened. Approvals that were given don't count: the
// question is who would have been asked.
func (r *Rules) Try(guard map[string]config.Limit, x Past) Verdict {
	run := x.Run
	v := Verdict{Run: run.ID, Target: run.Target, Environment: run.Environment, Commit: run.Commit, PlanHash: run.PlanHash, At: run.Started,
		Then: x.then(), RestedOn: run.Approval, Now: Passed, Difference: Same}
	if v.Then == Held {
		v.RestedOn = run.Gate + ": " + run.Error
	}
	violations := Guard(guard, x.Plan)
	for _, g := range violations {
		v.Guards = append(v.Guards, g.Text)
	}
	d, err := r.Decide(x.Plan, x.facts(), nil, violations)
	v.Rule, v.Needs = d.Rule, d.Missing
	if err != nil {
		v.Error = err.Error()
	}
	if !d.Allowed() {
		v.Now = Held
	}
	// Drift of an approved state rests on that approval, whatever the rules.
	if strings.HasPrefix(run.Approval, "drift of a state") && len(violations) == 0 {
		v.Now, v.Needs = Passed, ""
	}
	switch {
	case v.Now == Passed && v.Then != Passed:
		v.Difference = Looser
	case v.Now == Held && v.Then == Passed:
		v.Difference = Stricter
	}
	return v
}

// Look is what one rule makes of a plan.
type Look struct {
	Rule    string `json:"rule"`
	Matches bool   `json:"matches"`
	Counts  bool   `json:"counts"` // it is the one that decides
	Error   string `json:"error,omitempty"`
}

// Explain says of every rule, in their order, whether it matches a past plan,
// and which one counts.
func (r *Rules) Explain(guard map[string]config.Limit, x Past) ([]Look, Verdict) {
	verdict := r.Try(guard, x)
	var out []Look
	if r == nil {
		return nil, verdict
	}
	v := vars(x.Plan, x.facts())
	counted := false
	for _, rule := range r.rules {
		l := Look{Rule: rule.String()}
		ok, err := rule.matches(v)
		if err != nil {
			l.Error = err.Error()
		}
		l.Matches = ok
		if !counted && (err != nil || ok && l.Rule == verdict.Rule) {
			l.Counts, counted = true, true
		}
		out = append(out, l)
	}
	return out, verdict
}
