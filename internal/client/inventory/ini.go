package inventory

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// ini reads an Ansible inventory in INI form.
func (b *builder) ini(file string, text []byte) {
	r := &iniReader{b: b, section: "ungrouped", kind: "hosts"}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		r.at = plan.Source{File: file, Line: n}
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' && !strings.HasPrefix(line, "[[") {
			r.head(line)
			continue
		}
		r.line(line)
	}
	if err := lines.Err(); err != nil {
		b.diags.Errorf(plan.Source{File: file}, "", "", "it can't be read: %v", err)
	}
}

type iniReader struct {
	b       *builder
	at      plan.Source
	section string // the group
	kind    string // hosts, children or vars
}

func (r *iniReader) head(line string) {
	line, _ = cutComment(line)
	name, ok := strings.CutSuffix(strings.TrimPrefix(line, "["), "]")
	if !ok {
		r.b.diags.Errorf(r.at, "", "write [group], [group:children] or [group:vars]", "the section has no closing ]")
		r.kind = "skip"
		return
	}
	group, kind, found := strings.Cut(strings.TrimSpace(name), ":")
	if !found {
		kind = "hosts"
	}
	switch kind {
	case "hosts", "children", "vars":
		r.section, r.kind = group, kind
		r.b.group(group, r.at)
	default:
		r.b.diags.Errorf(r.at, "", "write [group], [group:children] or [group:vars]", "%q is no kind of section", kind)
		r.kind = "skip"
	}
}

func (r *iniReader) line(line string) {
	switch r.kind {
	case "children":
		name, _ := cutComment(line)
		if strings.ContainsAny(name, " \t") {
			r.b.diags.Errorf(r.at, "", "write one group a line", "%q is no name of a group", name)
			return
		}
		r.b.child(r.section, name, r.at)
	case "vars":
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			r.b.diags.Errorf(r.at, "", "", "%q is no variable: write name=value", line)
			return
		}
		value = strings.TrimSpace(value)
		if quoted, ok := quotedStart(value); ok {
			value = quoted
		} else {
			value, _ = cutComment(value)
		}
		r.b.group(r.section, r.at).vars[strings.TrimSpace(key)] = literal(unquote(value))
	case "hosts":
		r.host(line)
	}
}

func (r *iniReader) host(line string) {
	words, err := words(line)
	if err != nil {
		r.b.diags.Errorf(r.at, "", "", "%v", err)
		return
	}
	pattern, port := words[0], 0
	// web1:2222, but not the colon of a range.
	if i := strings.LastIndexByte(pattern, ':'); i > strings.LastIndexByte(pattern, ']') && strings.Count(pattern[strings.LastIndexByte(pattern, ']')+1:], ":") == 1 {
		port, err = strconv.Atoi(pattern[i+1:])
		if err != nil || port < 1 || port > 65535 {
			r.b.diags.Errorf(r.at, "", "", "%q has no valid port", pattern)
			return
		}
		pattern = pattern[:i]
	}
	names, err := expand(pattern)
	if err != nil {
		r.b.diags.Errorf(r.at, "", "", "%v", err)
		return
	}
	vars := map[string]any{}
	for _, w := range words[1:] {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			r.b.diags.Errorf(r.at, "", "", "%q is no variable: write name=value", w)
			continue
		}
		vars[key] = literal(value)
	}
	for _, name := range names {
		h := r.b.host(name, r.at)
		if r.section != "ungrouped" && r.section != "all" {
			h.in[r.section] = true
		}
		if port != 0 {
			h.host.Port = port
		}
		for k, v := range vars {
			h.vars[k] = v
		}
	}
}

// words cuts a host line as a shell would; a # that begins a word begins a
// comment.
func words(line string) ([]string, error) {
	var out []string
	var w strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && c == '\\' && i+1 < len(line):
			i++
			w.WriteByte(line[i])
		case quote != 0:
			w.WriteByte(c)
		case c == '\'' || c == '"':
			in, quote = true, c
		case c == ' ' || c == '\t':
			if in {
				out, in = append(out, w.String()), false
				w.Reset()
			}
		case c == '#' && !in:
			return out, nil
		case c == '\\' && i+1 < len(line):
			i++
			in = true
			w.WriteByte(line[i])
		default:
			in = true
			w.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed", quote)
	}
	if in {
		out = append(out, w.String())
	}
	return out, nil
}

// cutComment cuts off a comment that begins with a # after a blank.
func cutComment(s string) (string, bool) {
	for i := 1; i < len(s); i++ {
		if s[i] == '#' && (s[i-1] == ' ' || s[i-1] == '\t') {
			return strings.TrimSpace(s[:i]), true
		}
	}
	return strings.TrimSpace(s), false
}

// quotedStart gives a value in quotes that only a comment may follow.
func quotedStart(s string) (string, bool) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return "", false
	}
	end := strings.IndexByte(s[1:], s[0])
	if end < 0 {
		return "", false
	}
	rest := strings.TrimSpace(s[end+2:])
	return s[:end+2], rest == "" || rest[0] == '#'
}

func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

// literal reads a value as Ansible does: numbers and truth values are such,
// everything else is text.
func literal(s string) any {
	switch s {
	case "True", "true":
		return true
	case "False", "false":
		return false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
		return n
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsRune(s, '.') && strconv.FormatFloat(f, 'f', -1, 64) == s {
		return f
	}
	return s
}
