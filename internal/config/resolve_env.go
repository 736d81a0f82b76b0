package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// in resolves a target in one of its environments, the n-th.
func (e *entry) in(name string, n int) (Resolved, bool) {
	at := "environment"
	if e.t.Environment == "" {
		at = fmt.Sprintf("environments[%d]", n)
	}
	env := e.Server.Environments[name]
	if env == nil && e.Alone {
		env = &Environment{Name: name}
	}
	if env == nil {
		e.fail(at, strict.Mend(name, e.Server.granted(e.Repository)), "there is no environment %q", name)
		return Resolved{}, false
	}
	if e.path != "" && !e.Alone {
		if _, err := GrantsFor(e.Server, e.Repository, e.Branch, name, e.path); err != nil {
			e.fail(at, "the operator grants it under environments."+name+".allow", "%s", err)
			return Resolved{}, false
		}
	}
	t := e.t
	r := Resolved{Repository: e.Repository, Manifest: e.file, Name: t.Name, Environment: name, Driver: env.Driver,
		Addresses: t.Previously.Addresses, Path: e.path, Inputs: e.globs, DependsOn: t.DependsOn, Outputs: t.Outputs,
		Health: t.Health, OnFailure: t.OnFailure, OnRemove: t.OnRemove, Mode: plan.Mode(t.Mode), Suspend: t.Suspend,
		Rollout: t.Rollout, WriteBack: t.WriteBack, Source: e.At(t.node), EachBase: e.each.base, EachDir: e.each.dir}
	if len(t.Values) > 0 {
		r.Values = map[string]ValueRef{}
		for key, ref := range t.Values {
			target, output, _ := cutLast(ref, ".")
			r.Values[key] = ValueRef{Target: target, Output: output}
		}
	}
	e.identify(&r, n)
	e.writings(&r, env)
	if e.Alone {
		return r, true
	}
	if !e.parts(&r, env) {
		return r, false
	}
	if err := r.Follow(e.Drivers, e.Tree); err != nil {
		e.fail("path", "", "what it uses can't be followed: %s", err)
		return r, false
	}
	return r, true
}

// identify gives the target its id and those it had before.
func (e *entry) identify(r *Resolved, n int) {
	t := e.t
	own := cmp.Or(t.ID, t.Name)
	bare := func(name string) string { return e.Repository + "/" + name }
	in := func(name, env string) string { return bare(name) + "@" + env }
	var previous []string
	if t.Environment != "" {
		r.ID = bare(own)
		previous = append(previous, in(own, r.Environment))
		for _, name := range t.Previously.Names {
			previous = append(previous, bare(name), in(name, r.Environment))
		}
	} else {
		r.ID = in(own, r.Environment)
		for _, old := range sorted(t.Previously.Environments) {
			if t.Previously.Environments[old] == r.Environment {
				previous = append(previous, in(own, old))
			}
		}
		for _, name := range t.Previously.Names {
			previous = append(previous, in(name, r.Environment))
		}
		// A target that had one environment and now has several stays what it
		// was in the first of them.
		if n == 0 {
			previous = append(previous, bare(own))
			for _, name := range t.Previously.Names {
				previous = append(previous, bare(name))
			}
		}
	}
	for _, id := range previous {
		if id != r.ID && !slices.Contains(r.PreviousIDs, id) {
			r.PreviousIDs = append(r.PreviousIDs, id)
		}
	}
}

// parts decodes what belongs to the driver.
func (e *entry) parts(r *Resolved, env *Environment) bool {
	d, ok := e.Drivers[env.Driver]
	if !ok {
		e.fail("environment", "this build has: "+strings.Join(e.Drivers.Names(), ", "), "the environment %q needs the driver %q", env.Name, env.Driver)
		return false
	}
	before := e.Errors()
	info := d.Info()
	if info.Spec != nil {
		r.Spec = info.Spec()
	}
	r.RawSpec = e.part("spec", e.t.Spec, r.Spec, env.Driver)
	if info.Scope != nil {
		r.Scope = info.Scope()
	}
	r.RawScope = e.part("scope", e.t.Scope, r.Scope, env.Driver)
	if c, ok := d.(driver.CheckReader); ok {
		e.checks(c)
	}
	return e.Errors() == before && before >= 0
}

