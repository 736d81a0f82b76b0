package ssh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/templates"
	"trueup.dev/trueup/internal/plan"
)

// Limits of a template: what it may read and write.
const (
	maxTemplate = 1 << 20
	maxRendered = 16 << 20
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
	names, err := templates.Names(t.Root)
	if err != nil {
		return nil, err
	}
	return &tmpl{t, at, names}, nil
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
