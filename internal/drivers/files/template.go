package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"text/template"
	"text/template/parse"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Limits of a template: what it may read and write.
const (
	maxTemplate = 1 << 20
	maxRendered = 16 << 20
)

// rendered is a template's result.
type rendered struct {
	text    string
	values  []string // names of the values it uses
	unknown []string // those of them that are known only later
}

// template renders an entry and takes note of what it uses. Values that are
// not there yet are no mistake as long as nobody gave any: the engine checks
// the names against those declared.
func (r *reader) template(e *entry) {
	out, err := render(r.in, e.From)
	for _, v := range out.values {
		r.values[v] = true
	}
	if err != nil {
		var missing missingValue
		if errors.As(err, &missing) && r.in.Values == nil {
			e.Unknown = true
			return
		}
		r.diags.Errorf(plan.Source{File: e.From, Line: templateLine(err)}, "templates", "", "%v", err)
		return
	}
	e.Size, e.Sum = int64(len(out.text)), sha256.Sum256([]byte(out.text))
	e.Unknown = len(out.unknown) > 0
	for _, v := range out.values {
		if r.in.Values[v].Sensitive {
			e.Sensitive = true
		}
	}
}

var linePattern = regexp.MustCompile(`^template: .*?:(\d+):`)

// templateLine takes the line out of an error of text/template, or gives 0.
func templateLine(err error) int {
	m := linePattern.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		return 0
	}
	return n
}

type missingValue string

func (m missingValue) Error() string {
	return fmt.Sprintf("value %q is used, but the target does not declare it under values", string(m))
}

// render fills a file of the snapshot in.
func render(in driver.Input, name string) (rendered, error) {
	var out rendered
	f, err := in.Tree.Open(name)
	if err != nil {
		return out, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	if err != nil {
		return out, err
	}
	if len(src) > maxTemplate {
		return out, fmt.Errorf("a template may have %d bytes at most", maxTemplate)
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(src))
	if err != nil {
		return out, err
	}
	used := map[string]bool{}
	if err := (inspector{used}).node(t.Root, true); err != nil {
		return out, err
	}
	out.values = slices.Sorted(maps.Keys(used))
	data := map[string]any{}
	for _, v := range out.values {
		o, ok := in.Values[v]
		switch {
		case !ok:
			return out, missingValue(v)
		case o.Unknown:
			out.unknown = append(out.unknown, v)
			data[v] = "(known after " + v + " is applied)"
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(o.Value))
		dec.UseNumber()
		var x any
		if err := dec.Decode(&x); err != nil {
			return out, fmt.Errorf("value %q: %w", v, err)
		}
		data[v] = x
	}
	var b limited
	if err := t.Execute(&b, data); err != nil {
		return out, err
	}
	out.text = b.String()
	return out, nil
}

type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("it grows beyond %d bytes", maxRendered)
	}
	return l.Buffer.Write(p)
}

// inspector collects the values that a template uses and refuses what could run
// without end: templates that call templates, and loops over anything but a
// value. Repository content is untrusted.
type inspector struct{ used map[string]bool }

// node looks at one part. Dot tells that "." is still the set of all values,
// which it no longer is inside range and with.
func (i inspector) node(n parse.Node, dot bool) error {
	switch x := n.(type) {
	case *parse.ListNode:
		if x == nil {
			return nil
		}
		for _, c := range x.Nodes {
			if err := i.node(c, dot); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		return i.pipe(x.Pipe, dot)
	case *parse.IfNode:
		return i.branch(&x.BranchNode, dot, dot)
	case *parse.WithNode:
		return i.branch(&x.BranchNode, dot, false)
	case *parse.RangeNode:
		if !plainField(x.Pipe) {
			return errors.New("range works over a value only, as in {{ range .hosts }}")
		}
		return i.branch(&x.BranchNode, dot, false)
	case *parse.TemplateNode:
		return errors.New("templates within templates are not supported")
	}
	return nil
}

func (i inspector) branch(b *parse.BranchNode, dot, inside bool) error {
	if err := i.pipe(b.Pipe, dot); err != nil {
		return err
	}
	if err := i.node(b.List, inside); err != nil {
		return err
	}
	return i.node(b.ElseList, dot)
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
			return errors.New("name the value: {{ . }} alone stands for all of them")
		}
	}
	return nil
}

func plainField(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	switch p.Cmds[0].Args[0].(type) {
	case *parse.FieldNode, *parse.DotNode:
		return true
	}
	return false
}

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }
