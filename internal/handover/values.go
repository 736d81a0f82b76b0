package handover

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// secretKey are names of values that mostly are secrets.
var secretKey = regexp.MustCompile(`(?i)(password|passwd|passphrase|token|api[_-]?key|secret[_-]?key|access[_-]?key(id)?|private[_-]?key|client[_-]?secret|credentials?|connection[_-]?string|dsn|^secret|^pw|^pass|^auth)$`)

// passwordInURL is postgres://user:password@host.
var passwordInURL = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@`)

// Secretive tells whether a value looks like a secret.
func Secretive(key string, value any) bool {
	text, ok := value.(string)
	if !ok || text == "" {
		return false
	}
	if strings.Contains(text, "-----BEGIN ") && strings.Contains(text, "PRIVATE KEY") || passwordInURL.MatchString(text) {
		return true
	}
	if i := strings.LastIndexAny(key, ".[]"); i >= 0 {
		key = key[i+1:]
	}
	return secretKey.MatchString(key)
}

// WithoutSecrets gives a copy of values without what looks like a secret, and
// where those stood.
func WithoutSecrets(values map[string]any) (clean map[string]any, left []string) {
	v, left := withoutSecrets("", values)
	clean, _ = v.(map[string]any)
	return clean, left
}

func withoutSecrets(at string, value any) (any, []string) {
	var left []string
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		if name, ok := v["name"].(string); ok && Secretive(name, v["value"]) { // an environment variable
			return nil, []string{join(at, "value")}
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			where := join(at, k)
			if Secretive(k, v[k]) {
				left = append(left, where)
				continue
			}
			c, l := withoutSecrets(where, v[k])
			left = append(left, l...)
			if c != nil || len(l) == 0 {
				out[k] = c
			}
		}
		return out, left
	case []any:
		// An element can't be left out without moving the others, nor can one
		// of its fields be given in another file: the whole list goes.
		for _, e := range v {
			if _, l := withoutSecrets(at, e); len(l) > 0 || Secretive("", e) {
				return nil, []string{at}
			}
		}
		return v, nil
	}
	return value, nil
}

// Merge lays values over others, as Helm does: mappings are merged, the rest
// is replaced, null removes.
func Merge(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range over {
		a, okA := out[k].(map[string]any)
		b, okB := v.(map[string]any)
		switch {
		case okA && okB:
			out[k] = Merge(a, b)
		case v == nil:
			delete(out, k)
		default:
			out[k] = v
		}
	}
	return out
}
