// Package policy decides what a plan needs before it may be applied: guards on
// its impact, approvals by rules in CEL, and time windows. It is pure: no
// input or output, no clock; the same facts give the same decision.
package policy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

// The kinds of impact that guards limit.
const (
	impactCreate  = "create"
	impactUpdate  = "update"
	impactReplace = "replace"
	impactDelete  = "delete"
	impactDisable = "disable"
	// impactConflict is no limit's key: a conflict is always a violation.
	impactConflict = "conflict"
)

// shareFloor is what a share always allows, so that a target with a handful
// of objects stays usable: a share of 20% of 4 would allow nothing at all.
const shareFloor = 3

// Violation is one guard that a plan breaks. The run is held until somebody
// approves exactly this plan.
type Violation struct {
	Class  string `json:"class"`
	Impact string `json:"impact"` // delete, replace, update, create, disable, conflict
	Count  int    `json:"count"`
	Owned  int    `json:"owned"`
	Limit  int    `json:"limit"`
	// Text is one readable sentence.
	Text string `json:"text"`
}

// Guard gives every guard that the plan breaks, in a fixed order. Limits has
// the keys create, update, replace, delete and disable; a key that is missing
// has the default of config.DefaultGuard. The absolute number and the share are counted per class of
// resource, and the smaller one counts. A replace counts as a delete too.
func Guard(limits map[string]config.Limit, p *plan.Plan) []Violation {
	var out []Violation
	sum, owned := impacts(p), ownedNow(p)
	all := config.DefaultGuard()
	maps.Copy(all, limits)
	for _, class := range slices.Sorted(maps.Keys(sum)) {
		for _, n := range counts(sum[class]) {
			l, ok := all[n.impact]
			if !ok || n.count == 0 {
				continue
			}
			limit, why := allowed(l, n.impact, class, owned[class])
			if n.count > limit {
				out = append(out, Violation{Class: class, Impact: n.impact, Count: n.count, Owned: owned[class], Limit: limit,
					Text: sentence(n, class, limit, why)})
			}
		}
	}
	out = append(out, removals(p, owned)...)
	return append(out, conflicts(p)...)
}

// count is how often a plan does one kind of thing; replaced of a delete's
// count come from replaces.
type count struct {
	impact   string
	count    int
	replaced int
}

func counts(i plan.Impact) []count {
	return []count{
		{impact: impactCreate, count: i.Create},
		{impact: impactUpdate, count: i.Update},
		{impact: impactReplace, count: i.Replace},
		{impact: impactDelete, count: i.Delete + i.Replace, replaced: i.Replace},
		{impact: impactDisable, count: i.Disable},
	}
}

// impacts adds up the plan's impacts by class. A change that writes and
// declares no impact counts as one object, so that no driver slips past the
// guards by leaving it out.
func impacts(p *plan.Plan) map[string]plan.Impact {
	sum := map[string]plan.Impact{}
	for i := range p.Changes {
		for _, im := range impactOf(&p.Changes[i]) {
			sum[im.Class] = sum[im.Class].Add(im)
		}
	}
	return sum
}

func impactOf(c *plan.Change) []plan.Impact {
	if len(c.Impact) > 0 {
		return c.Impact
	}
	im := plan.Impact{Class: cmp.Or(c.Kind, "object")}
	switch c.Action {
	case plan.Create:
		im.Create = 1
	case plan.Update, plan.Rename:
		im.Update = 1
	case plan.Replace:
		im.Replace = 1
	case plan.Delete:
		im.Delete = 1
	case plan.Disable:
		im.Disable = 1
	default:
		return nil
	}
	return []plan.Impact{im}
}

// ownedNow is what the target owns, by class, in the scopes that could be
// read: what is unknown must not make a share larger.
func ownedNow(p *plan.Plan) map[string]int {
	sum := map[string]int{}
	for _, s := range p.Scopes {
		if s.Unknown != "" {
			continue
		}
		for class, n := range s.Owned {
			sum[class] += n
		}
	}
	return sum
}

// allowed gives the number that a limit allows, and how it came about.
func allowed(l config.Limit, impact, class string, owned int) (limit int, why string) {
	limit = math.MaxInt
	if l.Max != nil {
		limit = *l.Max
	}
	if n, ok := l.Classes[class]; ok {
		limit = n
	}
	if l.Share == nil {
		return limit, ""
	}
	if n := shareOf(*l.Share, impact, owned); n < limit {
		return n, fmt.Sprintf(" (%g%% of %d)", math.Round(*l.Share*1000)/10, owned)
	}
	return limit, ""
}

// shareOf turns a share into a number. It allows shareFloor at least, but
// what takes things away never takes all of several; 0% allows nothing.
func shareOf(share float64, impact string, owned int) int {
	if share <= 0 {
		return 0
	}
	n := int(math.Floor(share*float64(owned) + 1e-9))
	least := shareFloor
	if share < 1 && (impact == impactDelete || impact == impactReplace || impact == impactDisable) {
		least = max(1, min(shareFloor, owned-1))
	}
	return max(n, least)
}

// removals holds deletes that no limit should let pass: in a scope that reads
// empty although the target owned things there, in a run that removes all that
// the target owns, and in one that must not delete.
func removals(p *plan.Plan, owned map[string]int) []Violation {
	empty := map[plan.Scope]bool{}
	for _, s := range p.Scopes {
		empty[s.Scope] = s.Empty
	}
	inEmpty, total := map[string]int{}, map[string]int{}
	for i := range p.Changes {
		c := &p.Changes[i]
		for _, im := range impactOf(c) {
			n := im.Delete + im.Replace
			total[im.Class] += n
			if empty[c.Scope] {
				inEmpty[im.Class] += n
			}
		}
	}
	var out []Violation
	add := func(n map[string]int, format string) {
		for _, class := range slices.Sorted(maps.Keys(n)) {
			if n[class] > 0 {
				out = append(out, Violation{Class: class, Impact: impactDelete, Count: n[class], Owned: owned[class],
					Text: fmt.Sprintf(format, amount(n[class], class))})
			}
		}
	}
	add(inEmpty, "would delete %s where the environment reads empty although the target owned objects there")
	switch p.Mode {
	case plan.Destroy:
		add(total, "would destroy all that the target owns: %s")
	case plan.AddOnly:
		add(total, "would delete %s in a run that may only add")
	}
	return out
}

// conflicts holds changes whose object belongs to nobody yet, or to others.
func conflicts(p *plan.Plan) []Violation {
	var out []Violation
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Conflict == "" {
			continue
		}
		out = append(out, Violation{Class: cmp.Or(c.Kind, "object"), Impact: impactConflict, Count: 1,
			Text: fmt.Sprintf("would %s %s, which is in conflict: %s", c.Action, c.Key, c.Conflict)})
	}
	return out
}

func sentence(n count, class string, limit int, why string) string {
	replaced := ""
	if n.replaced > 0 {
		replaced = fmt.Sprintf(" (%d of them by replacing)", n.replaced)
	}
	return fmt.Sprintf("would %s %s%s, the guard allows %d%s", n.impact, amount(n.count, class), replaced, limit, why)
}

// amount gives "1 record" or "300 records".
func amount(n int, class string) string {
	if n == 1 {
		return "1 " + class
	}
	return fmt.Sprintf("%d %s", n, plural(class))
}

func plural(class string) string {
	last := len(class) - 1
	switch {
	case last < 1 || class[last] == 's':
		return class
	case class[last] == 'y' && !slices.Contains([]byte("aeiou"), class[last-1]):
		return class[:last] + "ies"
	}
	return class + "s"
}
