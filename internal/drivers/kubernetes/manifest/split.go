package manifest

import (
	"bytes"
	"strings"
)

// chunk is the text of one document and the line that it begins in.
type chunk struct {
	text []byte
	line int
}

// split cuts a file at its document markers, so that a mistake in one
// document doesn't hide the others. A line that begins with "---" ends a
// document wherever it stands: also inside a block of text (YAML 1.2, 9.1.2).
func split(body []byte) []chunk {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	var out []chunk
	line, from, at := 1, 0, 0
	for n := 1; at < len(body); n++ {
		end := len(body)
		if i := bytes.IndexByte(body[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if at > from && marker(body[at:end]) && !directives(body[from:at]) {
			out = append(out, chunk{body[from:at], line})
			from, line = at, n
		}
		at = end
	}
	return append(out, chunk{body[from:], line})
}

// marker tells whether a line begins a document.
func marker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// directives tells whether a text has nothing but directives (%YAML 1.2) and
// comments: these belong to the document that follows.
func directives(text []byte) bool {
	found := false
	for line := range bytes.Lines(text) {
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0 || line[0] == '#':
		case line[0] == '%':
			found = true
		default:
			return false
		}
	}
	return found
}
