package ssh

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Scope narrows an environment to some hosts and some of what they are made
// of. As soon as one of files, users, units, packages and objects is given,
// only what they name lies inside.
type Scope struct {
	// Groups lists groups of hosts of the inventory.
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty" strict:"one"`
	// Hosts lists globs of host names.
	Hosts []string `yaml:"hosts,omitempty" json:"hosts,omitempty" strict:"one"`
	// Files lists globs of paths: files, directories, links and blocks. "*"
	// stays within a name, "**" is any number of directories.
	Files []string `yaml:"files,omitempty" json:"files,omitempty" strict:"one"`
	// Users lists globs of users, for accounts and their authorized keys.
	Users []string `yaml:"users,omitempty" json:"users,omitempty" strict:"one"`
	// Units lists globs of systemd units.
	Units []string `yaml:"units,omitempty" json:"units,omitempty" strict:"one"`
	// Packages lists globs of packages.
	Packages []string `yaml:"packages,omitempty" json:"packages,omitempty" strict:"one"`
	// Objects lists globs of names by kind, for every other kind of resource:
	// group, sysctl, cron and so on.
	Objects map[string][]string `yaml:"objects,omitempty" json:"objects,omitempty"`

	bound *inventory.Inventory
}

// Validate checks the globs.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	check := func(field string, globs []string) {
		for i, g := range globs {
			if !doublestar.ValidatePattern(g) {
				d.Errorf(plan.Source{}, fmt.Sprintf("%s[%d]", field, i), "", "%q is no glob", g)
			}
		}
	}
	check("hosts", s.Hosts)
	check("files", s.Files)
	check("users", s.Users)
	check("units", s.Units)
	check("packages", s.Packages)
	for i, g := range s.Files {
		if !strings.HasPrefix(g, "/") {
			d.Errorf(plan.Source{}, fmt.Sprintf("files[%d]", i), "begin it with a slash", "%q is no absolute path", g)
		}
	}
	for _, kind := range sortedKeys(s.Objects) {
		if kindOf(kind) == nil {
			d.Errorf(plan.Source{}, "objects."+kind, "", "there is no kind %q; there are: %s", kind, strings.Join(kindNames(), ", "))
		}
		check("objects."+kind, s.Objects[kind])
	}
	return d
}

// Bind gives the scope with the groups of an environment's hosts.
func (s *Scope) Bind(connect any, dir string) (driver.ScopeSpec, error) {
	c, ok := connect.(*Connect)
	if !ok {
		return nil, fmt.Errorf("connect is a %T", connect)
	}
	if len(s.Groups) == 0 {
		return s, nil
	}
	inv, err := c.inventory(dir)
	if err != nil {
		return nil, err
	}
	return s.with(inv), nil
}

func (s *Scope) with(inv *inventory.Inventory) *Scope {
	if s == nil {
		s = &Scope{}
	}
	b := *s
	b.bound = inv
	return &b
}

// Contains tells whether an object lies inside. A scope that names groups and
// was not bound to an inventory contains nothing.
func (s *Scope) Contains(k plan.Key, kind string) bool {
	return s == nil || s.containsHost(string(k.Scope)) && s.containsObject(k.Address, kind)
}

func (s *Scope) containsHost(name string) bool {
	if s == nil || len(s.Groups) == 0 && len(s.Hosts) == 0 {
		return true
	}
	if len(s.Groups) == 0 {
		return matchAny(s.Hosts, name)
	}
	if s.bound == nil {
		return false
	}
	h := s.bound.Host(name)
	return h != nil && h.Matches(s.Groups, s.Hosts)
}

func (s *Scope) containsObject(a plan.Address, kind string) bool {
	if len(s.Files) == 0 && len(s.Users) == 0 && len(s.Units) == 0 && len(s.Packages) == 0 && len(s.Objects) == 0 {
		return true
	}
	name := nameOf(a)
	if globs, ok := s.Objects[kind]; ok && matchAny(globs, name) {
		return true
	}
	switch kind {
	case kindFile, kindSymlink, kindOther, kindBlock:
		return matchAny(s.Files, pathOf(a))
	case kindDir:
		// A directory that is given as /srv/** is inside itself.
		return matchAny(s.Files, pathOf(a))
	case "user", "keys", "key":
		user, _, _ := strings.Cut(name, "/")
		return matchAny(s.Users, user)
	case "unit":
		return matchAny(s.Units, name)
	case "package":
		return matchAny(s.Packages, name)
	}
	return false
}

// nameOf gives an address without the word of its kind.
func nameOf(a plan.Address) string {
	if strings.HasPrefix(string(a), "/") {
		return string(a)
	}
	_, name, _ := strings.Cut(string(a), ":")
	return name
}

// pathOf gives the path of an address that has one.
func pathOf(a plan.Address) string {
	name := nameOf(a)
	if strings.HasPrefix(string(a), kindBlock+":") {
		if i := strings.LastIndexByte(name, '#'); i > 0 {
			name = name[:i]
		}
	}
	return path.Clean(name)
}

func matchAny(globs []string, name string) bool {
	for _, g := range globs {
		if ok, err := doublestar.Match(g, name); err == nil && ok {
			return true
		}
	}
	return false
}
