package strict

import (
	"reflect"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// Pair is one key and value of a mapping, after merges.
type Pair struct{ Key, Value *Node }

// Pairs gives a mapping's pairs with `<<` merged in and double keys reported.
func (d *Decoder) Pairs(n *Node, field string) []Pair { return d.pairs(n, field, 0) }

func (d *Decoder) pairs(n *Node, field string, depth int) []Pair {
	seen := make(map[string]*Node, len(n.Content)/2)
	out := make([]Pair, 0, len(n.Content)/2)
	var merges []*Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			d.Errorf(k, field, "", "a key must be text")
			continue
		}
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		if first := seen[k.Value]; first != nil {
			d.Errorf(k, Join(field, k.Value), "remove one of the two", "the key stands twice; first in line %d", first.Line)
			continue
		}
		seen[k.Value] = k
		out = append(out, Pair{k, v})
	}
	for _, m := range merges {
		for _, p := range d.merged(m, field, depth+1) {
			if seen[p.Key.Value] == nil {
				seen[p.Key.Value] = p.Key
				out = append(out, p)
			}
		}
	}
	return out
}

func (d *Decoder) merged(m *Node, field string, depth int) []Pair {
	m, ok := d.enter(m, field, depth)
	if !ok {
		return nil
	}
	switch m.Kind {
	case yaml.MappingNode:
		d.visited += len(m.Content)
		return d.pairs(m, field, depth)
	case yaml.SequenceNode:
		var out []Pair
		for _, c := range m.Content {
			out = append(out, d.merged(c, field, depth+1)...)
		}
		return out
	}
	d.Errorf(m, field, "", "<< must merge a mapping, found %s", d.found(m))
	return nil
}

func (d *Decoder) structure(n *Node, v reflect.Value, field string, depth int) {
	fields := Fields(v.Type())
	if n.Kind != yaml.MappingNode {
		if !null(n) {
			d.Errorf(n, field, "give fields: "+strings.Join(names(fields), ", "), "expected a mapping, found %s", d.found(n))
			return
		}
	}
	have := map[string]bool{}
	for _, p := range d.pairs(n, field, depth) {
		at := Join(field, p.Key.Value)
		f := byName(fields, p.Key.Value)
		if f == nil {
			if x, ok := v.Addr().Interface().(Extra); ok && x.TakeExtra(p.Key.Value, func() any { return d.any(p.Value, at, depth+1) }) {
				continue
			}
			mend := ""
			if !d.Full() {
				mend = Mend(p.Key.Value, names(fields))
			}
			d.Errorf(p.Key, at, mend, "unknown field")
			continue
		}
		have[f.Name] = true
		if f.Late {
			d.Late[at] = p.Value
			continue
		}
		d.field(p.Value, v.FieldByIndex(f.Index), f, at, depth+1)
	}
	for _, f := range fields {
		if f.Required && !have[f.Name] {
			d.Errorf(n, Join(field, f.Name), "add "+f.Name+":", "the field is missing")
		}
	}
}

// Extra is a struct that takes keys which are none of its fields. It gives
// false for a key that it doesn't want.
type Extra interface {
	TakeExtra(key string, value func() any) bool
}

func (d *Decoder) field(n *Node, v reflect.Value, f *Field, at string, depth int) {
	before := d.errors
	if node := n; f.One && v.Kind() == reflect.Slice {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if node.Kind == yaml.ScalarNode && !null(node) {
			one := reflect.MakeSlice(v.Type(), 1, 1)
			d.into(n, one.Index(0), at, depth)
			v.Set(one)
			return
		}
	}
	if f.MaxItems > 0 && items(n) > f.MaxItems {
		d.Errorf(n, at, "", "the list has %d items; at most %d are read", items(n), f.MaxItems)
		return
	}
	d.into(n, v, at, depth)
	if d.errors == before {
		d.constraints(n, v, f, at)
	}
}

// items counts what a list holds.
func items(n *Node) int {
	if n = follow(n); n == nil || n.Kind != yaml.SequenceNode {
		return 0
	}
	return len(n.Content)
}

func (d *Decoder) mapping(n *Node, v reflect.Value, field string, depth int) {
	if null(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.Errorf(n, field, "", "expected a mapping, found %s", d.found(n))
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		d.Errorf(n, field, "", "keys that are not text can't be read")
		return
	}
	pairs := d.pairs(n, field, depth)
	out := reflect.MakeMapWithSize(t, len(pairs))
	for _, p := range pairs {
		at := Join(field, p.Key.Value)
		elem := reflect.New(t.Elem()).Elem()
		if null(p.Value) && t.Elem().Kind() == reflect.Pointer {
			elem.Set(reflect.New(t.Elem().Elem())) // "name:" alone is an empty entry
		}
		d.into(p.Value, elem, at, depth+1)
		out.SetMapIndex(reflect.ValueOf(p.Key.Value).Convert(t.Key()), elem)
	}
	v.Set(out)
}

func names(fields []Field) []string {
	out := make([]string, len(fields))
	for i := range fields {
		out[i] = fields[i].Name
	}
	return out
}

func byName(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

// Join appends a key to a field path.
func Join(field, key string) string {
	if len(key) > 80 {
		key = key[:80] + "…"
	}
	if field == "" {
		return key
	}
	return field + "." + key
}
