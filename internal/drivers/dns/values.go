package dns

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"trueup.dev/trueup/internal/plan"
)

// values fills other targets' outputs into the files, as {{ .name }}. A value
// that is not known yet becomes a marker, and the record that holds it unknown.
type values struct {
	data    map[string]any
	unknown map[string]string // marker -> name
	names   map[string]bool
	secret  map[string]bool
}

func newValues(outputs map[string]plan.Output) *values {
	v := &values{data: map[string]any{}, unknown: map[string]string{}, names: map[string]bool{}, secret: map[string]bool{}}
	for name, o := range outputs {
		v.secret[name] = o.Sensitive
		if o.Unknown {
			marker := "--unknown-" + name + "--"
			v.data[name], v.unknown[marker] = marker, name
			continue
		}
		var x any
		dec := json.NewDecoder(strings.NewReader(string(o.Value)))
		dec.UseNumber()
		if dec.Decode(&x) != nil {
			x = string(o.Value)
		}
		v.data[name] = x
	}
	return v
}

func (v *values) markers() map[string]string { return v.unknown }

func (v *values) used() []string { return slices.Sorted(maps.Keys(v.names)) }

// fill renders a file. Without declared values a file is taken as it is.
func (v *values) fill(name, text string) (string, error) {
	if len(v.data) == 0 || !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	v.note(t.Root)
	for n := range v.names {
		if v.secret[n] {
			return "", fmt.Errorf("the value %s is sensitive: a record would show it to everybody", n)
		}
		if s, ok := v.data[n].(string); ok && strings.ContainsAny(s, "\n\r;\"\\$(){}") {
			return "", fmt.Errorf("the value %s holds characters that have a meaning in a zone file", n)
		}
	}
	var b limited
	if err := t.Execute(&b, v.data); err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	return b.String(), nil
}

// limited is a buffer that a template can't fill without end.
type limited struct{ strings.Builder }

var errTooLarge = errors.New("the rendered file is too large")

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxFile {
		return 0, errTooLarge
	}
	return l.Builder.Write(p)
}

// note collects the names of the values that a template uses.
func (v *values) note(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				v.note(c)
			}
		}
	case *parse.ActionNode:
		v.note(n.Pipe)
	case *parse.PipeNode:
		if n != nil {
			for _, c := range n.Cmds {
				v.note(c)
			}
		}
	case *parse.CommandNode:
		for _, c := range n.Args {
			v.note(c)
		}
	case *parse.FieldNode:
		if _, ok := v.data[n.Ident[0]]; ok {
			v.names[n.Ident[0]] = true
		}
	case *parse.IfNode:
		v.branch(&n.BranchNode)
	case *parse.RangeNode:
		v.branch(&n.BranchNode)
	case *parse.WithNode:
		v.branch(&n.BranchNode)
	}
}

func (v *values) branch(n *parse.BranchNode) {
	v.note(n.Pipe)
	v.note(n.List)
	v.note(n.ElseList)
}
