package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/codeowners"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

// codeOwners is the word for the owners of the files that ask for the changes.
const codeOwners = "codeowners"

// maxOwned bounds the different groups of owners that one plan may concern.
const maxOwned = 200

// parts gives what one kind of approvers comes down to for a plan.
func (t *tally) parts(q config.Quorum, p *plan.Plan) []part {
	if !slices.Contains(q.By, codeOwners) {
		return []part{{count: q.Count}}
	}
	var out []part
	index := map[string]int{}
	for _, file := range filesOf(p, t.facts.Owners) {
		for _, g := range required(t.facts.Owners.File.Owners(file)) {
			count := max(q.Count, g.Count)
			key := fmt.Sprint(count, g.Owners)
			i, ok := index[key]
			if !ok && len(out) == maxOwned {
				continue
			}
			if !ok {
				i = len(out)
				index[key] = i
				out = append(out, part{count: count, owners: g.Owners})
			}
			out[i].files = append(out[i].files, file)
		}
	}
	if len(index) == maxOwned {
		// More than can be told apart: nobody owns all of that.
		return []part{{count: q.Count, files: []string{"more files than can be told apart"}}}
	}
	if len(out) == 0 {
		out = []part{{count: q.Count}}
	}
	return out
}

// required leaves out the groups that the file calls optional, unless there
// are no others. A file that nobody owns gives one group of nobody.
func required(groups []codeowners.Group) []codeowners.Group {
	must := slices.DeleteFunc(slices.Clone(groups), func(g codeowners.Group) bool { return g.Optional })
	switch {
	case len(must) > 0:
		return must
	case len(groups) > 0:
		return groups
	}
	return []codeowners.Group{{Count: 1}}
}

// filesOf lists the files that ask for the plan's changes. A change that names
// none belongs to the target's path; one to an object that another file asked
// for before belongs to that file as well.
func filesOf(p *plan.Plan, o Owners) []string {
	seen := map[string]bool{}
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Action.Writes() || c.Action == plan.Adopt || c.Action == plan.Forget {
			seen[cmp.Or(c.Source.File, o.Path)] = true
			if o.Was == nil {
				continue
			}
			if was := o.Was(c.Key); was != "" {
				seen[was] = true
			}
		}
	}
	out := make([]string, 0, len(seen))
	for f := range seen {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// ownersText names the code owners of a part.
func (t *tally) ownersText(p part) string {
	if t.facts.Owners.File == nil {
		return "code owners, of whom there are none: " + cmp.Or(t.facts.Owners.Problem, "there is no file CODEOWNERS")
	}
	of := ""
	for i, f := range p.files {
		if i == 3 {
			of += fmt.Sprintf(" and %d more", len(p.files)-i)
			break
		}
		if i > 0 {
			of += ", "
		}
		of += f
	}
	if len(p.owners) == 0 {
		return "a code owner of " + of + ", which has none in CODEOWNERS"
	}
	names := make([]string, len(p.owners))
	for i, o := range p.owners {
		names[i] = o.String()
	}
	return fmt.Sprintf("a code owner of %s (%s)", of, strings.Join(names, " "))
}
