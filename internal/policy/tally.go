package policy

import (
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/codeowners"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// People answers questions about those who approved. An error counts as no,
// and is told.
type People interface {
	// InTeam tells whether an approver is in a team on a forge.
	InTeam(a store.Approval, team config.Who) (bool, error)
	// IsOwner tells whether an approver is, or belongs to, a code owner.
	IsOwner(a store.Approval, o codeowners.Owner) (bool, error)
}

// Owners says who owns the files that ask for changes.
type Owners struct {
	File *codeowners.File
	// Problem says why there is no file, or why it does not count.
	Problem string
	// Path is the file of changes that name none: the target's own.
	Path string
	// Was gives the file that asked for an object last, "" for none: taking an
	// object over into another file is up to the owners of both. Nil knows none.
	Was func(plan.Key) string
}

// tally counts the approvals of a rule.
type tally struct {
	rule    config.Approval
	facts   Facts
	quorums []quorum
	have    []string
	ignored []Ignored
	trouble []string // questions that could not be answered
}

// quorum is one kind of approvers. With code owners it has as many parts as
// the files have different groups of owners.
type quorum struct {
	config.Quorum
	parts []part
}

// part is a number of approvals out of some people.
type part struct {
	count  int
	owners []codeowners.Owner
	files  []string // that ask for them; empty without code owners
	have   []string
}

// newTally counts, once each and in order of time, the people whose approval
// counts: persons, named by the rule, later than any rejection.
func newTally(rule config.Approval, p *plan.Plan, f Facts, given []store.Approval, rejection *store.Approval) *tally {
	t := &tally{rule: rule, facts: f}
	for _, q := range rule.Quorums() {
		q.Count = max(q.Count, 1)
		t.quorums = append(t.quorums, quorum{q, t.parts(q, p)})
	}
	sorted := slices.Clone(given)
	slices.SortStableFunc(sorted, func(a, b store.Approval) int { return a.At.Compare(b.At) })
	for _, a := range sorted {
		if !a.Approved {
			continue
		}
		who := string(a.Actor)
		why := t.excluded(a, rejection)
		if why == "" && !t.take(a) {
			why = t.unnamed()
		}
		if why != "" {
			t.ignored = append(t.ignored, Ignored{who, why})
		} else if !slices.Contains(t.have, who) {
			t.have = append(t.have, who)
		}
	}
	return t
}

// excluded says why an approval does not count whoever the rule names.
func (t *tally) excluded(a store.Approval, rejection *store.Approval) string {
	who := string(a.Actor)
	switch {
	case !isPerson(who):
		return "only people approve"
	case rejection != nil && !a.At.After(rejection.At):
		return "it was given before the rejection by " + string(rejection.Actor)
	case a.Via == store.ByReview && !t.rule.Reviews:
		return "the rule does not count reviews on the forge"
	case t.rule.NotAuthor && t.isAuthor(a):
		return "the rule leaves out who proposed or caused the change"
	}
	return ""
}

func (t *tally) isAuthor(a store.Approval) bool {
	return string(a.Actor) == t.facts.Actor || slices.Contains(t.facts.Requested, string(a.Actor)) || slices.ContainsFunc(t.facts.Authors, func(x Author) bool {
		return x.Actor != "" && x.Actor == string(a.Actor) || x.Login != "" && strings.EqualFold(x.Login, a.Login)
	})
}

// isPerson leaves out approvals that the machine would give to itself.
func isPerson(actor string) bool {
	kind, name, ok := strings.Cut(actor, ":")
	return ok && name != "" && kind != "system" && kind != "webhook"
}

// take counts an approval wherever the rule names its giver.
func (t *tally) take(a store.Approval) bool {
	counts := false
	for i := range t.quorums {
		q := &t.quorums[i]
		named := t.named(q.By, a)
		for j := range q.parts {
			part := &q.parts[j]
			if !named && !t.owns(part.owners, a) {
				continue
			}
			counts = true
			if who := string(a.Actor); !slices.Contains(part.have, who) {
				part.have = append(part.have, who)
			}
		}
	}
	return counts
}

func (t *tally) named(by []string, a store.Approval) bool {
	if len(by) == 0 || by[0] == auto {
		// Any approver: one whom this server knows as such.
		return a.Via != store.ByReview && a.Via != store.ByComment || strings.HasPrefix(string(a.Actor), "user:")
	}
	for _, text := range by {
		w, ok := config.ParseWho(text)
		switch {
		case !ok:
		case w.Kind == "user" && string(a.Actor) == text,
			w.Kind == "team" && !w.Forge && slices.Contains(a.Teams, w.Name),
			w.Kind == "team" && w.Forge && t.ask(text, func() (bool, error) { return t.facts.People.InTeam(a, w) }):
			return true
		}
	}
	return false
}

func (t *tally) owns(owners []codeowners.Owner, a store.Approval) bool {
	for _, o := range owners {
		if t.ask(o.String(), func() (bool, error) { return t.facts.People.IsOwner(a, o) }) {
			return true
		}
	}
	return false
}

// ask puts a question, and remembers what could not be answered.
func (t *tally) ask(what string, put func() (bool, error)) bool {
	if t.facts.People == nil {
		return false
	}
	ok, err := put()
	if err == nil {
		return ok
	}
	if text := fmt.Sprintf("%s could not be looked up: %v", what, err); !slices.Contains(t.trouble, text) {
		t.trouble = append(t.trouble, text)
	}
	return false
}

// asked gives the kinds of approvers and the numbers in one.
func (t *tally) asked() (by []string, count int) {
	for _, q := range t.quorums {
		count += q.Count
		for _, b := range q.By {
			if !slices.Contains(by, b) && b != auto {
				by = append(by, b)
			}
		}
	}
	return by, count
}

// missing says what the rule still needs, "" for nothing.
func (t *tally) missing(note string) string {
	var texts []string
	for _, q := range t.quorums {
		for _, p := range q.parts {
			if n := p.count - len(p.have); n > 0 {
				texts = append(texts, t.need(q, p, n))
			}
		}
	}
	if len(texts) == 0 {
		return ""
	}
	notes := slices.Clone(t.trouble)
	if note != "" {
		notes = append(notes, note)
	}
	const most = 4
	if len(texts) > most {
		texts = append(texts[:most], fmt.Sprintf("%d more like these", len(texts)-most))
	}
	s := "needs " + strings.Join(texts, ", and ")
	if len(notes) > 0 {
		s += " (" + strings.Join(notes, "; ") + ")"
	}
	return s
}

func (t *tally) need(q quorum, p part, n int) string {
	more, noun := "", "approvals"
	if len(p.have) > 0 {
		more = "more "
	}
	if n == 1 {
		noun = "approval"
	}
	return fmt.Sprintf("%d %s%s by %s", n, more, noun, t.whom(q.By, p))
}

// whom names those who could approve a part.
func (t *tally) whom(by []string, p part) string {
	var names []string
	for _, b := range by {
		switch b {
		case auto:
		case codeOwners:
			names = append(names, t.ownersText(p))
		default:
			names = append(names, b)
		}
	}
	if len(names) == 0 {
		return "any approver"
	}
	return strings.Join(names, " or ")
}

// unnamed says that the rule names somebody else.
func (t *tally) unnamed() string {
	var names []string
	for _, q := range t.quorums {
		for _, p := range q.parts {
			if text := t.whom(q.By, p); !slices.Contains(names, text) && len(names) < 4 {
				names = append(names, text)
			}
		}
	}
	s := "the rule asks for " + strings.Join(names, ", and ")
	if len(t.trouble) > 0 {
		s += " (" + strings.Join(t.trouble, "; ") + ")"
	}
	return s
}

func approvers(by []string) string {
	names := slices.DeleteFunc(slices.Clone(by), func(b string) bool { return b == auto })
	if len(names) == 0 {
		return "any approver"
	}
	return strings.Join(names, " or ")
}
