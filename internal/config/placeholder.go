package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// placeholder is {{ .name }} or {{ .name.part }}. There is no more to it: no
// functions, no conditions, so that a text from a repository can't do more
// than stand for a value.
var (
	placeholder = regexp.MustCompile(`\{\{[^{}]*\}\}`)
	placedName  = regexp.MustCompile(`^\{\{ *\.([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*) *\}\}$`)
)

// fillText puts values in the place of a text's placeholders.
func fillText(text string, vars map[string]any) (string, error) {
	var bad error
	out := placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placedName.FindStringSubmatch(p)
		if m == nil {
			bad = fmt.Errorf("%s is no variable: write {{ .name }}", p)
			return p
		}
		v, err := lookUp(m[1], vars)
		if err != nil {
			bad = err
			return p
		}
		return v
	})
	return out, bad
}

func lookUp(name string, vars map[string]any) (string, error) {
	var v any = vars
	for _, part := range strings.Split(name, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return "", fmt.Errorf("there is no variable %s", name)
		}
		if v, ok = m[part]; !ok {
			return "", fmt.Errorf("there is no variable %s", name)
		}
	}
	switch x := v.(type) {
	case string:
		return x, nil
	case bool:
		return strconv.FormatBool(x), nil
	case json.Number:
		return x.String(), nil
	case int, int64, float64, uint64:
		return fmt.Sprint(x), nil
	case map[string]any: // a thing that has a name stands for it: {{ .host }}
		if text, ok := x["name"].(string); ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("the variable %s is no plain value", name)
}

// texts gives every text of a check that may hold placeholders.
func (h *Health) texts(each func(string) string) {
	h.TCP, h.HTTP = each(h.TCP), each(h.HTTP)
	if h.DNS != nil {
		d := *h.DNS
		d.Name, d.Server, d.Expect = each(d.Name), each(d.Server), slices.Clone(d.Expect)
		for i := range d.Expect {
			d.Expect[i] = each(d.Expect[i])
		}
		h.DNS = &d
	}
	if h.Driver != nil {
		h.Driver, _ = eachText(h.Driver, each).(map[string]any)
	}
}

func eachText(v any, each func(string) string) any {
	switch x := v.(type) {
	case string:
		return each(x)
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = eachText(x[i], each)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for k := range x {
			out[k] = eachText(x[k], each)
		}
		return out
	}
	return v
}

// PerScope tells that a check is one for each scope: there is a {{ .host }} or
// another variable in it.
func (h Health) PerScope() bool {
	found := false
	h.texts(func(s string) string {
		found = found || placeholder.MatchString(s)
		return s
	})
	return found
}

// Fill gives the check with the variables of one scope in the place of its
// placeholders. A variable that is not there is an error.
func (h Health) Fill(vars map[string]any) (Health, error) {
	var bad error
	h.texts(func(s string) string {
		out, err := fillText(s, vars)
		if err != nil {
			bad = err
		}
		return out
	})
	return h, bad
}

// malformed gives the first placeholder of a check that can't be one.
func (h Health) malformed() string {
	bad := ""
	h.texts(func(s string) string {
		for _, p := range placeholder.FindAllString(s, -1) {
			if bad == "" && !placedName.MatchString(p) {
				bad = p
			}
		}
		return s
	})
	return bad
}

// forScope are the placeholders of a command's arguments. Anything else in
// braces is the program's own affair.
var forScope = regexp.MustCompile(`\{\{ *\.(host|scope|target) *\}\}`)

// ForScope gives a command's arguments for one scope of a target. {{ .host }}
// (or {{ .scope }}) and {{ .target }} in them are replaced.
func (c *Command) ForScope(target, scope string) []string {
	out := make([]string, len(c.Args))
	for i, a := range c.Args {
		out[i] = forScope.ReplaceAllStringFunc(a, func(p string) string {
			if strings.Contains(p, "target") {
				return target
			}
			return scope
		})
	}
	return out
}

// PerScope tells that a command is one for each scope: it runs there, or names
// it in its arguments.
func (c *Command) PerScope() bool {
	return c.On == OnHost || slices.ContainsFunc(c.Args, func(a string) bool {
		m := forScope.FindStringSubmatch(a)
		return m != nil && m[1] != "target"
	})
}

// Where a command runs.
const (
	OnServer = "server"
	OnHost   = "host"
)
