package render

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// DiffLine is one line of a document's diff. Sign is '+', '-', '~' or ' '.
type DiffLine struct {
	Sign   byte
	Indent int
	Text   string
}

// Diff compares two JSON documents field by field. A document that is absent
// shows all of the other. Pointers in unknown are known only after apply.
//
// A create or delete leaves out the fields whose value is one of said: what
// stands in the object's address already.
func Diff(before, after json.RawMessage, unknown []string, said ...string) []DiffLine {
	d := &differ{unknown: map[string]bool{}, said: said}
	for _, u := range unknown {
		d.unknown[u] = true
	}
	b, okB := parse(before)
	a, okA := parse(after)
	switch {
	case okB && okA:
		d.pair("", "", 0, b, a)
	case okA:
		d.whole('+', "", "", 0, a)
	case okB:
		d.whole('-', "", "", 0, b)
	}
	return d.lines
}

type differ struct {
	lines   []DiffLine
	unknown map[string]bool
	said    []string
}

func parse(doc json.RawMessage) (any, bool) {
	if len(doc) == 0 {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return string(doc), true
	}
	return v, true
}

func (d *differ) add(sign byte, indent int, text string) {
	d.lines = append(d.lines, DiffLine{sign, indent, text})
}

// whole shows all of a value under one sign.
func (d *differ) whole(sign byte, pointer, name string, indent int, v any) {
	if d.unknown[pointer] {
		d.add(sign, indent, label(name)+"(known after apply)")
		return
	}
	switch x := v.(type) {
	case map[string]any:
		if name != "" {
			d.add(sign, indent, name+":")
			indent++
		}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			if text, ok := x[k].(string); ok && pointer == "" && slices.Contains(d.said, text) {
				continue
			}
			d.whole(sign, pointer+"/"+escape(k), Line(k), indent, x[k])
		}
	case string:
		if lines, ok := multiline(x); ok {
			d.add(sign, indent, label(name)+"|")
			for _, l := range clip(lines) {
				d.add(sign, indent+1, l)
			}
			return
		}
		d.add(sign, indent, label(name)+value(x))
	default:
		d.add(sign, indent, label(name)+value(v))
	}
}

// pair shows where two values differ.
func (d *differ) pair(pointer, name string, indent int, b, a any) {
	if d.unknown[pointer] {
		d.add('~', indent, label(name)+value(b)+" → (known after apply)")
		return
	}
	if equal(b, a) {
		return
	}
	switch bx := b.(type) {
	case map[string]any:
		if ax, ok := a.(map[string]any); ok {
			d.objects(pointer, name, indent, bx, ax)
			return
		}
	case []any:
		if ax, ok := a.([]any); ok && scalars(bx) && scalars(ax) {
			d.lists(name, indent, bx, ax)
			return
		}
	case string:
		if ax, ok := a.(string); ok {
			bl, b2 := multiline(bx)
			al, a2 := multiline(ax)
			if b2 || a2 {
				d.add('~', indent, label(name)+"|")
				d.lines = append(d.lines, lineDiff(bl, al, indent+1)...)
				return
			}
		}
	}
	d.add('~', indent, label(name)+value(b)+" → "+value(a))
}

func (d *differ) objects(pointer, name string, indent int, b, a map[string]any) {
	if name != "" {
		d.add('~', indent, name+":")
		indent++
	}
	keys := slices.Collect(maps.Keys(b))
	for k := range a {
		if _, ok := b[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		p := pointer + "/" + escape(k)
		bv, inB := b[k]
		av, inA := a[k]
		switch {
		case inB && inA:
			d.pair(p, Line(k), indent, bv, av)
		case inA:
			d.whole('+', p, Line(k), indent, av)
		default:
			d.whole('-', p, Line(k), indent, bv)
		}
	}
}

// lists shows lists of plain values as what left and what came; when only the
// order differs, both orders are shown.
func (d *differ) lists(name string, indent int, b, a []any) {
	count := map[string]int{}
	for _, v := range b {
		count[value(v)]++
	}
	var added []string
	for _, v := range a {
		if s := value(v); count[s] > 0 {
			count[s]--
		} else {
			added = append(added, s)
		}
	}
	var removed []string
	for _, v := range b {
		if s := value(v); count[s] > 0 {
			count[s]--
			removed = append(removed, s)
		}
	}
	if len(added)+len(removed) == 0 {
		d.add('~', indent, label(name)+value(b)+" → "+value(a))
		return
	}
	d.add('~', indent, strings.TrimSuffix(label(name), " "))
	for _, s := range removed {
		d.add('-', indent+1, s)
	}
	for _, s := range added {
		d.add('+', indent+1, s)
	}
}

func scalars(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

func equal(a, b any) bool { return value(a) == value(b) }

// value gives a value as JSON, which also quotes control characters. A masked
// value loses its tag: the tag is only there to compare.
func value(v any) string {
	if s, ok := v.(string); ok && strings.HasPrefix(s, "***") {
		return s[:3] + shortTag(s[3:])
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return "?"
	}
	return Line(strings.TrimSuffix(b.String(), "\n"))
}

func shortTag(tag string) string {
	if len(tag) > len(" (01234567)") {
		return Line(tag[:10])
	}
	return Line(tag)
}

func label(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

func escape(k string) string {
	return strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1")
}
