package dns

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	mdns "github.com/miekg/dns"
)

// octoFields lists the fields of each type's values, in the order of the
// record's text. A type with one unnamed field takes a plain value. "a|b"
// allows two spellings; a leading dot marks a name, which must be absolute.
var octoFields = map[string][]string{
	"A": {""}, "AAAA": {""}, "CNAME": {"."}, "DNAME": {"."}, "NS": {"."}, "PTR": {"."}, "TXT": {""}, "SPF": {""},
	"CAA":   {"flags", "tag", "value"},
	"DS":    {"key_tag", "algorithm", "digest_type", "digest"},
	"LOC":   {"lat_degrees", "lat_minutes", "lat_seconds", "lat_direction", "long_degrees", "long_minutes", "long_seconds", "long_direction", "altitude", "size", "precision_horz", "precision_vert"},
	"MX":    {"preference|priority", ".exchange|value"},
	"NAPTR": {"order", "preference", "flags", "service", "regexp", ".replacement"},
	"SSHFP": {"algorithm", "fingerprint_type", "fingerprint"},
	"SRV":   {"priority", "weight", "port", ".target"},
	"SVCB":  {"svcpriority", ".targetname", "svcparams"},
	"HTTPS": {"svcpriority", ".targetname", "svcparams"},
	"TLSA":  {"certificate_usage", "selector", "matching_type", "certificate_association_data"},
}

// value reads one value into the record.
func (f *octoFile) value(rec *record, n ast.Node) error {
	n = f.resolve(n)
	kind := typeName(rec.typ)
	fields := octoFields[kind]
	if len(fields) == 1 {
		text, err := plain(n)
		if err != nil {
			return err
		}
		if f.wait(rec, text) {
			return nil
		}
		if rec.typ == mdns.TypeTXT || rec.typ == mdns.TypeSPF {
			rec.data, err = txtData(text)
			return err
		}
		return f.text(rec, []string{text}, fields)
	}
	entries, ok := f.mapping(n)
	if !ok {
		return fmt.Errorf("the value is a mapping with %s", strings.Join(fieldNames(fields), ", "))
	}
	words := make([]string, len(fields))
	for _, e := range entries {
		i, ok := fieldIndex(fields, scalar(e.Key))
		if !ok {
			return fmt.Errorf("unknown field %q: %s are known", scalar(e.Key), strings.Join(fieldNames(fields), ", "))
		}
		var err error
		if fields[i] == "svcparams" {
			words[i], err = f.params(e.Value)
		} else {
			words[i], err = plain(f.resolve(e.Value))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", scalar(e.Key), err)
		}
		if f.wait(rec, words[i]) {
			return nil
		}
	}
	return f.text(rec, words, fields)
}

// wait notes that a value is not known yet.
func (f *octoFile) wait(rec *record, text string) bool {
	for marker, name := range f.unknown {
		if strings.Contains(text, marker) {
			rec.unknown = append(rec.unknown, name)
			return true
		}
	}
	return false
}

// text puts the fields together as the record's text and parses it.
func (f *octoFile) text(rec *record, words, fields []string) error {
	for i, w := range words {
		optional := fields[i] == "svcparams" || rec.typ == mdns.TypeLOC && i > 8 || rec.typ == mdns.TypeNAPTR && i >= 2 && i <= 4
		if w == "" && !optional {
			return fmt.Errorf("%s is missing", fieldNames(fields)[i])
		}
		if strings.HasPrefix(fields[i], ".") && !strings.HasSuffix(w, ".") {
			return fmt.Errorf("%q has no dot at its end: names in values are absolute", w)
		}
		if strings.ContainsAny(w, "\n\r") || fields[i] != "svcparams" && fields[i] != "value" && rec.typ != mdns.TypeNAPTR && strings.ContainsAny(w, " \t;\"()") {
			return fmt.Errorf("%q is not a value", w)
		}
	}
	switch rec.typ {
	case mdns.TypeLOC:
		for _, i := range []int{8, 9, 10, 11} {
			if words[i] != "" {
				words[i] = strings.TrimSuffix(words[i], "m") + "m"
			}
		}
	case mdns.TypeNAPTR:
		for i := 2; i <= 4; i++ {
			words[i] = quote(words[i])
		}
	case mdns.TypeCAA:
		words[2] = quote(words[2])
	}
	var err error
	rec.data, err = parseRdata(rec.typ, strings.TrimSpace(strings.Join(words, " ")), f.zone.name)
	return err
}

// params writes svcparams as key="value" pairs.
func (f *octoFile) params(n ast.Node) (string, error) {
	entries, ok := f.mapping(n)
	if !ok {
		return "", errors.New("a mapping is expected")
	}
	var out []string
	for _, e := range entries {
		key := scalar(e.Key)
		v := f.resolve(e.Value)
		var list []string
		if seq, ok := v.(*ast.SequenceNode); ok {
			for _, x := range seq.Values {
				list = append(list, scalar(f.resolve(x)))
			}
		} else if _, null := v.(*ast.NullNode); !null {
			list = []string{scalar(v)}
		}
		if text := strings.Join(list, ","); text != "" {
			key += "=" + quote(text)
		}
		out = append(out, key)
	}
	return strings.Join(out, " "), nil
}

// txtData makes character-strings of 255 bytes at most. octoDNS writes a
// semicolon as \; and takes quotes around the text away.
func txtData(text string) (string, error) {
	text = strings.ReplaceAll(text, `\;`, ";")
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = strings.ReplaceAll(text[1:n-1], `" "`, "")
	}
	if text == "" {
		return "\x00", nil
	}
	var b strings.Builder
	for len(text) > 0 {
		n := min(len(text), 255)
		b.WriteByte(byte(n))
		b.WriteString(text[:n])
		text = text[n:]
	}
	if b.Len() > 65535 {
		return "", errors.New("the text is longer than a record")
	}
	return b.String(), nil
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func fieldNames(fields []string) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i], _, _ = strings.Cut(strings.TrimPrefix(f, "."), "|")
	}
	return out
}

func fieldIndex(fields []string, name string) (int, bool) {
	for i, f := range fields {
		for _, spelling := range strings.Split(strings.TrimPrefix(f, "."), "|") {
			if spelling == name {
				return i, true
			}
		}
	}
	return 0, false
}

// plain gives a scalar, or an error for a list or mapping.
func plain(n ast.Node) (string, error) {
	if _, ok := n.(ast.ScalarNode); !ok {
		if _, ok := n.(*ast.LiteralNode); !ok {
			return "", errors.New("a plain value is expected")
		}
	}
	return scalar(n), nil
}

// scalar gives a scalar as it was written, so that 1.10 stays 1.10.
func scalar(n ast.Node) string {
	switch x := n.(type) {
	case nil, *ast.NullNode:
		return ""
	case *ast.StringNode:
		return x.Value
	case *ast.LiteralNode:
		return strings.TrimSuffix(x.Value.Value, "\n")
	}
	if n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

// yamlError shortens the parser's error, which shows the file's text.
func yamlError(err error) error {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
		return &lineError{line: syntax.Token.Position.Line, msg: syntax.Message}
	}
	return errors.New(yaml.FormatError(err, false, false))
}

// lineError is a mistake with its line.
type lineError struct {
	line int
	msg  string
}

// Error gives the message.
func (e *lineError) Error() string { return e.msg }
