package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// lookup follows a JSON pointer.
func lookup(doc any, pointer string) (any, bool) {
	for _, tok := range tokens(pointer) {
		switch x := doc.(type) {
		case map[string]any:
			v, ok := x[tok]
			if !ok {
				return nil, false
			}
			doc = v
		case []any:
			n, err := strconv.Atoi(tok)
			if err != nil || n < 0 || n >= len(x) {
				return nil, false
			}
			doc = x[n]
		default:
			return nil, false
		}
	}
	return doc, true
}

func tokens(pointer string) []string {
	if pointer == "" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, s := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return parts
}

// word gives a plain value as a text.
func word(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, x != ""
	case json.Number:
		return x.String(), true
	case bool:
		return strconv.FormatBool(x), true
	}
	return "", false
}

// copyOf gives a deep copy without what the pointers lead to.
func copyOf(doc any, without []string) any {
	out := clone(doc)
	for _, p := range without {
		toks := tokens(p)
		parent, ok := out, true
		for _, t := range toks[:len(toks)-1] {
			if parent, ok = lookup(parent, "/"+strings.ReplaceAll(strings.ReplaceAll(t, "~", "~0"), "/", "~1")); !ok {
				break
			}
		}
		if m, isMap := parent.(map[string]any); ok && isMap {
			delete(m, toks[len(toks)-1])
		}
	}
	return out
}

func clone(doc any) any {
	switch x := doc.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, v := range x {
			out[k] = clone(v)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, v := range x {
			out[i] = clone(v)
		}
		return out
	}
	return doc
}

// project gives the part of an observed document that a desired one speaks
// about: its fields, at every depth.
func project(observed, desired any) any {
	switch want := desired.(type) {
	case map[string]any:
		have, ok := observed.(map[string]any)
		if !ok {
			return observed
		}
		out := map[string]any{}
		for k, v := range want {
			if h, ok := have[k]; ok {
				out[k] = project(h, v)
			} else if v == nil {
				out[k] = nil // null and absent are the same
			}
		}
		return out
	case []any:
		have, ok := observed.([]any)
		if !ok || len(have) != len(want) {
			return observed
		}
		out := make([]any, len(have))
		for i := range have {
			out[i] = project(have[i], want[i])
		}
		return out
	}
	return observed
}

// overlay lays desired fields over an observed document.
func overlay(observed, desired any) any {
	have, ok := observed.(map[string]any)
	want, ok2 := desired.(map[string]any)
	if !ok || !ok2 {
		return desired
	}
	out, _ := clone(have).(map[string]any)
	for k, v := range want {
		out[k] = overlay(out[k], v)
	}
	return out
}

// normal writes numbers that mean the same in the same way.
func normal(doc any) any {
	switch x := doc.(type) {
	case map[string]any:
		for k, v := range x {
			x[k] = normal(v)
		}
	case []any:
		for i, v := range x {
			x[i] = normal(v)
		}
	case json.Number:
		if _, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
			return x
		}
		if f, err := x.Float64(); err == nil {
			return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
		}
	}
	return doc
}

// names is what stands for placeholders.
type names struct {
	id, key string
	doc     any
}

var placeholder = regexp.MustCompile(`\{(id|key|/[^{}]*)\}`)

// fill fills a text's placeholders in.
func (n names) fill(text string, escape func(string) string) (string, error) {
	var err error
	out := placeholder.ReplaceAllStringFunc(text, func(m string) string {
		v := ""
		switch in := m[1 : len(m)-1]; in {
		case "id":
			v = n.id
		case "key":
			v = n.key
		default:
			x, _ := lookup(n.doc, in)
			v, _ = word(x)
		}
		if v == "" || escape != nil && (v == "." || v == "..") {
			err = fmt.Errorf("%s has no usable value for the object", m)
		}
		if escape != nil {
			return escape(v)
		}
		return v
	})
	return out, err
}

func (n names) path(text string) (string, error) { return n.fill(text, url.PathEscape) }

// body makes a request's body of its template.
func (n names) body(template, object any) (any, error) {
	switch x := template.(type) {
	case string:
		if x == "{object}" {
			return object, nil
		}
		return n.fill(x, nil)
	case []any:
		out := make([]any, len(x))
		for i, v := range x {
			var err error
			if out[i], err = n.body(v, object); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		if _, all := x["{object}"]; all {
			if o, ok := clone(object).(map[string]any); ok {
				out = o
			}
		}
		for k, v := range x {
			if k == "{object}" {
				continue
			}
			b, err := n.body(v, object)
			if err != nil {
				return nil, err
			}
			out[k] = b
		}
		return out, nil
	}
	return template, nil
}
