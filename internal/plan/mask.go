package plan

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Mask replaces the sensitive values of every change and output. A masked
// value reads "***" followed by what tag makes of the value, so that two
// different secrets still show as a difference; tag must be a keyed hash in
// hex of 8 digits or more, in parentheses or not, or nil for no tag. The
// engine masks a plan before it is stored, shown or hashed. Masking twice is
// the same as masking once.
func (p *Plan) Mask(tag func(value []byte) string) error {
	for i := range p.Changes {
		c := &p.Changes[i]
		var err error
		if c.Before, err = maskDoc(c.Before, c.Sensitive, tag); err != nil {
			return fmt.Errorf("%s: before: %w", c.Key, err)
		}
		if c.After, err = maskDoc(c.After, c.Sensitive, tag); err != nil {
			return fmt.Errorf("%s: after: %w", c.Key, err)
		}
	}
	for name, o := range p.Outputs {
		if o.Sensitive && len(o.Value) > 0 {
			o.Value = maskValue(o.Value, tag)
			p.Outputs[name] = o
		}
	}
	return nil
}

const masked = "***"

// maskedForm is what Mask makes of a value. A secret that merely begins like
// one is masked like any other.
var maskedForm = regexp.MustCompile(`^"\*\*\*( ?\(?[0-9a-f]{8,64}\)?)?"$`)

// Redact gives a document in canonical form in which the values that the
// pointers lead to read "***", whatever stood there, masked or not. Two
// documents that differ only in secrets become equal.
func Redact(doc json.RawMessage, pointers []string) (json.RawMessage, error) {
	if len(doc) == 0 {
		return nil, nil
	}
	return replaceIn(doc, pointers, func(any) any { return masked })
}

func maskDoc(doc json.RawMessage, pointers []string, tag func([]byte) string) (json.RawMessage, error) {
	if len(doc) == 0 || len(pointers) == 0 {
		return doc, nil
	}
	return replaceIn(doc, pointers, func(v any) any {
		raw, err := encode(v)
		if err != nil {
			return masked
		}
		var out string
		if json.Unmarshal(maskValue(raw, tag), &out) != nil {
			return masked
		}
		return out
	})
}

func replaceIn(doc json.RawMessage, pointers []string, with func(any) any) (json.RawMessage, error) {
	root, err := decode(doc)
	if err != nil {
		return nil, err
	}
	for _, p := range pointers {
		root = replaceAt(root, splitPointer(p), with)
	}
	return encode(root)
}

// replaceAt replaces the value that the tokens lead to; a path that does not
// exist is left as it is.
func replaceAt(v any, tokens []string, with func(any) any) any {
	if len(tokens) == 0 {
		return with(v)
	}
	switch x := v.(type) {
	case map[string]any:
		if child, ok := x[tokens[0]]; ok {
			x[tokens[0]] = replaceAt(child, tokens[1:], with)
		}
	case []any:
		if n, err := strconv.Atoi(tokens[0]); err == nil && n >= 0 && n < len(x) {
			x[n] = replaceAt(x[n], tokens[1:], with)
		}
	}
	return v
}

func maskValue(raw json.RawMessage, tag func([]byte) string) json.RawMessage {
	if maskedForm.Match(raw) {
		return raw
	}
	out := masked
	if tag != nil {
		out += tag(raw)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage(`"` + masked + `"`)
	}
	return b
}

func splitPointer(p string) []string {
	if p == "" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, s := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return parts
}
