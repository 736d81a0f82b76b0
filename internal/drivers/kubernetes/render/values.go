package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"trueup.dev/trueup/internal/driver/templates"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// maxRendered bounds what one template may grow to.
const maxRendered = 16 << 20

// knownLater is what stands in a rendering for a value that another target has
// not given yet.
func knownLater(name string) string { return "(known after " + name + " is applied)" }

var laterForm = regexp.MustCompile(`\(known after [^()]* is applied\)`)

// value gives a declared value. A value that is not there yet is a text that
// says so.
func (r *run) value(name string) (any, error) {
	o, ok := r.in.Values[name]
	switch {
	case !ok && r.in.Values != nil:
		return nil, fmt.Errorf("value %q is used, but the target does not declare it under values", name)
	case !ok || o.Unknown:
		r.values[name] = true
		return knownLater(name), nil
	}
	r.values[name] = true
	var x any
	dec := json.NewDecoder(bytes.NewReader(o.Value))
	dec.UseNumber()
	if err := dec.Decode(&x); err != nil {
		return nil, fmt.Errorf("value %q is no JSON", name)
	}
	x = numbers(x)
	if o.Sensitive {
		r.files.secrets.add("", x)
	}
	return x, nil
}

// numbers makes the numbers of a value int64 or float64.
func numbers(x any) any {
	switch v := x.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = numbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = numbers(e)
		}
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return manifest.Number(f)
	}
	return x
}

// templateMistake is a mistake in a template of the repository.
type templateMistake struct {
	at         plan.Source
	text, mend string
}

// Error gives the text.
func (m *templateMistake) Error() string { return m.text }

var templateLine = regexp.MustCompile(`^template: (.*?):(\d+)(?::\d+)?: (?s:(.*))$`)

// fill fills declared values into a template.
func (r *run) fill(name string, body []byte) ([]byte, error) {
	mistake := func(err error) error {
		m := &templateMistake{at: plan.Source{File: name}, text: err.Error()}
		if f := templateLine.FindStringSubmatch(err.Error()); f != nil {
			m.at.Line, _ = strconv.Atoi(f[2])
			m.text = f[3]
		}
		return m
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(body))
	if err != nil {
		return nil, mistake(err)
	}
	names, err := templates.Names(t.Root)
	if err != nil {
		return nil, mistake(err)
	}
	data := map[string]any{}
	for _, n := range names {
		if data[n], err = r.value(n); err != nil {
			return nil, mistake(err)
		}
	}
	if !prints(t.Root) {
		r.undecided(name, r.unknown(names))
	}
	var out limited
	if err := t.Execute(&out, data); err != nil {
		return nil, mistake(err)
	}
	return out.Bytes(), nil
}

// prints tells that a template only puts values where they are named, so that
// one that is not known yet shows where it goes.
func prints(root *parse.ListNode) bool {
	return !slices.ContainsFunc(root.Nodes, func(n parse.Node) bool {
		switch x := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
			return false
		case *parse.ActionNode:
			p := x.Pipe
			if len(p.Decl) > 0 || len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
				return true
			}
			_, field := p.Cmds[0].Args[0].(*parse.FieldNode)
			return !field
		}
		return true
	})
}

type limited struct{ bytes.Buffer }

// Write takes more, within the limit.
func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("it grows beyond %d bytes", maxRendered)
	}
	return l.Buffer.Write(p)
}

// WriteString takes more, within the limit.
func (l *limited) WriteString(s string) (int, error) { return l.Write([]byte(s)) }

// leaves calls visit for every text, number and boolean of a value with its
// JSON pointer.
func leaves(x any, at string, visit func(pointer string, leaf any)) {
	switch v := x.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			leaves(v[k], at+"/"+pointerEscape.Replace(k), visit)
		}
	case []any:
		for i, e := range v {
			leaves(e, at+"/"+strconv.Itoa(i), visit)
		}
	case nil:
	default:
		visit(at, v)
	}
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
