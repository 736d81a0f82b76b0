package config

import (
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// ParseManifest reads a trueup.yaml: its syntax, types and fields. What the
// operator's configuration has to say is Resolve's. The manifest keeps its
// syntax tree; hold on to what Resolve makes of it instead.
func ParseManifest(path string, body []byte) (*Manifest, plan.Diagnostics) {
	root, diags := strict.Parse(path, body)
	if diags.Err() != nil {
		return nil, diags
	}
	if root == nil {
		diags.Errorf(plan.Source{File: path}, "", "start it with version: 1", "the file is empty")
		return nil, diags
	}
	m := &Manifest{file: path}
	d := strict.NewDecoder(path)
	d.Decode(root, m, "")
	list := strict.Child(root, "targets")
	if list == nil {
		d.Errorf(root, "targets", "add targets:", "the field is missing")
	}
	for i := range m.Targets {
		t := &m.Targets[i]
		t.node = strict.Item(list, i)
		t.complete(d, fmt.Sprintf("targets[%d]", i))
	}
	if d.Diags.Err() != nil {
		return nil, ordered(d.Diags)
	}
	return m, ordered(d.Diags)
}

// complete applies defaults and checks what one target alone can tell.
func (t *Target) complete(d *strict.Decoder, field string) {
	applyDefaults(t)
	for i := range t.WriteBack {
		applyDefaults(&t.WriteBack[i])
	}
	fail := func(at, mend, format string, args ...any) {
		node := t.node
		if !d.Full() {
			node = strict.Locate(t.node, at)
		}
		d.Errorf(node, strict.Join(field, at), mend, format, args...)
	}
	switch {
	case t.Environment == "" && len(t.Environments) == 0:
		fail("environment", "add environment: or environments:", "the target names no environment")
	case t.Environment != "" && len(t.Environments) > 0:
		fail("environments", "keep one of the two", "environment and environments are both given")
	}
	for i := range t.Health {
		t.Health[i].complete(func(at, mend, format string, args ...any) {
			fail(fmt.Sprintf("health[%d]%s", i, at), mend, format, args...)
		})
	}
	if t.Rollout != nil {
		applyDefaults(t.Rollout)
	}
	for name, ref := range t.Values {
		if target, output, ok := cutLast(ref, "."); !ok || target == "" || output == "" {
			fail("values."+name, "write target.output", "%q names no output", ref)
		}
	}
}

func (h *Health) complete(fail func(at, mend, format string, args ...any)) {
	applyDefaults(h)
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"tcp", h.TCP != ""}, {"http", h.HTTP != ""}, {"dns", h.DNS != nil}, {"command", h.Command != ""}, {"driver", len(h.Driver) > 0}} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	switch {
	case len(kinds) == 0:
		fail("", "give one of tcp, http, dns, command, or a check of the driver", "the check checks nothing")
	case len(kinds) > 1:
		fail("", "make a check of each", "more than one kind of check is given: %s", strings.Join(kinds, ", "))
	}
	if p := h.malformed(); p != "" {
		fail("", "write {{ .host }}, or another variable of the scope", "%s is no variable", p)
	}
	if h.Status != 0 && h.HTTP == "" {
		fail(".status", "remove it", "status belongs to an http check")
	}
	if h.DNS != nil {
		applyDefaults(h.DNS)
	}
}

// TakeExtra keeps a driver's own checks (ready: all). A name that comes close
// to a known one is more likely a slip of the pen.
func (h *Health) TakeExtra(key string, value func() any) bool {
	const slip, most = 2, 32
	if len(h.Driver) >= most {
		return false
	}
	if near := strict.Suggest(key, []string{"tcp", "http", "status", "dns", "command", "driver", "within"}); near != "" && strict.Distance(key, near) <= slip {
		return false
	}
	if h.Driver == nil {
		h.Driver = map[string]any{}
	}
	h.Driver[key] = value()
	return true
}

// cutLast splits at the last separator.
func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
