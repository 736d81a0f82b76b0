package policy

import (
	"encoding/json"
	"strconv"
	"strings"
)

const masked = "***"

// blank decodes a document with every sensitive value replaced by "***". A
// plan that was masked before and one that was not look the same afterwards,
// so that a decision can't hang on a secret or on the tag of its hash.
func blank(doc json.RawMessage, pointers []string) (any, error) {
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return nil, err
	}
	for _, p := range pointers {
		v = blankAt(v, tokens(p))
	}
	return v, nil
}

func blankAt(v any, path []string) any {
	if len(path) == 0 {
		return masked
	}
	switch x := v.(type) {
	case map[string]any:
		if child, ok := x[path[0]]; ok {
			x[path[0]] = blankAt(child, path[1:])
		}
	case []any:
		if n, err := strconv.Atoi(path[0]); err == nil && n >= 0 && n < len(x) {
			x[n] = blankAt(x[n], path[1:])
		}
	}
	return v
}

// tokens splits a JSON pointer (RFC 6901).
func tokens(pointer string) []string {
	if pointer == "" || pointer == "/" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, s := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return parts
}
