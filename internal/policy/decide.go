package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Facts are what rules may know beside the plan.
type Facts struct {
	Target config.Resolved
	// Actor and Cause are the run's; Teams are the actor's.
	Actor string
	Cause string
	Teams []string
	Now   time.Time
}

// Decision says what a plan needs and what it has.
type Decision struct {
	// Needed tells that an approval is needed, be it there already or not.
	Needed bool `json:"needed"`
	// Auto tells that a rule lets the plan pass by itself.
	Auto bool `json:"auto"`
	// Rule is the text of the rule that matched.
	Rule  string   `json:"rule,omitempty"`
	By    []string `json:"by,omitempty"`
	Count int      `json:"count,omitempty"`
	// Have lists who approved and counts.
	Have []string `json:"have,omitempty"`
	// Missing says in a sentence what is missing; empty is nothing.
	Missing string `json:"missing,omitempty"`
	// Rejected says who rejected the plan, as long as that stands.
	Rejected string `json:"rejected,omitempty"`
}

// Allowed tells whether nothing is missing and nobody objects.
func (d Decision) Allowed() bool { return d.Missing == "" && d.Rejected == "" }

// Decide says whether a plan needs an approval, and whether the given ones
// are enough. The first rule that matches counts; when there are rules and
// none matches, one approval by any approver is needed. Guard violations and
// a rejection need an approval even where a rule says auto: then by whom the
// first matching rule that is not auto names, else by any approver. Given are
// the decisions on exactly this plan (target, digest and hash). A rule that
// can't be evaluated is an error, and the decision that comes with it lets
// nothing pass.
func (r *Rules) Decide(p *plan.Plan, f Facts, given []store.Approval, forced []Violation) (Decision, error) {
	given = theirs(given, p)
	rejection := newestRejection(given)
	match, err := r.match(p, f, len(forced) > 0 || rejection != nil)
	if err != nil {
		return Decision{Needed: true, Count: 1, Missing: "needs a rule that can be evaluated: " + err.Error()}, err
	}
	d := Decision{Needed: match.needed, Auto: !match.needed && match.rule.isAuto(), Count: match.rule.Count, Rule: match.text}
	if match.needed {
		d.By = match.rule.By
	}
	d.Have = counting(match.rule.Approval, f, given, rejection)
	if !d.Needed {
		d.Count = 0
		return d, nil
	}
	if missing := d.Count - len(d.Have); missing > 0 {
		d.Missing = missingText(d, missing, match.note)
		if rejection != nil {
			d.Rejected = rejectionText(*rejection)
		}
	}
	return d, nil
}

// matched is the rule that counts. Note explains one that nobody wrote.
type matched struct {
	rule   rule
	needed bool
	text   string
	note   string
}

func (r *Rules) match(p *plan.Plan, f Facts, force bool) (matched, error) {
	anyone := matched{rule: rule{Approval: config.Approval{Count: 1}}, needed: true}
	if r == nil || len(r.rules) == 0 {
		anyone.needed = force
		return anyone, nil
	}
	v := vars(p, f)
	passed := ""
	for _, x := range r.rules {
		ok, err := x.matches(v)
		switch {
		case err != nil:
			return matched{}, err
		case !ok:
		case !x.isAuto():
			return matched{rule: x, needed: true, text: x.String()}, nil
		case !force:
			return matched{rule: x, text: x.String()}, nil
		case passed == "":
			passed = x.String()
		}
	}
	if passed == "" {
		anyone.note = "no approval rule matches this plan"
	}
	anyone.text = passed
	return anyone, nil
}

// theirs leaves out decisions on other plans, in case the caller did not.
func theirs(given []store.Approval, p *plan.Plan) []store.Approval {
	return slices.DeleteFunc(slices.Clone(given), func(a store.Approval) bool {
		return differ(a.Digest, p.Digest) || differ(a.Target, p.Target)
	})
}

// differ compares names of which one may not be known.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

func newestRejection(given []store.Approval) *store.Approval {
	var newest *store.Approval
	for i := range given {
		if !given[i].Approved && (newest == nil || given[i].At.After(newest.At)) {
			newest = &given[i]
		}
	}
	return newest
}

// counting lists, once each and in order of time, the people whose approval
// counts: a person, named by the rule, later than any rejection.
func counting(a config.Approval, f Facts, given []store.Approval, rejection *store.Approval) []string {
	sorted := slices.Clone(given)
	slices.SortStableFunc(sorted, func(a, b store.Approval) int { return a.At.Compare(b.At) })
	var have []string
	for _, g := range sorted {
		who := string(g.Actor)
		switch {
		case !g.Approved || rejection != nil && !g.At.After(rejection.At):
		case !isPerson(who) || a.NotAuthor && who == f.Actor:
		case !named(a.By, g):
		case !slices.Contains(have, who):
			have = append(have, who)
		}
	}
	return have
}

// isPerson leaves out approvals that the machine would give to itself.
func isPerson(actor string) bool {
	kind, name, ok := strings.Cut(actor, ":")
	return ok && name != "" && kind != "system" && kind != "webhook"
}

func named(by []string, g store.Approval) bool {
	if len(by) == 0 || by[0] == auto {
		return true
	}
	for _, b := range by {
		kind, name, _ := strings.Cut(b, ":")
		if kind == "team" && slices.Contains(g.Teams, name) || kind == "user" && string(g.Actor) == b {
			return true
		}
	}
	return false
}

func missingText(d Decision, missing int, note string) string {
	more, noun := "", "approvals"
	if len(d.Have) > 0 {
		more = "more "
	}
	if missing == 1 {
		noun = "approval"
	}
	s := fmt.Sprintf("needs %d %s%s by %s", missing, more, noun, approvers(d.By))
	if note != "" {
		s += " (" + note + ")"
	}
	return s
}

func rejectionText(a store.Approval) string {
	s := "rejected by " + string(a.Actor)
	if a.Reason != "" {
		s += ": " + a.Reason
	}
	return s
}

func approvers(by []string) string {
	if len(by) == 0 {
		return "any approver"
	}
	return strings.Join(by, " or ")
}
