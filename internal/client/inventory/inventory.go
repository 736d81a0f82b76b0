// Package inventory reads lists of hosts: names, addresses, groups and
// variables, from the operator's configuration, from a file in the same form,
// or from an Ansible inventory in INI or YAML with its group_vars and
// host_vars.
package inventory

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Inventory is a list of hosts with the groups they are in.
type Inventory struct {
	// Hosts are in the order in which they are written.
	Hosts  []*Host
	byName map[string]*Host
	groups map[string]*Group
}

// Host is one host.
type Host struct {
	Name string
	// Address is what to connect to; it is Name where nothing else is said.
	Address string
	Port    int    // 0 where nothing is said
	User    string // "" where nothing is said
	// Jump lists the hosts on the way, nearest first.
	Jump []string
	// Agent tells that the host calls in by itself and nobody connects to it.
	Agent bool
	// Groups are all groups that the host is in, also by way of others,
	// sorted; "all" is left out.
	Groups []string
	// Vars are its variables, its own before those of its groups.
	Vars   map[string]any
	Source plan.Source
}

// Group is one group.
type Group struct {
	Name  string
	Depth int // 0 for all, 1 for a group that is in no other
	Hosts []string
}

// Host finds a host by name.
func (i *Inventory) Host(name string) *Host { return i.byName[name] }

// Group finds a group by name; "all" holds every host.
func (i *Inventory) Group(name string) *Group { return i.groups[name] }

// GroupNames lists the groups, sorted.
func (i *Inventory) GroupNames() []string { return slices.Sorted(maps.Keys(i.groups)) }

// In tells whether a host is in a group; everything is in "all".
func (h *Host) In(group string) bool {
	if group == "all" {
		return true
	}
	_, found := slices.BinarySearch(h.Groups, group)
	return found
}

// Only gives an inventory of one host alone, with the groups that it is in and
// nothing of any other host. Depth says how deep its groups lie.
func Only(h Host, depth map[string]int) *Inventory {
	inv := &Inventory{Hosts: []*Host{&h}, byName: map[string]*Host{h.Name: &h}, groups: map[string]*Group{"all": {Name: "all", Hosts: []string{h.Name}}}}
	slices.Sort(h.Groups)
	for _, g := range h.Groups {
		inv.groups[g] = &Group{Name: g, Depth: depth[g], Hosts: []string{h.Name}}
	}
	return inv
}

// Depths gives how deep the groups of a host lie.
func (i *Inventory) Depths(h *Host) map[string]int {
	out := map[string]int{}
	for _, g := range h.Groups {
		if group := i.groups[g]; group != nil {
			out[g] = group.Depth
		}
	}
	return out
}

// Matches tells whether a host is named by one of the globs or is in one of
// the groups. Where neither names anything, every host matches; where both
// do, it must be in a group and be named.
func (h *Host) Matches(groups, hosts []string) bool {
	if len(groups) > 0 && !slices.ContainsFunc(groups, h.In) {
		return false
	}
	return len(hosts) == 0 || slices.ContainsFunc(hosts, func(g string) bool {
		ok, err := path.Match(g, h.Name)
		return err == nil && ok
	})
}

// builder collects what is written and then works out who is in which group.
type builder struct {
	hosts  map[string]*hostDef
	order  []string
	groups map[string]*groupDef
	diags  plan.Diagnostics
}

type hostDef struct {
	host *Host
	vars map[string]any
	in   map[string]bool
}

type groupDef struct {
	name     string
	children map[string]bool
	parents  map[string]bool
	vars     map[string]any
	source   plan.Source
	depth    int
}

const (
	maxHosts  = 20_000
	maxGroups = 5_000
)

func newBuilder() *builder {
	b := &builder{hosts: map[string]*hostDef{}, groups: map[string]*groupDef{}}
	b.group("all", plan.Source{})
	return b
}

func (b *builder) host(name string, at plan.Source) *hostDef {
	if h := b.hosts[name]; h != nil {
		return h
	}
	switch {
	case !validName(name):
		b.diags.Errorf(at, "", "use letters, digits, dots, dashes and underscores", "%q is no name of a host", name)
	case len(b.hosts) == maxHosts:
		b.diags.Errorf(at, "", "", "there are more than %d hosts", maxHosts)
	}
	h := &hostDef{host: &Host{Name: name, Source: at}, vars: map[string]any{}, in: map[string]bool{}}
	if len(b.hosts) >= maxHosts {
		return h
	}
	b.hosts[name] = h
	b.order = append(b.order, name)
	return h
}

