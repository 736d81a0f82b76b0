package manifest

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"
)

// Limits of one document.
const (
	maxDepth   = 200
	maxNodes   = 1_000_000
	maxAliased = 100_000
)

// converter makes plain values of nodes, as the API server would read them:
// maps, lists, strings, booleans, int64, float64 and nil.
type converter struct {
	nodes   int
	aliased int
	inAlias int
	lenient bool // a field that stands twice is no error: the last one counts
	found   []*mistake
	failed  bool
}

func (c *converter) errorf(n *yaml.Node, tip, format string, args ...any) {
	c.failed = true
	if len(c.found) < 20 {
		c.found = append(c.found, &mistake{line: n.Line, text: fmt.Sprintf(format, args...), tip: tip})
	}
}

// twice reports a field that stands twice, and tells whether the second counts.
func (c *converter) twice(k *yaml.Node, key string, first int) bool {
	text := fmt.Sprintf("the field %s stands here twice; first in line %d", Short(key), first)
	if len(c.found) < 20 {
		c.found = append(c.found, &mistake{line: k.Line, text: text, tip: "remove one of the two", warning: c.lenient})
	}
	c.failed = c.failed || !c.lenient
	return c.lenient
}

func (c *converter) value(n *yaml.Node, depth int) any {
	if !c.enter(n, depth) {
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		c.inAlias++
		v := c.value(n.Alias, depth+1)
		c.inAlias--
		return v
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, e := range n.Content {
			out = append(out, c.value(e, depth+1))
		}
		return out
	}
	return c.scalar(n)
}

// enter bounds what is read, also by way of aliases.
func (c *converter) enter(n *yaml.Node, depth int) bool {
	if c.nodes++; c.inAlias > 0 {
		c.aliased++
	}
	switch {
	case c.nodes > maxNodes+1 || c.aliased > maxAliased+1:
	case c.nodes > maxNodes:
		c.errorf(n, "split it", "the document has more than %d values", maxNodes)
		c.nodes++
	case c.aliased > maxAliased:
		c.errorf(n, "write it out with fewer aliases", "aliases make the document larger than %d values", maxAliased)
		c.aliased++
	case depth > maxDepth:
		c.errorf(n, "", "it is nested more than %d deep", maxDepth)
	default:
		return true
	}
	return false
}

func (c *converter) mapping(n *yaml.Node, depth int) map[string]any {
	out := make(map[string]any, len(n.Content)/2)
	lines := make(map[string]int, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		key, ok := c.key(k)
		if !ok {
			continue
		}
		if first, dup := lines[key]; dup && !c.twice(k, key, first) {
			continue
		}
		lines[key] = k.Line
		out[key] = c.value(v, depth+1)
	}
	for _, m := range merges {
		c.merge(out, m, depth+1)
	}
	return out
}

// merge adds the fields that are not there yet.
func (c *converter) merge(out map[string]any, m *yaml.Node, depth int) {
	target := m
	if m.Kind == yaml.AliasNode {
		target = m.Alias
	}
	switch target.Kind {
	case yaml.MappingNode:
		from, _ := c.value(m, depth).(map[string]any)
		for k, v := range from {
			if _, there := out[k]; !there {
				out[k] = v
			}
		}
	case yaml.SequenceNode:
		for _, e := range target.Content {
			if !c.enter(e, depth) {
				return
			}
			c.merge(out, e, depth+1)
		}
	default:
		c.errorf(m, "", "<< must merge a mapping")
	}
}

// key gives a field's name. Names are text in JSON, whatever they look like.
func (c *converter) key(k *yaml.Node) (string, bool) {
	if k.Kind == yaml.AliasNode {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode {
		tip := ""
		if k.Kind == yaml.MappingNode { // {{ .name }} is a mapping within a mapping
			tip = TemplateTip
		}
		c.errorf(k, tip, "the name of a field must be text")
		return "", false
	}
	switch v := c.scalar(k).(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	c.errorf(k, "write it in quotes", "the name of a field must be text")
	return "", false
}

// scalar resolves a value as kubectl and Helm do, by YAML 1.1: yes and on are
// true, 0755 is octal.
func (c *converter) scalar(n *yaml.Node) any {
	tagged := n.Style&yaml.TaggedStyle != 0
	switch {
	case !tagged && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0:
		return c.plain(n)
	case n.Tag == "!!str" || n.Tag == "!!timestamp":
		return n.Value
	case n.Tag == "!!null":
		return nil
	case n.Tag == "!!bool" || n.Tag == "!!binary":
		return c.decoded(n)
	case n.Tag == "!!int" || n.Tag == "!!float":
		return c.number(n)
	}
	c.errorf(n, "", "the tag %s means nothing to Kubernetes", Short(n.Tag))
	return nil
}

func (c *converter) decoded(n *yaml.Node) any {
	if n.Tag == "!!bool" && (n.Value == "true" || n.Value == "false") {
		return n.Value == "true"
	}
	var v any
	if err := n.Decode(&v); err != nil {
		c.errorf(n, "", "the value does not fit its tag %s", n.Tag)
		return nil
	}
	return v
}

func (c *converter) number(n *yaml.Node) any {
	if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
		return i
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		c.errorf(n, "", "this is no number that JSON knows")
		return nil
	}
	return Number(f)
}

// Number gives a number as it comes back from JSON: whole ones are integers.
func Number(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < 1e21 {
		if i, err := strconv.ParseInt(strconv.FormatFloat(f, 'f', -1, 64), 10, 64); err == nil {
			return i
		}
	}
	return f
}

// plain resolves a value without quotes. Almost all are words or small
// numbers; the rest is left to the library that kubectl reads with.
func (c *converter) plain(n *yaml.Node) any {
	s := n.Value
	switch {
	case s == "true" || s == "false":
		return s == "true"
	case s == "" || s == "null" || s == "~":
		return nil
	case !strings.ContainsRune("yYnNtTfFoO~+-.0123456789", rune(s[0])) || len(s) > 64:
		return s
	case s[0] >= '1' && s[0] <= '9':
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
	}
	return c.rare(n)
}

// rare resolves what looks like a number or a word with a meaning.
func (c *converter) rare(n *yaml.Node) any {
	if strings.ContainsAny(n.Value, " \t\n#:,[]{}") {
		return n.Value
	}
	switch strings.ToLower(strings.TrimLeft(n.Value, "+-")) {
	case ".nan", ".inf":
		c.errorf(n, "write it in quotes", "this is no value that JSON knows")
		return nil
	}
	b, err := k8syaml.YAMLToJSON([]byte(n.Value))
	if err != nil {
		return n.Value
	}
	switch b := bytes.TrimSpace(b); {
	case len(b) == 0 || b[0] == '"' || b[0] == '{' || b[0] == '[':
		return n.Value
	case string(b) == "true" || string(b) == "false":
		return string(b) == "true"
	case string(b) == "null":
		return nil
	default:
		return c.number(&yaml.Node{Value: string(b), Line: n.Line})
	}
}

// Short bounds what a message quotes.
func Short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return strconv.Quote(string(r[:most]) + "…")
	}
	return strconv.Quote(s)
}
