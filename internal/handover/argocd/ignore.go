package argocd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// ignoreDifferences carries over what of an Application's objects is left to
// others, with what the settings say for all of them.
func (c *converter) ignoreDifferences(o *handover.Object) []handover.Ignore {
	out := slices.Clone(c.settings.ignore)
	for _, d := range o.At("spec", "ignoreDifferences").Items() {
		i := handover.Ignore{Group: d.At("group").Text(), Kind: d.At("kind").Text(), Namespace: d.At("namespace").Text(), Name: d.At("name").Text(),
			Pointers: d.At("jsonPointers").Texts(), Managers: d.At("managedFieldsManagers").Texts()}
		if i.Kind == "*" {
			i.Kind = ""
		}
		if i.Group == "*" {
			i.Group = ""
		}
		for _, q := range d.At("jqPathExpressions").Items() {
			c.jq(o, q.Path(), q.Text(), &i)
		}
		if len(i.Pointers)+len(i.Expressions)+len(i.Managers) > 0 {
			out = append(out, i)
		}
	}
	return out
}

// jq carries a path in jq's language over: a plain one is a JSON pointer, one
// that walks through lists a CEL expression. Others are told.
func (c *converter) jq(o *handover.Object, field, text string, into *handover.Ignore) {
	pointer, expression := translate(text)
	switch {
	case pointer != "":
		into.Pointers = append(into.Pointers, pointer)
	case expression != "":
		into.Expressions = append(into.Expressions, expression)
	default:
		c.out.Lost(o, field, "trueup has JSON pointers and CEL, not jq: "+text, "write a CEL expression that gives JSON pointers under spec.ignoreDifferences")
	}
}

// A path in jq: .a.b, ."a/b", ["a.b"], [0], [], [] | select(.k == "v").
var (
	jqField  = regexp.MustCompile(`^\.?(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"\\]*)"|\["([^"\\]*)"\])\??`)
	jqIndex  = regexp.MustCompile(`^\.?\[([0-9]+)\]\??`)
	jqAll    = regexp.MustCompile(`^\.?\[\]\??`)
	jqSelect = regexp.MustCompile(`^\s*\|\s*select\(\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*==\s*"([^"\\]*)"\s*\)\s*(?:\|\s*)?`)
)

// step is a part of a path: a name, an index, or all elements of a list, of
// which some may be chosen.
type step struct {
	name, where, value string
	index              int
	kind               byte // n, i, *
}

func parseJQ(text string) ([]step, bool) {
	rest := strings.TrimSpace(text)
	var out []step
	for rest != "" {
		if m := jqSelect.FindStringSubmatch(rest); m != nil && len(out) > 0 && out[len(out)-1].kind == '*' {
			out[len(out)-1].where, out[len(out)-1].value = m[1], m[2]
			rest = rest[len(m[0]):]
			continue
		}
		if m := jqAll.FindString(rest); m != "" {
			out, rest = append(out, step{kind: '*'}), rest[len(m):]
			continue
		}
		if m := jqIndex.FindStringSubmatch(rest); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, false
			}
			out, rest = append(out, step{kind: 'i', index: n}), rest[len(m[0]):]
			continue
		}
		m := jqField.FindStringSubmatch(rest)
		if m == nil || len(out) == 0 && rest[0] != '.' {
			return nil, false
		}
		out, rest = append(out, step{kind: 'n', name: m[1] + m[2] + m[3]}), rest[len(m[0]):]
	}
	return out, len(out) > 0
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// translate gives a JSON pointer or a CEL expression for a path, or neither.
func translate(text string) (pointer, expression string) {
	steps, ok := parseJQ(text)
	if !ok {
		return "", ""
	}
	walk := -1
	for i, s := range steps {
		if s.kind == '*' {
			if walk >= 0 {
				return "", "" // lists in lists
			}
			walk = i
		}
	}
	if walk < 0 {
		return pointerOf(steps), ""
	}
	if walk == 0 {
		return "", ""
	}
	list := "object"
	for _, s := range steps[:walk] {
		if s.kind == 'i' {
			list += fmt.Sprintf("[?%d]", s.index)
		} else {
			list += fmt.Sprintf("[?%s]", strconv.Quote(s.name))
		}
	}
	s := steps[walk]
	filter := ""
	if s.where != "" {
		filter = fmt.Sprintf("e[?%s].orValue(\"\") == %s, ", strconv.Quote(s.where), strconv.Quote(s.value))
	}
	path := fmt.Sprintf("%s + string(i)", strconv.Quote(pointerOf(steps[:walk])+"/"))
	if tail := pointerOf(steps[walk+1:]); tail != "" {
		path += " + " + strconv.Quote(tail)
	}
	return "", fmt.Sprintf("%s.orValue([]).transformList(i, e, %s%s)", list, filter, path)
}

func pointerOf(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		if s.kind == 'i' {
			fmt.Fprintf(&b, "/%d", s.index)
		} else {
			b.WriteString("/" + escape.Replace(s.name))
		}
	}
	return b.String()
}