// checks has a driver read its own health checks.
func (e *entry) checks(d driver.CheckReader) {
	for i, h := range e.t.Health {
		if len(h.Driver) == 0 {
			continue
		}
		at := fmt.Sprintf("health[%d]", i)
		if strict.Child(strict.Locate(e.t.node, at), "driver") != nil {
			at += ".driver"
		}
		for _, found := range d.ReadCheck(h.Driver) {
			e.fail(strict.Join(at, found.Field), found.Mend, "%s", found.Message)
		}
	}
}

// part decodes spec or scope and gives it as JSON, nil when it is absent.
func (e *entry) part(name string, given, target any, driverName string) []byte {
	node := strict.Child(e.t.node, name)
	if node == nil && given != nil {
		node = strict.FromAny(given)
	}
	field := e.field + "." + name
	if node == nil {
		if target != nil && name == "spec" {
			e.decode(e.empty(), target, field)
		}
		return nil
	}
	if target == nil {
		e.Errorf(node, field, "remove it", "the driver %s has no %s", driverName, name)
		return nil
	}
	e.decode(node, target, field)
	raw, err := json.Marshal(e.Any(node, field))
	if err != nil {
		e.Errorf(node, field, "", "%s", err)
	}
	return raw
}

func (e *entry) decode(node *strict.Node, target any, field string) {
	before := e.Errors()
	e.Decode(node, target, field)
	if e.Errors() == before {
		validate(e.Decoder, node, target, field)
	}
}

// empty is a mapping that stands where the target does.
func (e *entry) empty() *strict.Node {
	n := strict.FromAny(map[string]any{})
	if e.t.node != nil {
		n.Line, n.Column = e.t.node.Line, e.t.node.Column
	}
	return n
}

// Decode fills Spec and Scope from RawSpec and RawScope, after the target was
// read back from the store.
func (r *Resolved) Decode(drivers driver.Registry) error {
	d, err := drivers.Get(r.Driver)
	if err != nil {
		return fmt.Errorf("target %s: %w", r.ID, err)
	}
	info := d.Info()
	if info.Spec != nil {
		r.Spec = info.Spec()
		if err := decodeJSON(r.RawSpec, r.Spec); err != nil {
			return fmt.Errorf("target %s: spec: %w", r.ID, err)
		}
	}
	if info.Scope != nil {
		r.Scope = info.Scope()
		if err := decodeJSON(r.RawScope, r.Scope); err != nil {
			return fmt.Errorf("target %s: scope: %w", r.ID, err)
		}
	}
	return nil
}

func decodeJSON(raw []byte, target any) error {
	if len(raw) == 0 {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return err
	}
	d := strict.NewDecoder("")
	d.Decode(strict.FromAny(value), target, "")
	return d.Diags.Err()
}

// link turns the names of targets in dependsOn and values into ids, as far as
// this manifest knows them; Check does the rest.
func (r *resolver) link() {
	names := byName(r.out)
	for i := range r.out {
		linkNames(&r.out[i], names)
	}
}

// byName lists the ids of the targets by repository and name.
func byName(all []Resolved) map[string][]string {
	out := map[string][]string{}
	for i := range all {
		key := all[i].Repository + "/" + all[i].Name
		if !slices.Contains(out[key], all[i].ID) {
			out[key] = append(out[key], all[i].ID)
		}
	}
	return out
}

// linkNames replaces names by ids. A name that stands for several environments
// is all of them in dependsOn; in values it stays, because it is ambiguous.
func linkNames(r *Resolved, names map[string][]string) {
	full := func(name string) string {
		if strings.Contains(name, "/") {
			return name
		}
		return r.Repository + "/" + name
	}
	var deps []string
	for _, dep := range r.DependsOn {
		dep = full(dep)
		if ids := names[dep]; len(ids) > 0 {
			deps = append(deps, ids...)
		} else {
			deps = append(deps, dep)
		}
	}
	slices.Sort(deps)
	r.DependsOn = slices.Compact(deps)
	if r.Promote != nil {
		p := *r.Promote
		p.From = full(p.From)
		if ids := names[p.From]; len(ids) == 1 {
			p.From = ids[0]
		}
		r.Promote = &p
	}
	values := maps.Clone(r.Values)
	for key, ref := range values {
		ref.Target = full(ref.Target)
		if ids := names[ref.Target]; len(ids) == 1 {
			ref.Target = ids[0]
		}
		values[key] = ref
	}
	r.Values = values
}
