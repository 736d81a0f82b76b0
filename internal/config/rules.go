package config

import (
	"errors"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// CheckRules lets compile look at every policy's approval rules. What it finds
// (plan.Diagnostics, with fields relative to the policy, or any other error)
// is given with its place in the file.
func (s *Server) CheckRules(compile func(rules []Approval) error) plan.Diagnostics {
	var out plan.Diagnostics
	var root *strict.Node
	for _, name := range sorted(s.Policies) {
		err := compile(s.Policies[name].Approve)
		if err == nil {
			continue
		}
		if root == nil {
			root, _ = strict.Parse("", s.Body)
		}
		base := "policies." + name
		var found plan.Diagnostics
		if !errors.As(err, &found) {
			found.Errorf(plan.Source{}, "approve", "", "%s", err)
		}
		for _, f := range found {
			f.Field = strict.Join(base, f.Field)
			f.Source = plan.Source{File: s.Policies[name].Source.File}
			if n := strict.Locate(root, f.Field); n != nil {
				f.Line, f.Column = n.Line, n.Column
			}
			out = append(out, f)
		}
	}
	return ordered(out)
}
