package inventory

import (
	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// HostSpec is a host in trueup's own form.
type HostSpec struct {
	// Address is what to connect to, if it is not the name.
	Address string `yaml:"address,omitempty" json:"address,omitempty"`
	// Port is 22 unless it is given here or for all.
	Port int `yaml:"port,omitempty" json:"port,omitempty" jsonschema:"minimum=1,maximum=65535"`
	// User is who logs in, if not the one given for all.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Groups are the groups that the host is in.
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty" strict:"one"`
	// Jump lists the hosts on the way, nearest first, as user@host:port.
	Jump []string `yaml:"jump,omitempty" json:"jump,omitempty" strict:"one"`
	// Agent tells that the host runs an agent that calls in: nobody connects
	// to it.
	Agent bool `yaml:"agent,omitempty" json:"agent,omitempty"`
	// Vars are variables for templates.
	Vars map[string]any `yaml:"vars,omitempty" json:"vars,omitempty"`
}

// GroupSpec is a group in trueup's own form.
type GroupSpec struct {
	// Hosts are names or ranges such as web[01:50].
	Hosts []string `yaml:"hosts,omitempty" json:"hosts,omitempty" strict:"one"`
	// Children are groups whose hosts are in this group as well.
	Children []string `yaml:"children,omitempty" json:"children,omitempty" strict:"one"`
	// Vars are variables for templates; those of a host or of a group inside
	// this one come first.
	Vars map[string]any `yaml:"vars,omitempty" json:"vars,omitempty"`
}

// Spec is trueup's own form: hosts and groups by name. A name may be a range.
type Spec struct {
	Hosts  map[string]HostSpec  `yaml:"hosts,omitempty" json:"hosts,omitempty"`
	Groups map[string]GroupSpec `yaml:"groups,omitempty" json:"groups,omitempty"`
	Vars   map[string]any       `yaml:"vars,omitempty" json:"vars,omitempty"`
}

// own reads trueup's own form. At gives the place of a field, as far as it is
// known; names gives the hosts in the order they are written.
func (b *builder) own(s *Spec, names []string, at func(field string) plan.Source) {
	for k, v := range s.Vars {
		b.groups["all"].vars[k] = v
	}
	for _, pattern := range names {
		spec, field := s.Hosts[pattern], "hosts."+pattern
		for _, name := range b.names(pattern, at(field)) {
			h := b.host(name, at(field))
			if len(b.names(pattern, at(field))) == 1 || spec.Address == "" {
				h.host.Address = spec.Address
			}
			h.host.Port, h.host.User, h.host.Jump, h.host.Agent = spec.Port, spec.User, spec.Jump, spec.Agent
			for _, g := range spec.Groups {
				b.group(g, at(field))
				h.in[g] = true
			}
			for k, v := range spec.Vars {
				h.vars[k] = v
			}
		}
	}
	for name, g := range s.Groups {
		field := "groups." + name
		def := b.group(name, at(field))
		for k, v := range g.Vars {
			def.vars[k] = v
		}
		for _, c := range g.Children {
			b.child(name, c, at(field))
		}
		for _, pattern := range g.Hosts {
			for _, h := range b.names(pattern, at(field)) {
				if name == "all" {
					b.host(h, at(field))
					continue
				}
				b.host(h, at(field)).in[name] = true
			}
		}
	}
}

func (b *builder) names(pattern string, at plan.Source) []string {
	names, err := expand(pattern)
	if err != nil {
		b.diags.Errorf(at, "", "", "%v", err)
	}
	return names
}

// yaml reads a file in trueup's own form or an Ansible inventory in YAML.
func (b *builder) yaml(file string, text []byte) {
	root, diags := strict.Parse(file, text)
	b.diags = append(b.diags, diags...)
	if root == nil {
		return
	}
	d := strict.NewDecoder(file)
	pairs := d.Pairs(root, "")
	ours := len(pairs) > 0
	for _, p := range pairs {
		switch p.Key.Value {
		case "hosts", "groups", "vars":
		default:
			ours = false
		}
	}
	if ours {
		var s Spec
		d.Decode(root, &s, "")
		b.own(&s, mapKeys(d, strict.Child(root, "hosts")), func(f string) plan.Source { return d.At(strict.Locate(root, f)) })
	} else {
		for _, p := range pairs {
			b.ansibleGroup(d, p.Key.Value, p.Key, p.Value, 0)
		}
	}
	b.diags = append(b.diags, d.Diags...)
}

func mapKeys(d *strict.Decoder, n *strict.Node) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, p := range d.Pairs(n, "hosts") {
		out = append(out, p.Key.Value)
	}
	return out
}

const maxNesting = 32

// ansibleGroup reads one group of an Ansible inventory: hosts, vars, children.
func (b *builder) ansibleGroup(d *strict.Decoder, name string, key, n *strict.Node, depth int) {
	at := d.At(key)
	if depth > maxNesting {
		b.diags.Errorf(at, name, "", "groups are nested more than %d levels deep", maxNesting)
		return
	}
	g := b.group(name, at)
	if n == nil || n.ShortTag() == "!!null" {
		return
	}
	if n.Content == nil && n.Kind != 0 && n.Value != "" {
		b.diags.Errorf(d.At(n), name, "give hosts, vars and children", "a group must be a mapping")
		return
	}
	for _, p := range d.Pairs(n, name) {
		field := name + "." + p.Key.Value
		switch p.Key.Value {
		case "vars":
			d.Decode(p.Value, &g.vars, field)
			if g.vars == nil {
				g.vars = map[string]any{}
			}
		case "hosts":
			b.ansibleHosts(d, name, p.Value, field)
		case "children":
			if p.Value.ShortTag() == "!!null" {
				continue
			}
			for _, c := range d.Pairs(p.Value, field) {
				if name != "all" {
					b.child(name, c.Key.Value, d.At(c.Key))
				}
				b.ansibleGroup(d, c.Key.Value, c.Key, c.Value, depth+1)
			}
		default:
			b.diags.Errorf(d.At(p.Key), field, "write hosts, vars or children", "%q is unknown in a group", p.Key.Value)
		}
	}
}

func (b *builder) ansibleHosts(d *strict.Decoder, group string, n *strict.Node, field string) {
	if n.ShortTag() == "!!null" {
		return
	}
	for _, p := range d.Pairs(n, field) {
		vars := map[string]any{}
		d.Decode(p.Value, &vars, field+"."+p.Key.Value)
		for _, name := range b.names(p.Key.Value, d.At(p.Key)) {
			h := b.host(name, d.At(p.Key))
			if group != "all" && group != "ungrouped" {
				h.in[group] = true
			}
			for k, v := range vars {
				h.vars[k] = v
			}
		}
	}
}
