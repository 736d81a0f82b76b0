// Package ignore leaves fields out of desired objects that somebody else
// looks after: by JSON pointer, by CEL expression, or by the field manager
// that has them. They are neither compared nor applied, so that nobody fights
// for them. It is pure.
package ignore

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Rule says which fields of which objects are left alone once the objects are
// there; a new object gets them as Git has them.
type Rule struct {
	// Group, Kind, Name and Namespace say which objects, each with * and ? as
	// in file names; what is left out is any. The kind may have its group
	// behind it: Deployment.apps.
	Group     string `yaml:"group,omitempty" json:"group,omitempty"`
	Kind      string `yaml:"kind,omitempty" json:"kind,omitempty"`
	Name      string `yaml:"name,omitempty" json:"name,omitempty"`
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	// Pointers are JSON pointers (RFC 6901) into the object: /spec/replicas.
	Pointers []string `yaml:"pointers,omitempty" json:"pointers,omitempty" strict:"one"`
	// Expressions are CEL expressions that give pointers, as a string or a list
	// of them. They see the object as Git has it (object) and as it is (live).
	Expressions []string `yaml:"expressions,omitempty" json:"expressions,omitempty" strict:"one"`
	// Managers are field managers: what they own is left alone.
	Managers []string `yaml:"managers,omitempty" json:"managers,omitempty" strict:"one"`
}

// Set is a list of rules, compiled. A nil Set ignores nothing.
type Set struct{ rules []rule }

type rule struct {
	Rule
	pointers []pointer
	programs []*program
}

// maxRules and maxList bound what one target may ask for.
const (
	maxRules = 200
	maxList  = 100
)

// Compile makes rules ready. What is wrong names its field below the list.
func Compile(rules []Rule) (*Set, plan.Diagnostics) {
	var found plan.Diagnostics
	if len(rules) > maxRules {
		found.Errorf(plan.Source{}, "", "make one rule of several", "there are %d rules, the limit is %d", len(rules), maxRules)
		return nil, found
	}
	s := &Set{}
	for i := range rules {
		s.rules = append(s.rules, compile(&found, fmt.Sprintf("[%d]", i), rules[i]))
	}
	if len(found) > 0 {
		return nil, found
	}
	return s, nil
}

func compile(found *plan.Diagnostics, field string, in Rule) rule {
	out := rule{Rule: in}
	if kind, group, both := strings.Cut(in.Kind, "."); both {
		if in.Group != "" && in.Group != group {
			found.Errorf(plan.Source{}, field+".kind", "", "the kind says group %q, and group says %q", group, in.Group)
		}
		out.Kind, out.Group = kind, group
	}
	for name, glob := range map[string]string{"group": out.Group, "kind": out.Kind, "name": in.Name, "namespace": in.Namespace} {
		if _, err := path.Match(glob, ""); err != nil {
			found.Errorf(plan.Source{}, field+"."+name, "", "%q is no pattern", glob)
		}
	}
	if len(in.Pointers)+len(in.Expressions)+len(in.Managers) == 0 {
		found.Errorf(plan.Source{}, field, "give pointers, expressions or managers", "it says nothing that is to be ignored")
	}
	if len(in.Pointers) > maxList || len(in.Expressions) > maxList || len(in.Managers) > maxList {
		found.Errorf(plan.Source{}, field, "", "a list is longer than %d", maxList)
		return out
	}
	for i, text := range in.Pointers {
		p, err := parse(text)
		if err != nil {
			found.Errorf(plan.Source{}, fmt.Sprintf("%s.pointers[%d]", field, i), "", "%v", err)
		}
		out.pointers = append(out.pointers, p)
	}
	for i, text := range in.Expressions {
		p, err := newProgram(text)
		if err != nil {
			found.Errorf(plan.Source{}, fmt.Sprintf("%s.expressions[%d]", field, i), "", "%v", err)
		}
		out.programs = append(out.programs, p)
	}
	return out
}

// fits tells whether the rule is about an object.
func (r *rule) fits(o manifest.Ref) bool {
	for _, c := range [][2]string{{r.Group, o.Group}, {r.Kind, o.Kind}, {r.Name, o.Name}, {r.Namespace, o.Namespace}} {
		if c[0] == "" {
			continue
		}
		if ok, err := path.Match(c[0], c[1]); err != nil || !ok {
			return false
		}
	}
	return true
}

// About tells whether a rule is about an object.
func (s *Set) About(o manifest.Ref) bool {
	return s != nil && slices.ContainsFunc(s.rules, func(r rule) bool { return r.fits(o) })
}

// Strip gives the desired object without what is to be ignored; live is the
// object as it is, nil when it is not there yet. A field that the manager has
// set before and that nobody has taken over stays in with its live value: left
// out it would be taken away, for it had no owner any more. The objects that
// are given are not changed.
func (s *Set) Strip(desired, live *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	if s == nil || live == nil {
		return desired, nil
	}
	ref := manifest.RefOf(desired)
	var pointers []pointer
	var managers []string
	for i := range s.rules {
		r := &s.rules[i]
		if !r.fits(ref) {
			continue
		}
		pointers = append(pointers, r.pointers...)
		managers = append(managers, r.Managers...)
		for _, p := range r.programs {
			more, err := p.pointers(desired, live)
			if err != nil {
				return nil, fmt.Errorf("%s: ignoreDifferences: %w", ref, err)
			}
			pointers = append(pointers, more...)
		}
	}
	if len(pointers)+len(managers) == 0 {
		return desired, nil
	}
	owners, err := ownersOf(live, manager)
	if err != nil {
		return nil, fmt.Errorf("%s: ignoreDifferences: %w", ref, err)
	}
	out := desired.DeepCopy()
	for _, p := range ordered(pointers) {
		out.Object, _ = cut(out.Object, p, site{live: live.Object, own: owners.sole}).(map[string]any)
	}
	if theirs := owners.of(managers); !theirs.Empty() {
		out.Object, _ = without(out.Object, theirs).(map[string]any)
	}
	return out, nil
}

// ordered sorts pointers so that what stands behind in a list goes first, and
// drops those that lie inside others.
func ordered(all []pointer) []pointer {
	slices.SortFunc(all, pointer.compare)
	var out []pointer
	for _, p := range all {
		if !slices.ContainsFunc(out, func(o pointer) bool { return o.holds(p) }) {
			out = append(out, p)
		}
	}
	slices.Reverse(out)
	return out
}
