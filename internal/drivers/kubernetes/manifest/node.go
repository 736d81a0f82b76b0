package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
)

// mistake is an error at a line.
type mistake struct {
	line      int
	text, tip string
	warning   bool
}

// Error gives the text.
func (m *mistake) Error() string { return m.text }

func (m *mistake) diagnostic(file string) plan.Diagnostic {
	d := plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: file, Line: m.line}, Message: m.text, Mend: m.tip}
	if m.warning {
		d.Severity = plan.Warning
	}
	return d
}

// nodes reads the YAML or JSON documents of a chunk. Lines count from the
// beginning of the file.
func (c chunk) nodes(isJSON bool) ([]*yaml.Node, error) {
	text := bytes.TrimLeft(c.text, " \t\r\n")
	if isJSON || len(text) > 0 && text[0] == '{' && json.Valid(text) {
		return jsonNodes(c)
	}
	return c.yamlNodes()
}

func (c chunk) yamlNodes() (out []*yaml.Node, err error) {
	defer func() { // the parser says in a panic what it did not foresee
		if r := recover(); r != nil {
			err = &mistake{line: c.line, text: "this is not valid YAML"}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(c.text))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, c.yamlMistake(err)
		}
		if len(doc.Content) == 1 {
			shift(doc.Content[0], c.line-1)
			out = append(out, doc.Content[0])
		}
	}
}

func shift(n *yaml.Node, by int) {
	if by == 0 {
		return
	}
	n.Line += by
	for _, c := range n.Content {
		shift(c, by)
	}
}

var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:(?:unmarshal errors:\s*)?line (\d+): )?(.*)$`)

func (c chunk) yamlMistake(err error) error {
	m := &mistake{line: c.line, text: "this is not valid YAML: " + err.Error()}
	if f := yamlError.FindStringSubmatch(err.Error()); f != nil {
		m.text = "this is not valid YAML: " + f[2]
		if n, err := strconv.Atoi(f[1]); err == nil {
			m.line += n - 1
		}
	}
	line := lineOf(c.text, m.line-c.line)
	switch {
	case strings.Contains(line, "{{") || bytes.Contains(c.text, []byte("{{")):
		m.tip = TemplateTip
	case strings.Contains(line, "\t"):
		m.tip = "indent with spaces, not tabs"
	}
	return m
}

func lineOf(text []byte, n int) string {
	for line := range bytes.Lines(text) {
		if n == 0 {
			return string(line)
		}
		n--
	}
	return ""
}

// jsonReader makes nodes of JSON, so that both languages are read alike. YAML
// would read most of JSON, but not escaped characters beyond the first plane.
type jsonReader struct {
	dec  *json.Decoder
	text []byte
	line int
	seen int // bytes whose lines are counted
}

func jsonNodes(c chunk) ([]*yaml.Node, error) {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(c.text)), text: c.text, line: c.line}
	r.dec.UseNumber()
	var out []*yaml.Node
	for {
		n, err := r.next(0)
		switch {
		case errors.Is(err, io.EOF) && r.blank():
			return out, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			r.count(len(r.text))
			return out, &mistake{line: r.line, text: "this is not valid JSON: it ends in the middle"}
		case err != nil:
			return out, r.mistake(err)
		}
		out = append(out, n)
	}
}

// blank tells whether nothing but space is left.
func (r *jsonReader) blank() bool {
	at := min(int(r.dec.InputOffset()), len(r.text))
	return len(bytes.TrimSpace(r.text[at:])) == 0
}

func (r *jsonReader) mistake(err error) error {
	var m *mistake
	if errors.As(err, &m) {
		return err
	}
	at := int(r.dec.InputOffset())
	var s *json.SyntaxError
	if errors.As(err, &s) {
		at = int(s.Offset) - 1
	}
	r.count(at)
	return &mistake{line: r.line, text: "this is not valid JSON: " + err.Error()}
}

// count counts lines up to an offset.
func (r *jsonReader) count(to int) {
	if to = min(to, len(r.text)); to > r.seen {
		r.line += bytes.Count(r.text[r.seen:to], []byte("\n"))
		r.seen = to
	}
}

func (r *jsonReader) next(depth int) (*yaml.Node, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	r.count(int(r.dec.InputOffset()))
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line, Style: yaml.DoubleQuotedStyle}
	switch t := tok.(type) {
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case string:
		n.Tag, n.Value = "!!str", t
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
	case json.Delim:
		return n, r.inside(n, t, depth)
	}
	return n, nil
}

func (r *jsonReader) inside(n *yaml.Node, open json.Delim, depth int) error {
	if depth > maxDepth {
		return &mistake{line: r.line, text: fmt.Sprintf("it is nested more than %d deep", maxDepth)}
	}
	n.Kind, n.Tag, n.Style = yaml.SequenceNode, "!!seq", 0
	if open == '{' {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	for r.dec.More() {
		c, err := r.next(depth + 1)
		if err != nil {
			return notEOF(err)
		}
		n.Content = append(n.Content, c)
	}
	_, err := r.dec.Token()
	return notEOF(err)
}

// notEOF makes an end in the middle one.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
