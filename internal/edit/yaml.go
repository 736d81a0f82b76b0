package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// findYAML walks the syntax tree to a scalar and finds its bytes.
func findYAML(body []byte, f Field) (span, error) {
	steps, err := f.steps()
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	root, err := document(body, max(f.Document, 1))
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	n := root
	for i, s := range steps {
		if n, err = s.down(n); err != nil {
			return span{}, fmt.Errorf("%s: %w (at part %d, %s)", f, err, i+1, s)
		}
	}
	sp, err := scalar(body, n)
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	return sp, nil
}

// document gives the root of the n-th document. Every document is parsed: one
// that is broken makes the file unfit.
func document(body []byte, n int) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(body))
	var found *yaml.Node
	for i := 1; ; i++ {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the file is no YAML: %w", err)
		}
		if i == n && len(doc.Content) == 1 {
			found = doc.Content[0]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: there is no document %d", ErrMissing, n)
	}
	return found, nil
}

func (s step) down(n *yaml.Node) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		return nil, fmt.Errorf("%w: it lies behind an alias (*%s), and would change in several places", ErrForm, n.Value)
	}
	switch {
	case n.Kind == yaml.MappingNode && !s.list && !s.match:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s.key && n.Content[i].Kind == yaml.ScalarNode {
				return n.Content[i+1], nil
			}
		}
	case n.Kind == yaml.SequenceNode && (s.list || s.either):
		if s.index < len(n.Content) {
			return n.Content[s.index], nil
		}
	case n.Kind == yaml.SequenceNode && s.match:
		return s.entry(n)
	}
	return nil, ErrMissing
}

// entry finds the one entry of a list with a value at a key.
func (s step) entry(n *yaml.Node) (*yaml.Node, error) {
	var found *yaml.Node
	for _, e := range n.Content {
		for i := 0; e.Kind == yaml.MappingNode && i+1 < len(e.Content); i += 2 {
			if e.Content[i].Value == s.where && e.Content[i+1].Kind == yaml.ScalarNode && e.Content[i+1].Value == s.is {
				if found != nil {
					return nil, fmt.Errorf("%w: two entries have %s: %s", ErrForm, s.where, s.is)
				}
				found = e
			}
		}
	}
	if found == nil {
		return nil, ErrMissing
	}
	return found, nil
}

// scalar finds the bytes of a scalar that stands on one line.
func scalar(body []byte, n *yaml.Node) (span, error) {
	switch {
	case n.Kind == yaml.AliasNode:
		return span{}, fmt.Errorf("%w: it is an alias (*%s)", ErrForm, n.Value)
	case n.Kind != yaml.ScalarNode:
		return span{}, fmt.Errorf("%w: it is no single value", ErrForm)
	case n.Anchor != "":
		return span{}, fmt.Errorf("%w: it has an anchor (&%s), and would change in several places", ErrForm, n.Anchor)
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0:
		return span{}, fmt.Errorf("%w: it is a block of text, or has a tag", ErrForm)
	}
	kind := nodeKind(n)
	if kind == "" {
		return span{}, fmt.Errorf("%w: it is empty, or of a type that is no text, number or truth value", ErrForm)
	}
	from, ok := offset(body, n.Line, n.Column)
	if !ok {
		return span{}, fmt.Errorf("%w: its place can't be found", ErrForm)
	}
	sp := span{Value: Value{Text: n.Value, Kind: kind}, from: from}
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		sp.quote = '"'
	case n.Style&yaml.SingleQuotedStyle != 0:
		sp.quote = '\''
	}
	if sp.to, ok = end(body, from, sp.quote, n.Value); !ok {
		return span{}, fmt.Errorf("%w: it goes over several lines", ErrForm)
	}
	return sp, nil
}

// offset turns line and column (in characters, from 1) into bytes.
func offset(body []byte, line, column int) (int, bool) {
	at := 0
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		at = 3
	}
	for ; line > 1; line-- {
		i := bytes.IndexByte(body[at:], '\n')
		if i < 0 {
			return 0, false
		}
		at += i + 1
	}
	for i := range string(body[at:]) {
		if column--; column == 0 {
			return at + i, true
		}
	}
	return 0, false
}

// end gives the byte behind a scalar.
func end(body []byte, from int, quote byte, value string) (int, bool) {
	rest := body[from:]
	if quote == 0 {
		return from + len(value), strings.HasPrefix(string(rest[:min(len(rest), len(value))]), value)
	}
	if len(rest) == 0 || rest[0] != quote {
		return 0, false
	}
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\n':
			return 0, false
		case c == '\\' && quote == '"':
			i++
		case c == quote && quote == '\'' && i+1 < len(rest) && rest[i+1] == '\'':
			i++
		case c == quote:
			return from + i + 1, true
		}
	}
	return 0, false
}
