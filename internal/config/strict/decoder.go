package strict

import (
	"encoding"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Decoder fills Go values from nodes and collects what is wrong. Use one for
// each document.
type Decoder struct {
	File  string
	Diags plan.Diagnostics
	// Late has the nodes of late fields by their field path.
	Late map[string]*Node
	// Private keeps values out of the messages, where a secret may stand by
	// mistake.
	Private bool

	visited int
	errors  int
	stopped bool
}

// Unmarshaler reads itself through a function that fills any other value from
// the same node. An error says what is wrong with the value.
type Unmarshaler interface {
	UnmarshalYAML(fill func(any) error) error
}

// NewDecoder makes a decoder for a file's nodes.
func NewDecoder(file string) *Decoder {
	return &Decoder{File: file, Late: map[string]*Node{}}
}

// Decode fills target, a pointer, from the node. Fields that are missing keep
// their value.
func (d *Decoder) Decode(n *Node, target any, field string) {
	d.into(n, reflect.ValueOf(target).Elem(), field, 0)
}

// At gives a node's place.
func (d *Decoder) At(n *Node) plan.Source {
	if n == nil {
		return plan.Source{File: d.File}
	}
	return plan.Source{File: d.File, Line: n.Line, Column: n.Column}
}

// Errorf reports a mistake at a node.
func (d *Decoder) Errorf(n *Node, field, mend, format string, args ...any) {
	d.errors++
	switch {
	case len(d.Diags) < maxFound:
		d.Diags.Errorf(d.At(n), field, mend, format, args...)
	case len(d.Diags) == maxFound:
		d.Diags.Errorf(d.At(n), "", "mend those first", "there are more than %d mistakes; the rest is not listed", maxFound)
	}
}

// Add takes over a finding.
func (d *Decoder) Add(found plan.Diagnostic) {
	if found.Severity == plan.Error {
		d.errors++
	}
	if len(d.Diags) <= maxFound {
		d.Diags = append(d.Diags, found)
	}
}

// Errors counts the mistakes, also those that are no longer listed. It is
// negative once the document was given up as too large.
func (d *Decoder) Errors() int {
	if d.stopped {
		return -1
	}
	return d.errors
}

// Full tells that enough mistakes are listed: more are counted only, so it is
// not worth the effort to describe them.
func (d *Decoder) Full() bool { return d.stopped || len(d.Diags) > maxFound }

// enter counts a node, follows aliases, and tells whether to go on.
func (d *Decoder) enter(n *Node, field string, depth int) (*Node, bool) {
	for n != nil && n.Kind == yaml.AliasNode && !d.stopped {
		d.visited++
		n = n.Alias
		if d.visited > maxNodes {
			break
		}
	}
	d.visited++
	if d.stopped || n == nil {
		return n, false
	}
	if d.visited > maxNodes {
		d.stopped = true
		d.Errorf(n, field, "write it out with fewer aliases", "the document has more than %d nodes once aliases are expanded", maxNodes)
		return n, false
	}
	if depth > maxDepth {
		d.stopped = true
		d.Errorf(n, short(field), "", "the document is nested more than %d levels deep", maxDepth)
		return n, false
	}
	return n, true
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	refType      = reflect.TypeFor[secret.Ref]()
)

func (d *Decoder) into(n *Node, v reflect.Value, field string, depth int) {
	n, ok := d.enter(n, field, depth)
	if !ok {
		return
	}
	if v.Kind() == reflect.Pointer {
		if !null(n) {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			d.into(n, v.Elem(), field, depth)
		}
		return
	}
	if d.custom(n, v, field, depth) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, field, depth)
	case reflect.Map:
		d.mapping(n, v, field, depth)
	case reflect.Slice:
		d.list(n, v, field, depth)
	case reflect.Array:
		d.Errorf(n, field, "", "lists of a fixed length can't be read")
	case reflect.Interface:
		if x := d.any(n, field, depth); x != nil && v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(n, v, field)
	}
}

// custom reads the types that read themselves.
func (d *Decoder) custom(n *Node, v reflect.Value, field string, depth int) bool {
	if v.Type() == durationType || v.Type() == refType {
		d.scalar(n, v, field)
		return true
	}
	if !v.CanAddr() {
		return false
	}
	switch x := v.Addr().Interface().(type) {
	case Unmarshaler:
		d.unmarshal(n, x, field, depth)
		return true
	case encoding.TextUnmarshaler:
		if text, ok := d.text(n, field); ok {
			if err := x.UnmarshalText([]byte(text)); err != nil {
				d.Errorf(n, field, "", "%s", err)
			}
		}
		return true
	}
	return false
}

// unmarshal lets a value read itself. It may try several forms: what is wrong
// with a form counts only when the value hands that error back.
func (d *Decoder) unmarshal(n *Node, x Unmarshaler, field string, depth int) {
	start, errs := len(d.Diags), d.errors
	err := x.UnmarshalYAML(func(target any) error {
		mark := len(d.Diags)
		d.into(n, reflect.ValueOf(target).Elem(), field, depth+1)
		tried := append(plan.Diagnostics(nil), d.Diags[mark:]...)
		d.Diags = d.Diags[:mark]
		return tried.Err()
	})
	d.Diags, d.errors = d.Diags[:start], errs
	var tried plan.Diagnostics
	switch {
	case errors.As(err, &tried):
		for _, t := range tried {
			d.Add(t)
		}
	case err != nil && d.Private:
		d.Errorf(n, field, "", "the value can't be read (not shown: it may be a secret)")
	case err != nil:
		d.Errorf(n, field, "", "%s", err)
	}
}

func (d *Decoder) list(n *Node, v reflect.Value, field string, depth int) {
	if null(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.Errorf(n, field, listMend(n), "expected a list, found %s", d.found(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		at := field + "[" + strconv.Itoa(i) + "]"
		if null(c) {
			d.Errorf(c, at, "remove the empty item", "the item is empty")
			continue
		}
		d.into(c, out.Index(i), at, depth+1)
	}
	v.Set(out)
}

func listMend(n *Node) string {
	if n.Kind == yaml.ScalarNode && len(n.Value) < 60 && !strings.Contains(n.Value, "\n") {
		return "write it as a list: [...]"
	}
	return "write each item on a line of its own, after a dash"
}

func null(n *Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func short(field string) string {
	const most = 80
	if len(field) > most {
		return field[:most] + "…"
	}
	return field
}
