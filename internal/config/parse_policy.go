package config

import (
	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// ParsePolicy reads one policy from a text of its own, as it would stand under
// policies.NAME. Repositories are those that its teams may name; nil is any.
func ParsePolicy(name string, body []byte, repositories map[string]*Repository) (*Policy, plan.Diagnostics) {
	root, diags := strict.Parse(name, body)
	if diags.Err() != nil {
		return nil, diags
	}
	if root == nil {
		diags.Errorf(plan.Source{File: name}, "", "write it as under policies.NAME in server.yaml", "the file is empty")
		return nil, diags
	}
	pol := &Policy{Name: name}
	p := &serverParser{Decoder: strict.NewDecoder(name), root: root, s: &Server{Repositories: repositories, Policies: map[string]*Policy{name: pol}}}
	p.Decode(root, pol, "")
	p.s.complete()
	p.policy("", pol)
	if p.Diags.Err() != nil {
		return nil, ordered(p.Diags)
	}
	return pol, ordered(p.Diags)
}
