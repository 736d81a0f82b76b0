package ssh

import (
	"maps"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// OnLeave says what becomes of a user that is no longer asked for.
type OnLeave string

// What may become of a user.
const (
	LeaveDisable OnLeave = "disable"
	LeaveDelete  OnLeave = "delete"
)

// Spec says how a target's hosts are treated. What is on them stands in
// host.yaml.
type Spec struct {
	// OnLeave is disable (the default: a user who is no longer asked for is
	// locked and stays) or delete (the account goes, its home stays).
	OnLeave OnLeave `yaml:"onLeave,omitempty" json:"onLeave,omitempty" jsonschema:"enum=disable,enum=delete"`
	// DirMode is the mode of directories that a tree needs; 0755 by default.
	DirMode string `yaml:"dirMode,omitempty" json:"dirMode,omitempty"`
	// Vars are variables for templates; those of the inventory come first.
	Vars map[string]any `yaml:"vars,omitempty" json:"vars,omitempty"`
}

// Validate checks the values.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	switch s.OnLeave {
	case "", LeaveDisable, LeaveDelete:
	default:
		d.Errorf(plan.Source{}, "onLeave", "write disable or delete", "%q is unknown", s.OnLeave)
	}
	if _, err := parseMode(s.DirMode, 0o3777); s.DirMode != "" && err != nil {
		d.Errorf(plan.Source{}, "dirMode", `write it in octal, for example "0755"`, "%v", err)
	}
	return d
}

func specOf(in driver.Input) *Spec {
	if s, ok := in.Spec.(*Spec); ok && s != nil {
		return s
	}
	return &Spec{}
}

func scopeOf(in driver.Input) *Scope {
	if s, ok := in.Scope.(*Scope); ok && s != nil {
		return s
	}
	return &Scope{}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
