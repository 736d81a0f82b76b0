package strict

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// found describes what stands where something else was expected.
func (d *Decoder) found(n *Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if d.Private && !null(n) {
		return "a value (not shown)"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return clip(n.Value)
	case "!!str", "!!timestamp":
		return "the text " + strconv.Quote(clip(n.Value))
	}
	return "a value with the tag " + clip(n.Tag)
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// text reads a value that must be text.
func (d *Decoder) text(n *Node, field string) (string, bool) {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!str", "!!timestamp":
			return n.Value, true
		case "!!int", "!!float", "!!bool":
			mend := "put it in quotes"
			if !d.Private {
				mend += ": " + strconv.Quote(clip(n.Value))
			}
			d.Errorf(n, field, mend, "expected text, found %s", d.found(n))
			return "", false
		}
	}
	d.Errorf(n, field, "", "expected text, found %s", d.found(n))
	return "", false
}

func (d *Decoder) scalar(n *Node, v reflect.Value, field string) {
	switch {
	case v.Type() == refType:
		d.ref(n, v, field)
		return
	case v.Type() == durationType:
		d.duration(n, v, field)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s, ok := d.text(n, field); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		if n.Kind == yaml.ScalarNode && (n.Value == "true" || n.Value == "false") && n.ShortTag() == "!!bool" {
			v.SetBool(n.Value == "true")
			return
		}
		d.Errorf(n, field, "", "expected true or false, found %s", d.found(n))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && n.Decode(&i) == nil && !v.OverflowInt(i) {
			v.SetInt(i)
			return
		}
		d.Errorf(n, field, "", "expected a whole number, found %s", d.found(n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var i uint64
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && n.Decode(&i) == nil && !v.OverflowUint(i) {
			v.SetUint(i)
			return
		}
		d.Errorf(n, field, "", "expected a whole number that is not negative, found %s", d.found(n))
	case reflect.Float32, reflect.Float64:
		var x float64
		if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float") && n.Decode(&x) == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
			v.SetFloat(x)
			return
		}
		d.Errorf(n, field, "", "expected a number, found %s", d.found(n))
	default:
		d.Errorf(n, field, "", "a value of type %s can't be read", v.Type())
	}
}

func (d *Decoder) duration(n *Node, v reflect.Value, field string) {
	const mend = `write a number and a unit: 30s, 5m, 2h, 1h30m`
	if n.Kind == yaml.ScalarNode {
		if x, err := time.ParseDuration(n.Value); err == nil && n.ShortTag() != "!!null" {
			if x < 0 {
				d.Errorf(n, field, "", "a duration can't be negative, found %s", clip(n.Value))
				return
			}
			v.SetInt(int64(x))
			return
		}
	}
	d.Errorf(n, field, mend, "expected a duration, found %s", d.found(n))
}

var refPattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:.`)

// ref reads a secret reference. What stands there may be a secret in the
// clear, so it is never printed.
func (d *Decoder) ref(n *Node, v reflect.Value, field string) {
	const mend = "keep the secret out of the file and name it: env:NAME, file:PATH or another scheme:rest"
	if null(n) {
		return
	}
	if n.Kind != yaml.ScalarNode || (n.ShortTag() != "!!str" && n.ShortTag() != "!!timestamp") || !refPattern.MatchString(n.Value) || strings.ContainsAny(n.Value, "\n\r") {
		d.Errorf(n, field, mend, "expected a reference to a secret, found something else (not shown: it may be a secret)")
		return
	}
	v.SetString(n.Value)
}

// constraints checks a value that was read against its field's tags.
func (d *Decoder) constraints(n *Node, v reflect.Value, f *Field, field string) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if f.Required && v.IsZero() && (v.Kind() == reflect.String || v.Kind() == reflect.Slice || v.Kind() == reflect.Map) {
		d.Errorf(n, field, "give a value", "the field is empty")
		return
	}
	if v.Kind() == reflect.String && len(f.Enum) > 0 && v.String() != "" && !slices.Contains(f.Enum, v.String()) {
		d.Errorf(n, field, Mend(v.String(), f.Enum), "expected one of %s, found %q", strings.Join(f.Enum, ", "), clip(v.String()))
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String && len(f.Enum) > 0 {
		for i := range v.Len() {
			if s := v.Index(i).String(); !slices.Contains(f.Enum, s) {
				d.Errorf(n, fmt.Sprintf("%s[%d]", field, i), Mend(s, f.Enum), "expected one of %s, found %q", strings.Join(f.Enum, ", "), clip(s))
			}
		}
	}
	d.bounds(n, v, f, field)
}

func (d *Decoder) bounds(n *Node, v reflect.Value, f *Field, field string) {
	if f.Minimum == "" && f.Maximum == "" {
		return
	}
	var x float64
	parse := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	switch {
	case v.Type() == durationType:
		x = float64(v.Int())
		parse = func(s string) (float64, error) { y, err := time.ParseDuration(s); return float64(y), err }
	case v.CanInt():
		x = float64(v.Int())
	case v.CanUint():
		x = float64(v.Uint())
	case v.CanFloat():
		x = v.Float()
	default:
		return
	}
	if f.Minimum == f.Maximum {
		if only, err := parse(f.Minimum); err == nil && x != only {
			d.Errorf(n, field, "", "expected %s, found %s", f.Minimum, clip(n.Value))
		}
		return
	}
	if lo, err := parse(f.Minimum); err == nil && x < lo {
		d.Errorf(n, field, "", "expected at least %s, found %s", f.Minimum, clip(n.Value))
	}
	if hi, err := parse(f.Maximum); err == nil && x > hi {
		d.Errorf(n, field, "", "expected at most %s, found %s", f.Maximum, clip(n.Value))
	}
}
