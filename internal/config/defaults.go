package config

import "trueup.dev/trueup/internal/config/strict"

// applyDefaults fills what a struct leaves out from its `jsonschema` tags.
func applyDefaults(x any) { strict.Defaults(x) }

// complete applies the defaults of everything in a server configuration.
func (s *Server) complete() {
	applyDefaults(s)
	for name, r := range s.Repositories {
		r.Name = name
		applyDefaults(r)
	}
	for name, p := range s.Policies {
		p.Name = name
		applyDefaults(p)
		for i := range p.Approve {
			applyDefaults(&p.Approve[i])
			for k := range p.Approve[i].All {
				applyDefaults(&p.Approve[i].All[k])
			}
		}
	}
	for name, e := range s.Environments {
		e.Name = name
		applyDefaults(e)
	}
	for _, r := range s.Registries {
		applyDefaults(r)
	}
	for _, c := range s.Commands {
		applyDefaults(c)
	}
	if c := s.Secrets.Command; c != nil {
		applyDefaults(c)
	}
}
