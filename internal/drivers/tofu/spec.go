package tofu

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	goversion "github.com/hashicorp/go-version"

	"trueup.dev/trueup/internal/plan"
)

// Spec is how a target's root module is run.
type Spec struct {
	// Version constrains the program's version: "~> 1.12".
	Version string `yaml:"version,omitempty" json:"version,omitempty"`
	// VarFiles are variable files, relative to the root module. They are read
	// from the repository; one outside the target's path is followed by itself.
	VarFiles []string `yaml:"varFiles,omitempty" json:"varFiles,omitempty"`
	// Variables are values for input variables; they win over variable files.
	// Values of other targets are given under the target's values: a value
	// named like an input variable becomes it, and wins over both.
	Variables map[string]any `yaml:"variables,omitempty" json:"variables,omitempty"`
	// Workspace is the workspace; the default one without it. It is made when
	// it is not there.
	Workspace string `yaml:"workspace,omitempty" json:"workspace,omitempty"`
	// RefreshOnly makes the target look for drift alone: its plans change the
	// state to what is there, never the infrastructure.
	RefreshOnly bool `yaml:"refreshOnly,omitempty" json:"refreshOnly,omitempty"`
	// NoRefresh plans from the state without asking the providers what is
	// there. Drift is then not seen.
	NoRefresh bool `yaml:"noRefresh,omitempty" json:"noRefresh,omitempty"`
}

var workspaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Validate checks the values.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	if s.Version != "" {
		if _, err := goversion.NewConstraint(s.Version); err != nil {
			d.Errorf(plan.Source{}, "version", `write a constraint, for example "~> 1.12"`, "%q is none", s.Version)
		}
	}
	for i, f := range s.VarFiles {
		switch {
		case f == "" || path.IsAbs(f) || strings.ContainsAny(f, "\\\x00"):
			d.Errorf(plan.Source{}, fmt.Sprintf("varFiles[%d]", i), "write it relative to the root module", "%q is no relative path", f)
		case !strings.HasSuffix(f, ".tfvars") && !strings.HasSuffix(f, ".tfvars.json"):
			d.Errorf(plan.Source{}, fmt.Sprintf("varFiles[%d]", i), "name it *.tfvars or *.tfvars.json", "%q is no variable file", f)
		}
	}
	if s.Workspace != "" && !workspaceName.MatchString(s.Workspace) {
		d.Errorf(plan.Source{}, "workspace", "use letters, digits, dots, dashes and _", "%q can't be a workspace's name", s.Workspace)
	}
	if s.RefreshOnly && s.NoRefresh {
		d.Errorf(plan.Source{}, "noRefresh", "remove one of the two", "can't stand beside refreshOnly")
	}
	return d
}

// Scope narrows an environment to some resources.
type Scope struct {
	// Types lists globs of resource types: "aws_*". Empty means all.
	Types []string `yaml:"types,omitempty" json:"types,omitempty"`
	// Addresses lists globs of resource addresses: "module.web.**". Empty
	// means all.
	Addresses []string `yaml:"addresses,omitempty" json:"addresses,omitempty"`
}

// Validate checks the values.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	for i, g := range s.Types {
		if !doublestar.ValidatePattern(g) {
			d.Errorf(plan.Source{}, fmt.Sprintf("types[%d]", i), "", "%q is no glob", g)
		}
	}
	for i, g := range s.Addresses {
		if !doublestar.ValidatePattern(escapeBrackets(g)) {
			d.Errorf(plan.Source{}, fmt.Sprintf("addresses[%d]", i), "", "%q is no glob", g)
		}
	}
	return d
}

// Contains tells whether a resource lies inside. Outputs lie inside every
// scope: they touch no infrastructure.
func (s *Scope) Contains(k plan.Key, kind string) bool {
	if s == nil || kind == kindOutput {
		return true
	}
	in := func(globs []string, name string) bool {
		return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool {
			ok, err := doublestar.Match(escapeBrackets(g), name)
			return err == nil && ok
		})
	}
	return in(s.Types, kind) && in(s.Addresses, string(k.Address))
}

// escapeBrackets takes brackets as they stand: an index is no character class.
func escapeBrackets(g string) string {
	return strings.NewReplacer("[", `\[`, "]", `\]`).Replace(g)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
