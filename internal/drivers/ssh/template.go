package ssh

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Limits of a template: what it may read and write.
const (
	maxTemplate = 1 << 20
	maxRendered = 16 << 20
	maxLoops    = 3 // nested in each other
)

// tmpl is a parsed template. Text of a repository is not trusted: it can't
// call other templates, loops are over variables only, and what it writes is
// bounded.
type tmpl struct {
	*template.Template
	at    plan.Source // where it begins
	names []string    // the variables it uses
}

var linePattern = regexp.MustCompile(`^template: .*?:(\d+):(?:\d+:)? ?`)

// parseTemplate reads a template whose first line is at a place.
func parseTemplate(text string, at plan.Source) (*tmpl, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("a template may have %d bytes at most", maxTemplate)
	}
	t, err := template.New("t").Option("missingkey=error").Funcs(template.FuncMap{"default": defaulted, "join": join}).Parse(text)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	if err := (inspector{used}).node(t.Root, true, 0); err != nil {
		return nil, err
	}
	return &tmpl{t, at, slices.Sorted(maps.Keys(used))}, nil
}

func defaulted(fallback, v any) any {
	if v == nil || v == "" {
		return fallback
	}
	return v
}

func join(sep string, list []any) string {
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = fmt.Sprint(x)
	}
	return strings.Join(parts, sep)
}

// place gives the line of a template's error, and the error without it.
func (t *tmpl) place(err error) (plan.Source, string) {
	at, text := t.at, err.Error()
	if m := linePattern.FindStringSubmatch(text); m != nil {
		n, convErr := strconv.Atoi(m[1])
		if convErr == nil {
			at.Line, at.Column = max(at.Line, 1)+n-1, 0
		}
		text = text[len(m[0]):]
	}
	return at, strings.TrimPrefix(text, `executing "t" at `)
}

// templateError words a mistake in a template.
func templateError(err error, at plan.Source, field string) plan.Diagnostic {
	t := &tmpl{at: at}
	where, text := t.place(err)
	return plan.Diagnostic{Severity: plan.Error, Source: where, Field: field, Message: text}
}

// rendered is what became of a template on one host.
type rendered struct {
	text      []byte
	unknown   bool // a value is known only later
	sensitive bool // a value is secret
}

// render fills a template in for a host.
func (t *tmpl) render(h *host) (rendered, error) {
	var out rendered
	for _, name := range t.names {
		v, ok := h.in.Values[name]
		if !ok {
			if _, there := h.vars[name]; !there {
				return out, plan.Diagnostic{Severity: plan.Error, Source: t.at, Message: fmt.Sprintf("variable %q is used, but the host %s has none of this name",
					name, h.Name), Mend: "give it in the inventory, under vars, or as a value of the target"}
			}
		}
		out.unknown = out.unknown || v.Unknown
		out.sensitive = out.sensitive || v.Sensitive
	}
	var b limitedText
	if err := t.Execute(&b, h.vars); err != nil {
		where, text := t.place(err)
		return out, plan.Diagnostic{Severity: plan.Error, Source: where, Message: fmt.Sprintf("on host %s: %s", h.Name, text)}
	}
	out.text = b.Bytes()
	return out, nil
}

// valuesOf makes variables of the target's values.
func valuesOf(in driver.Input) (map[string]any, error) {
	vars := map[string]any{}
	for name, v := range in.Values {
		if v.Unknown {
			vars[name] = "(known after " + name + " is applied)"
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(v.Value))
		dec.UseNumber()
		var x any
		if err := dec.Decode(&x); err != nil {
			return nil, fmt.Errorf("value %q: %w", name, err)
		}
		vars[name] = x
	}
	return vars, nil
}

type limitedText struct{ bytes.Buffer }

func (l *limitedText) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("it grows beyond %d bytes", maxRendered)
	}
	return l.Buffer.Write(p)
}

// inspector collects the variables that a template uses, and refuses what
// could run without end.
type inspector struct{ used map[string]bool }

// node looks at one part. Dot tells that "." is still the set of all
// variables, which it no longer is inside range and with.
func (i inspector) node(n parse.Node, dot bool, loops int) error {
	switch x := n.(type) {
	case *parse.ListNode:
		if x == nil {
			return nil
		}
		for _, c := range x.Nodes {
			if err := i.node(c, dot, loops); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		return i.pipe(x.Pipe, dot)
	case *parse.IfNode:
		return i.branch(&x.BranchNode, dot, dot, loops)
	case *parse.WithNode:
		return i.branch(&x.BranchNode, dot, false, loops)
	case *parse.RangeNode:
		if loops++; loops > maxLoops {
			return fmt.Errorf("more than %d loops inside of each other", maxLoops)
		}
		if !plainField(x.Pipe) {
			return errors.New("range works over a variable only, as in {{ range .addresses }}")
		}
		return i.branch(&x.BranchNode, dot, false, loops)
	case *parse.TemplateNode:
		return errors.New("templates within templates are not supported")
	}
	return nil
}

func (i inspector) branch(b *parse.BranchNode, dot, inside bool, loops int) error {
	if err := i.pipe(b.Pipe, dot); err != nil {
		return err
	}
	if err := i.node(b.List, inside, loops); err != nil {
		return err
	}
	return i.node(b.ElseList, dot, loops)
}

func (i inspector) pipe(p *parse.PipeNode, dot bool) error {
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			if err := i.arg(arg, dot); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i inspector) arg(n parse.Node, dot bool) error {
	switch a := n.(type) {
	case *parse.FieldNode:
		if dot {
			i.used[a.Ident[0]] = true
		}
	case *parse.VariableNode:
		if a.Ident[0] == "$" && len(a.Ident) > 1 {
			i.used[a.Ident[1]] = true
		}
	case *parse.ChainNode:
		return i.arg(a.Node, dot)
	case *parse.PipeNode:
		return i.pipe(a, dot)
	case *parse.DotNode:
		if dot {
			return errors.New("name the variable: {{ . }} alone stands for all of them")
		}
	}
	return nil
}

func plainField(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	switch p.Cmds[0].Args[0].(type) {
	case *parse.FieldNode, *parse.DotNode, *parse.VariableNode:
		return true
	}
	return false
}