func (b *builder) group(name string, at plan.Source) *groupDef {
	if g := b.groups[name]; g != nil {
		return g
	}
	if !validName(name) {
		b.diags.Errorf(at, "", "use letters, digits, dots, dashes and underscores", "%q is no name of a group", name)
	}
	g := &groupDef{name: name, children: map[string]bool{}, parents: map[string]bool{}, vars: map[string]any{}, source: at}
	if len(b.groups) >= maxGroups {
		b.diags.Errorf(at, "", "", "there are more than %d groups", maxGroups)
		return g
	}
	b.groups[name] = g
	return g
}

func (b *builder) child(parent, child string, at plan.Source) {
	p, c := b.group(parent, at), b.group(child, at)
	p.children[child], c.parents[parent] = true, true
}

func validName(name string) bool {
	if name == "" || len(name) > 253 || name[0] == '-' || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// finish works out groups and variables.
func (b *builder) finish() (*Inventory, plan.Diagnostics) {
	for _, name := range slices.Sorted(maps.Keys(b.groups)) {
		if loop := b.depth(name, nil); loop != nil {
			b.diags.Errorf(b.groups[name].source, "", "", "groups contain each other: %s", strings.Join(loop, " > "))
			return nil, b.diags
		}
	}
	inv := &Inventory{byName: map[string]*Host{}, groups: map[string]*Group{}}
	for name, g := range b.groups {
		inv.groups[name] = &Group{Name: name, Depth: g.depth}
	}
	for _, name := range b.order {
		h := b.hosts[name]
		b.settle(h)
		inv.Hosts = append(inv.Hosts, h.host)
		inv.byName[name] = h.host
		inv.groups["all"].Hosts = append(inv.groups["all"].Hosts, name)
		for _, g := range h.host.Groups {
			inv.groups[g].Hosts = append(inv.groups[g].Hosts, name)
		}
	}
	return inv, b.diags
}

// depth measures how deep a group lies below "all"; a loop is given back.
func (b *builder) depth(name string, way []string) []string {
	g := b.groups[name]
	if name == "all" || g.depth > 0 {
		return nil
	}
	if slices.Contains(way, name) {
		return append(way, name)
	}
	deepest := 0
	for _, p := range slices.Sorted(maps.Keys(g.parents)) {
		if loop := b.depth(p, append(way, name)); loop != nil {
			return loop
		}
		deepest = max(deepest, b.groups[p].depth)
	}
	g.depth = deepest + 1
	return nil
}

// settle gives a host its groups, its variables and what Ansible's variables
// say about the connection.
func (b *builder) settle(h *hostDef) {
	all := map[string]bool{}
	var up func(string)
	up = func(name string) {
		if name == "all" || all[name] {
			return
		}
		all[name] = true
		for p := range b.groups[name].parents {
			up(p)
		}
	}
	for g := range h.in {
		up(g)
	}
	h.host.Groups = slices.Sorted(maps.Keys(all))
	byDepth := append([]string{"all"}, h.host.Groups...)
	slices.SortStableFunc(byDepth, func(x, y string) int {
		return cmp.Or(cmp.Compare(b.groups[x].depth, b.groups[y].depth), cmp.Compare(x, y))
	})
	vars := map[string]any{}
	for _, g := range byDepth {
		maps.Copy(vars, b.groups[g].vars)
	}
	maps.Copy(vars, h.vars)
	h.host.Vars = vars
	b.ansible(h.host)
	h.host.Address = cmp.Or(h.host.Address, h.host.Name)
}

// ansible takes over Ansible's variables for the connection.
func (b *builder) ansible(h *Host) {
	text := func(names ...string) string {
		for _, n := range names {
			if s, ok := h.Vars[n].(string); ok && s != "" {
				return s
			}
		}
		return ""
	}
	h.Address = cmp.Or(h.Address, text("ansible_host", "ansible_ssh_host"))
	h.User = cmp.Or(h.User, text("ansible_user", "ansible_ssh_user"))
	for _, n := range []string{"ansible_port", "ansible_ssh_port"} {
		v, ok := h.Vars[n]
		if !ok || h.Port != 0 {
			continue
		}
		port, ok := number(v)
		if !ok || port < 1 || port > 65535 {
			b.diags.Errorf(h.Source, n, "write a number from 1 to 65535", "host %s: %v is no port", h.Name, v)
			continue
		}
		h.Port = port
	}
	if c := text("ansible_connection"); c != "" && c != "ssh" && c != "smart" && c != "paramiko" {
		b.diags.Errorf(h.Source, "ansible_connection", "", "host %s: a connection by %q is not made; only ssh is", h.Name, c)
	}
}
