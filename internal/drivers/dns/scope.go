package dns

import (
	"path"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Scope narrows an environment to names and types. The empty scope is all of
// it.
type Scope struct {
	// Names are globs of the names inside. Without a dot at its end a glob is
	// relative to the zone. "*" matches inside one label, "**" any number of
	// labels, "@" the zone's own name.
	Names []string `yaml:"names,omitempty" json:"names,omitempty" jsonschema:"description=Globs of the names inside: * within one label or ** for any depth or @ for the apex"`
	// Types are the record types inside: A, AAAA, TXT. Empty means all.
	Types []string `yaml:"types,omitempty" json:"types,omitempty" jsonschema:"description=Record types inside; empty means all"`
	// Except are globs of names that stay outside, whatever Names says.
	Except []string `yaml:"except,omitempty" json:"except,omitempty" jsonschema:"description=Globs of names that stay outside"`
}

// Contains tells whether an RRset lies inside.
func (s *Scope) Contains(k plan.Key, kind string) bool {
	if s.empty() {
		return true
	}
	zone, _, _ := strings.Cut(string(k.Scope), "/")
	name, typ := splitAddress(k.Address)
	if kind == kindZone {
		return len(s.Names) == 0 && len(s.Types) == 0
	}
	if len(s.Types) > 0 && !hasType(s.Types, typ) {
		return false
	}
	return (len(s.Names) == 0 || matchAny(s.Names, name, zone)) && !matchAny(s.Except, name, zone)
}

func (s *Scope) empty() bool {
	return s == nil || len(s.Names) == 0 && len(s.Types) == 0 && len(s.Except) == 0
}

// Validate reports globs and types that can't match anything.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	checkGlobs(&d, "names", s.Names)
	checkGlobs(&d, "except", s.Except)
	checkTypes(&d, "types", s.Types)
	return d
}

func splitAddress(a plan.Address) (name, typ string) {
	i := strings.LastIndexByte(string(a), '/')
	if i < 0 {
		return string(a), ""
	}
	return string(a[:i]), string(a[i+1:])
}

func hasType(types []string, typ string) bool {
	for _, t := range types {
		if strings.EqualFold(t, typ) || t == "*" {
			return true
		}
	}
	return false
}

// matchAny tells whether one of the globs matches a canonical name.
func matchAny(globs []string, name, zone string) bool {
	for _, g := range globs {
		if matchName(g, name, zone) {
			return true
		}
	}
	return false
}

func matchName(glob, name, zone string) bool {
	glob = strings.ToLower(glob)
	switch {
	case glob == "@":
		return name == zone
	case !strings.HasSuffix(glob, "."):
		if !inZone(name, zone) {
			return false
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, zone), ".")
	}
	return matchLabels(labels(glob), labels(name))
}

// matchLabels matches from the right, where ** stands for any number of labels.
func matchLabels(glob, name []string) bool {
	for len(glob) > 0 {
		g := glob[len(glob)-1]
		if g == "**" {
			for i := len(name); i >= 0; i-- {
				if matchLabels(glob[:len(glob)-1], name[:i]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(g, name[len(name)-1]); err != nil || !ok {
			return false
		}
		glob, name = glob[:len(glob)-1], name[:len(name)-1]
	}
	return len(name) == 0
}

func checkGlobs(d *plan.Diagnostics, field string, globs []string) {
	for _, g := range globs {
		ok := g != "" && strings.Count(g, "**") <= 4
		for _, l := range labels(g) {
			if _, err := path.Match(l, ""); err != nil || l == "" {
				ok = false
			}
		}
		if !ok {
			d.Errorf(plan.Source{}, field, `write names with * and **, for example "*.team-a"`, "%q is not a glob of names", g)
		}
	}
}

func checkTypes(d *plan.Diagnostics, field string, types []string) {
	for _, t := range types {
		if _, ok := typeCode(t); !ok && t != "*" {
			d.Errorf(plan.Source{}, field, "write a record type such as A, AAAA, CNAME or TXT", "%q is not a record type", t)
		}
	}
}
