package kubernetes

import (
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// What is shown of an object has other elements in its lists than its manifest,
// and in another order. So a pointer into a list names the element there:
// "[name=PASSWORD]" the one of that name, "[*]" any.
const (
	anyElement = "[*]"
	byName     = "[name="
)

// namedPointers makes pointers into a document that name the elements of its lists.
func namedPointers(doc any, pointers []string) []string {
	var out []string
	for _, p := range pointers {
		v, at := doc, ""
		for _, t := range tokens(p) {
			step := t
			switch x := v.(type) {
			case map[string]any:
				v = x[t]
			case []any:
				step, v = anyElement, nil
				n, err := strconv.Atoi(t)
				if err != nil || n < 0 || n >= len(x) {
					break
				}
				v = x[n]
				if name := nameOf(x[n]); name != "" && !slices.Contains(pointers, at+"/"+t+"/name") {
					step = byName + name + "]"
				}
			default:
				v = nil
			}
			at += "/" + escape(step)
		}
		out = append(out, at)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func tokens(pointer string) []string {
	if pointer == "" {
		return nil
	}
	out := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := range out {
		out[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(out[i])
	}
	return out
}

func nameOf(v any) string {
	m, _ := v.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

// located gives plain pointers to all that named ones find in a document.
func located(v any, path []string, at string, out []string) []string {
	if len(path) == 0 {
		return append(out, at)
	}
	switch x := v.(type) {
	case map[string]any:
		if child, there := x[path[0]]; there {
			return located(child, path[1:], at+"/"+escape(path[0]), out)
		}
	case []any:
		name, named := strings.CutPrefix(path[0], byName)
		for i, e := range x {
			n := strconv.Itoa(i)
			if path[0] == anyElement || path[0] == n || named && nameOf(e)+"]" == name {
				out = located(e, path[1:], at+"/"+n, out)
			}
		}
	default: // what is shown there has no such parts: all of it is hidden
		return append(out, at)
	}
	return out
}

// hidden points to what must not be seen of a document that shows an object:
// where the manifest has it, and had it when it was last applied, and wherever
// else a secret text turns up.
func (s *set) hidden(key plan.Key, o *object, doc map[string]any) []string {
	pointers := slices.Concat(namedPointers(objectOf(o.send), sensitive(o)), keptOf(s.in.Inventory[key]).Sensitive)
	var out []string
	for _, p := range pointers {
		out = located(doc, tokens(p), "", out)
	}
	secrets := o.secrets()
	each := func(at, text string) {
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) }) {
			out = append(out, at)
		}
	}
	if len(secrets) > 0 {
		leaves(doc, "", each)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// leaves visits the texts of a document.
func leaves(v any, at string, visit func(at, text string)) {
	switch x := v.(type) {
	case string:
		visit(at, x)
	case map[string]any:
		for k, e := range x {
			leaves(e, at+"/"+escape(k), visit)
		}
	case []any:
		for i, e := range x {
			leaves(e, at+"/"+strconv.Itoa(i), visit)
		}
	}
}
