package strict

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// Any gives a node as plain JSON values: map[string]any, []any, string,
// int64, float64, bool or nil.
func (d *Decoder) Any(n *Node, field string) any { return d.any(n, field, 0) }

func (d *Decoder) any(n *Node, field string, depth int) any {
	n, ok := d.enter(n, field, depth)
	if !ok {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		pairs := d.pairs(n, field, depth)
		out := make(map[string]any, len(pairs))
		for _, p := range pairs {
			out[p.Key.Value] = d.any(p.Value, Join(field, p.Key.Value), depth+1)
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = d.any(c, field+"["+strconv.Itoa(i)+"]", depth+1)
		}
		return out
	}
	return d.anyScalar(n, field)
}

func (d *Decoder) anyScalar(n *Node, field string) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return i
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	case "!!str", "!!timestamp":
		return n.Value
	}
	d.Errorf(n, field, "write plain text, a number, true or false", "expected a plain value, found %s", d.found(n))
	return nil
}

// FromAny makes a node of plain JSON values, without places.
func FromAny(x any) *Node {
	scalar := func(tag, value string) *Node { return &Node{Kind: yaml.ScalarNode, Tag: tag, Value: value} }
	switch v := x.(type) {
	case map[string]any:
		n := &Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, scalar("!!str", k), FromAny(v[k]))
		}
		return n
	case []any:
		n := &Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			n.Content = append(n.Content, FromAny(e))
		}
		return n
	case nil:
		return scalar("!!null", "null")
	case string:
		return scalar("!!str", v)
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case fmt.Stringer: // json.Number
		if s := v.String(); strings.ContainsAny(s, ".eE") {
			return scalar("!!float", s)
		}
		return scalar("!!int", v.String())
	}
	n := &Node{}
	if err := n.Encode(x); err != nil {
		return scalar("!!null", "null")
	}
	return n
}

// Defaults sets the fields of a struct that have a default in their tag and
// no value yet; structs inside are treated the same, pointers are left alone.
func Defaults(target any) { defaults(reflect.ValueOf(target).Elem()) }

func defaults(v reflect.Value) {
	for _, f := range Fields(v.Type()) {
		fv := v.FieldByIndex(f.Index)
		if fv.Kind() == reflect.Struct {
			defaults(fv)
			continue
		}
		if f.Default == "" || !fv.IsZero() {
			continue
		}
		switch {
		case fv.Type() == durationType:
			if x, err := time.ParseDuration(f.Default); err == nil {
				fv.SetInt(int64(x))
			}
		case fv.Kind() == reflect.String:
			fv.SetString(f.Default)
		case fv.CanInt():
			if x, err := strconv.ParseInt(f.Default, 10, 64); err == nil {
				fv.SetInt(x)
			}
		}
	}
}
