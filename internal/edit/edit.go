// Package edit reads and sets single values in text files and leaves
// everything else in them as it is: comments, order, indentation, quotes. The
// place of a value is given by a path or a JSON pointer in YAML and JSON
// files, or by a regular expression in any other.
package edit

import (
	"errors"
	"fmt"
	"math/big"
	"path"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Field is the place of a value in a file. Exactly one of Path, Pointer and
// Regexp is given.
type Field struct {
	File     string // for messages, and to tell JSON from YAML
	Path     string // $.image.tag, $.images[0].tag, $.images[name=shop].newTag
	Pointer  string // /image/tag (RFC 6901)
	Regexp   string // with one group, the value; it must match once
	Document int    // of a file with several YAML documents, from 1; 0 is the first
}

// Kind is the type of a value in its file.
type Kind string

// The kinds. What a regular expression finds is a String.
const (
	String Kind = "string"
	Number Kind = "number"
	Bool   Kind = "bool"
)

// Value is a single value.
type Value struct {
	Text string `json:"text"`
	Kind Kind   `json:"kind"`
}

// Equal compares two values by what they mean: 3 and "3" are the same text,
// 1e3 and 1000 the same number.
func (v Value) Equal(o Value) bool {
	if v.Text == o.Text {
		return true
	}
	if v.Kind != Number || o.Kind != Number {
		return false
	}
	a, ok := new(big.Rat).SetString(v.Text)
	b, ok2 := new(big.Rat).SetString(o.Text)
	return ok && ok2 && a.Cmp(b) == 0
}

// Errors of this package.
var (
	// ErrMissing: the file has no such place.
	ErrMissing = errors.New("there is no such field")
	// ErrForm: the place is there but can't be edited safely.
	ErrForm = errors.New("the field can't be edited")
)

// maxFile bounds a file that is edited.
const maxFile = 8 << 20

// maxValue bounds a value.
const maxValue = 4096

// Check says what is wrong with a field, before any file is read.
func (f Field) Check() error {
	n := 0
	for _, s := range []string{f.Path, f.Pointer, f.Regexp} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return errors.New("give one of path, pointer and regexp")
	}
	if f.Document < 0 || f.Document > 0 && f.Regexp != "" {
		return errors.New("document counts YAML documents from 1, and goes with path or pointer")
	}
	if f.Regexp != "" {
		_, err := expression(f.Regexp)
		return err
	}
	_, err := f.steps()
	return err
}

// String names the place.
func (f Field) String() string {
	return f.File + " " + f.Path + f.Pointer + f.Regexp
}

// span is a value with its place in the text.
type span struct {
	Value
	from, to int
	quote    byte // ' or " or 0
	json     bool
}

// Get reads the value.
func Get(body []byte, f Field) (Value, error) {
	s, err := find(body, f)
	return s.Value, err
}

// Set gives the text with another value at the place, in the form that the old
// value had. A value that is there already gives the text as it was.
func Set(body []byte, f Field, v Value) ([]byte, error) {
	s, err := find(body, f)
	if err != nil {
		return nil, err
	}
	if s.Equal(v) {
		return body, nil
	}
	if err := harmless(v.Text); err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	text := v.Text
	if f.Regexp == "" {
		text = s.write(v)
	}
	out := append(append(append([]byte{}, body[:s.from]...), text...), body[s.to:]...)
	// What was written is read again: the same place must hold the value, and
	// nothing else may have moved.
	back, err := find(out, f)
	if err != nil || !back.Equal(v) {
		return nil, fmt.Errorf("%s: %w: %q would not be read back", f, ErrForm, v.Text)
	}
	if back.from != s.from || len(out)-back.to != len(body)-s.to {
		return nil, fmt.Errorf("%s: %w: %q would change more than the field", f, ErrForm, v.Text)
	}
	return out, nil
}

// harmless refuses what could break out of a line.
func harmless(s string) error {
	if len(s) > maxValue {
		return fmt.Errorf("%w: the value has more than %d bytes", ErrForm, maxValue)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }) {
		return fmt.Errorf("%w: the value holds line breaks or control characters", ErrForm)
	}
	return nil
}

// write gives the value in the form of the old one.
func (s span) write(v Value) string {
	quoted := func() string {
		if s.quote == '\'' {
			return "'" + strings.ReplaceAll(v.Text, "'", "''") + "'"
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.Text) + `"`
	}
	switch {
	case s.json && v.Kind == String:
		return quoted()
	case s.json:
		return v.Text
	case s.quote != 0:
		return quoted()
	case v.Kind == String && s.Kind == String && !plain(v.Text):
		return quoted()
	case v.Kind == String && s.Kind != String && kindOf(v.Text) == String && !plain(v.Text):
		return quoted()
	}
	return v.Text
}

// plain tells whether a text stands for itself without quotes, as a string.
func plain(s string) bool {
	if s == "" || strings.TrimSpace(s) != s || kindOf(s) != String {
		return false
	}
	return !strings.ContainsAny(s[:1], "-?:,[]{}#&*!|>'\"%@`=") && !strings.Contains(s, ": ") && !strings.Contains(s, " #") &&
		!strings.HasSuffix(s, ":") && !strings.ContainsAny(s, ",[]{}")
}

// kindOf gives the kind that YAML sees in a plain text; "" for null and what
// else is no value of ours.
func kindOf(s string) Kind {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(s), &n); err != nil || len(n.Content) != 1 || n.Content[0].Kind != yaml.ScalarNode {
		return ""
	}
	return nodeKind(n.Content[0])
}

func nodeKind(n *yaml.Node) Kind {
	switch n.ShortTag() {
	case "!!str":
		return String
	case "!!int", "!!float":
		return Number
	case "!!bool":
		return Bool
	}
	return ""
}

func find(body []byte, f Field) (span, error) {
	if len(body) > maxFile {
		return span{}, fmt.Errorf("%s: %w: the file has more than %d bytes", f, ErrForm, maxFile)
	}
	if f.Regexp != "" {
		return findRegexp(body, f)
	}
	if path.Ext(f.File) == ".json" {
		return findJSON(body, f)
	}
	return findYAML(body, f)
}
