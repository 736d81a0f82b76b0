package exec

import (
	"io/fs"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/plan"
)

// Spec is what the repository may say about a target.
type Spec struct {
	// Entry is the file, below the target's path, that {entry} stands for: a
	// playbook, a configuration. Where the target's path is a file, it is that.
	Entry string `yaml:"entry,omitempty" json:"entry,omitempty"`
	// Values are plain values for the tool. They stand in the file of {values},
	// beside the target's values from other targets.
	Values map[string]any `yaml:"values,omitempty" json:"values,omitempty"`
}

// Validate checks the values.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	if s.Entry != "" && (!fs.ValidPath(s.Entry) || s.Entry == ".") {
		d.Errorf(plan.Source{}, "entry", "name a file below the target's path", "%q is no path in the repository", s.Entry)
	}
	for _, n := range sortedKeys(s.Values) {
		if !variable.MatchString(n) {
			d.Errorf(plan.Source{}, "values."+n, "use letters, digits and _", "%q is no name of a value", n)
		}
	}
	return d
}

// Scope narrows an environment to some addresses.
type Scope struct {
	// Addresses lists globs of the addresses that the tool may report; empty
	// means all. A * does not match a slash, ** does.
	Addresses []string `yaml:"addresses,omitempty" json:"addresses,omitempty" strict:"one"`
}

// Validate checks the values.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	for i, g := range s.Addresses {
		if g == "" || !doublestar.ValidatePattern(g) {
			d.Errorf(plan.Source{}, "addresses["+itoa(i)+"]", "write a glob such as web-*", "%q is none", g)
		}
	}
	return d
}

// Contains tells whether an address lies inside.
func (s *Scope) Contains(k plan.Key, _ string) bool {
	if s == nil || len(s.Addresses) == 0 {
		return true
	}
	for _, g := range s.Addresses {
		if doublestar.MatchUnvalidated(g, string(k.Address)) {
			return true
		}
	}
	return false
}
