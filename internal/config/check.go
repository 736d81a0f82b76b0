package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Overlapper is a ScopeSpec that can tell whether it may share an object with
// another one of its type.
type Overlapper interface {
	Overlaps(other driver.ScopeSpec) bool
}

// Check looks at all targets of a repository, or of all repositories: double
// ids and names, two targets that own the same thing, dependsOn and values
// that name nothing, and cycles. In place, it turns names of targets in other
// manifests into ids.
func Check(all []Resolved) plan.Diagnostics {
	c := &checker{all: all, byID: make(map[string]int, len(all)), names: byName(all), repos: map[string]bool{}}
	c.identities()
	c.previous()
	c.owners()
	for i := range all {
		linkNames(&all[i], c.names)
	}
	for i := range all {
		c.references(&all[i])
	}
	c.cycles()
	return ordered(c.diags)
}

// maxSuggested is how many findings get a suggestion: looking for the nearest
// of many names takes time.
const maxSuggested = 50

type checker struct {
	all   []Resolved
	byID  map[string]int
	names map[string][]string
	repos map[string]bool
	diags plan.Diagnostics
	rings int // cycles reported
}

func (c *checker) identities() {
	base := map[string]int{} // repository/name to the first target of that name
	for i := range c.all {
		r := &c.all[i]
		c.repos[r.Repository] = true
		if first, dup := c.byID[r.ID]; dup {
			c.diags.Errorf(r.Source, "name", "give one of them another name", "the target %q stands twice; first at %s", r.ID, c.all[first].Source)
			continue
		}
		c.byID[r.ID] = i
		key := r.Repository + "/" + r.Name
		if first, dup := base[key]; dup && bareID(r) != bareID(&c.all[first]) {
			c.diags.Errorf(r.Source, "name", "give one of them another name", "two targets have the name %q; the other is at %s", r.Name, c.all[first].Source)
		} else if !dup {
			base[key] = i
		}
	}
}

func bareID(r *Resolved) string { return strings.TrimSuffix(r.ID, "@"+r.Environment) }

// previous refuses a claim on what another target still is.
func (c *checker) previous() {
	claimed := map[string]int{}
	for i := range c.all {
		r := &c.all[i]
		for _, id := range r.PreviousIDs {
			if other, ok := c.byID[id]; ok && other != i {
				c.diags.Errorf(r.Source, "previously", "remove it, or rename the other target", "%q would take over %q, which is still a target at %s", r.ID, id, c.all[other].Source)
				break
			}
			if other, ok := claimed[id]; ok && other != i {
				c.diags.Errorf(r.Source, "previously", "name it in one of them", "%q and %q both say that they were %q", r.ID, c.all[other].ID, id)
				break
			}
			claimed[id] = i
		}
	}
}

// owners finds targets that own the same thing: the same path in the same
// environment with scopes that are not told apart.
func (c *checker) owners() {
	seen := map[string][]int{}
	for i := range c.all {
		r := &c.all[i]
		key := r.Repository + "\x00" + r.Environment + "\x00" + r.Path
		for _, j := range seen[key] {
			if first := &c.all[j]; r.ID != first.ID && overlap(r, first) {
				c.diags.Errorf(r.Source, "path", "remove one of them, or give them scopes that share nothing",
					"%q and %q (%s) both own %q in the environment %q", r.ID, first.ID, first.Source, r.Path, r.Environment)
				break
			}
		}
		seen[key] = append(seen[key], i)
	}
}

func overlap(a, b *Resolved) bool {
	if o, ok := a.Scope.(Overlapper); ok && b.Scope != nil {
		return o.Overlaps(b.Scope)
	}
	return len(a.RawScope) == 0 || len(b.RawScope) == 0 || string(a.RawScope) == string(b.RawScope)
}

// references checks what a target says about other targets.
func (c *checker) references(r *Resolved) {
	c.promotion(r)
	for _, id := range r.DependsOn {
		if id == r.ID {
			continue // reported as a cycle
		}
		c.exists(r, "dependsOn", id)
	}
	for _, key := range sorted(r.Values) {
		ref, field := r.Values[key], "values."+key
		if ids := c.names[ref.Target]; len(ids) > 1 {
			c.diags.Errorf(r.Source, field, "name one: "+short(ids[0])+"."+ref.Output, "%q has %d environments", short(ref.Target), len(ids))
			continue
		}
		if up := c.exists(r, field, ref.Target); up != nil {
			c.readable(r, up, field, ref.Output)
		}
	}
}

// exists gives the target with an id. One of a repository that is not being
// looked at can't be checked.
func (c *checker) exists(r *Resolved, field, id string) *Resolved {
	if i, ok := c.byID[id]; ok {
		return &c.all[i]
	}
	repo, name, _ := strings.Cut(id, "/")
	if c.repos[repo] && len(c.diags) > maxSuggested {
		c.diags.Errorf(r.Source, field, "", "%q: there is no target %q", short(r.ID), name)
	} else if c.repos[repo] {
		var names []string
		for key := range c.names {
			if of, n, _ := strings.Cut(key, "/"); of == repo {
				names = append(names, n)
			}
		}
		c.diags.Errorf(r.Source, field, strict.Mend(name, names), "%q: there is no target %q", short(r.ID), name)
	}
	return nil
}

func (c *checker) readable(r, up *Resolved, field, output string) {
	export, ok := up.Outputs[output]
	if !ok {
		c.diags.Errorf(r.Source, field, fmt.Sprintf("add outputs: { %s: {} } to %s (%s)", output, up.Name, up.Source), "the target %q declares no output %q", short(up.ID), output)
		return
	}
	allowed := len(export.ReadableBy) == 0 && r.Repository == up.Repository ||
		slices.Contains(export.ReadableBy, r.ID) || r.Repository == up.Repository && slices.Contains(export.ReadableBy, r.Name)
	if !allowed {
		c.diags.Errorf(r.Source, field, fmt.Sprintf("add %s to readableBy at %s", cmp.Or(r.Name, r.ID), up.Source), "the output %q of %q is not readable by %q", output, short(up.ID), r.Name)
	}
}

// short leaves out the repository of an id.
func short(id string) string {
	_, name, ok := strings.Cut(id, "/")
	if !ok {
		return id
	}
	return name
}
