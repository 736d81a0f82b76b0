package policy

import (
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Facts are what rules may know beside the plan.
type Facts struct {
	Target config.Resolved
	// Actor and Cause are the run's; Teams are the actor's.
	Actor  string
	Cause  string
	Teams  []string
	Now    time.Time
	Driver string
	Proposal
	Owners Owners
	// People answers for teams on forges and for code owners; nil knows nobody.
	People People
}

// Proposal is what the pull requests have in common that a change came
// through; it is zero for none. Mostly it is one, but a plan may carry what
// others left waiting.
type Proposal struct {
	// Number is 0 unless it is one pull request.
	Number int
	// Authors are all who proposed a part of it; whoever pushed without a pull
	// request is Author{}.
	Authors []Author
	// Requested are those who had trueup propose it in their stead.
	Requested []string
	Labels    []string // that all of them have
}

// Author is who proposed a change: an actor, and the name on the forge.
type Author struct{ Actor, Login string }

// Author gives the only author, "" for none or several.
func (p Proposal) Author() string {
	if len(p.Authors) != 1 {
		return ""
	}
	return p.Authors[0].Actor
}

// And gives what two proposals have in common.
func (p Proposal) And(o Proposal) Proposal {
	if p.Number != o.Number {
		p.Number = 0
	}
	p.Authors = slices.Clone(p.Authors)
	for _, a := range o.Authors {
		if !slices.Contains(p.Authors, a) {
			p.Authors = append(p.Authors, a)
		}
	}
	p.Requested = slices.Concat(p.Requested, o.Requested)
	p.Labels = slices.DeleteFunc(slices.Clone(p.Labels), func(l string) bool { return !slices.Contains(o.Labels, l) })
	return p
}

// ProposalOf gives the proposal of one commit.
func ProposalOf(o *store.Origin) Proposal {
	if o == nil {
		return Proposal{}
	}
	a := Author{string(o.Proposed.Actor), o.Proposed.Login}
	if a.Actor == "" && a.Login != "" {
		a.Actor = o.Forge + ":" + a.Login
	}
	p := Proposal{Number: o.Number, Authors: []Author{a}, Labels: o.Labels}
	for _, actor := range o.Requested {
		p.Requested = append(p.Requested, string(actor))
	}
	return p
}

// Decision says what a plan needs and what it has.
type Decision struct {
	// Needed tells that an approval is needed, be it there already or not.
	Needed bool `json:"needed"`
	// Auto tells that a rule lets the plan pass by itself.
	Auto bool `json:"auto"`
	// Rule is the text of the rule that matched.
	Rule string `json:"rule,omitempty"`
	// By and Count are the rule's; with several kinds of approvers By is all of
	// them and Count the sum.
	By    []string `json:"by,omitempty"`
	Count int      `json:"count,omitempty"`
	// Have lists who approved and counts.
	Have []string `json:"have,omitempty"`
	// Missing says in a sentence what is missing; empty is nothing.
	Missing string `json:"missing,omitempty"`
	// Rejected says who rejected the plan, as long as that stands.
	Rejected string `json:"rejected,omitempty"`
	// Ignored says of approvals that don't count why not.
	Ignored []Ignored `json:"ignored,omitempty"`
}

// Ignored is an approval that does not count.
type Ignored struct {
	Actor string `json:"actor"`
	Why   string `json:"why"`
}

// Allowed tells whether nothing is missing and nobody objects.
func (d Decision) Allowed() bool { return d.Missing == "" && d.Rejected == "" }

// Counts says why an approval that is about to be given would not count, nil
// if it would or if the plan needs none.
func (r *Rules) Counts(p *plan.Plan, f Facts, given []store.Approval, forced []Violation, a store.Approval) error {
	d, err := r.Decide(p, f, append(slices.Clone(given), a), forced)
	if err != nil {
		return err
	}
	if !d.Needed || slices.Contains(d.Have, string(a.Actor)) {
		return nil
	}
	for _, i := range d.Ignored {
		if i.Actor == string(a.Actor) {
			return fmt.Errorf("%s can't approve this: %s", a.Actor, i.Why)
		}
	}
	return fmt.Errorf("%s can't approve this", a.Actor)
}

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
	d := Decision{Needed: match.needed, Auto: !match.needed && match.rule.isAuto(), Rule: match.text}
	t := newTally(match.rule.Approval, p, f, given, rejection)
	d.Have, d.Ignored = t.have, t.ignored
	if !d.Needed {
		return d, nil
	}
	d.By, d.Count = t.asked()
	d.Missing = t.missing(match.note)
	if d.Missing != "" && rejection != nil {
		d.Rejected = rejectionText(*rejection)
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

func rejectionText(a store.Approval) string {
	s := "rejected by " + string(a.Actor)
	if a.Reason != "" {
		s += ": " + a.Reason
	}
	return s
}
