package kubernetes

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// shortest is how long a value has to be to be looked for in messages: masking
// a shorter one would tell it rather than hide it.
const shortest = 4

// masked is an error whose text shows no secret of the object it is about.
type masked struct {
	err  error
	text string
}

func (m masked) Error() string { return m.text }
func (m masked) Unwrap() error { return m.err }

// mask keeps the object's secrets out of an error: API servers quote what they
// refuse.
func (o *object) mask(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := o.scrub(text); clean != text {
		return masked{err: err, text: clean}
	}
	return err
}

func (o *object) scrub(text string) string {
	for _, s := range o.secrets() {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

// secrets are the object's texts that must not show, the longest first.
func (o *object) secrets() []string {
	if o.send == nil {
		return nil
	}
	var out []string
	add := func(s string) {
		if len(s) < shortest {
			return
		}
		out = append(out, s)
		if q := strings.Trim(strconv.Quote(s), `"`); q != s {
			out = append(out, q)
		}
	}
	for _, p := range sensitive(o) {
		texts(lookup(o.send.Object, p), func(s string) {
			add(s)
			if raw, err := base64.StdEncoding.DecodeString(s); err == nil && isSecret(o.send) {
				add(string(raw))
			}
		})
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	return slices.Compact(out)
}

// texts calls visit for every text in a value.
func texts(v any, visit func(string)) {
	switch x := v.(type) {
	case string:
		visit(x)
	case map[string]any:
		for _, e := range x {
			texts(e, visit)
		}
	case []any:
		for _, e := range x {
			texts(e, visit)
		}
	}
}

// lookup follows a JSON pointer (RFC 6901); nil where it leads nowhere.
func lookup(v any, pointer string) any {
	if pointer == "" {
		return v
	}
	for _, p := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		p = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			n, err := strconv.Atoi(p)
			if err != nil || n < 0 || n >= len(x) {
				return nil
			}
			v = x[n]
		default:
			return nil
		}
	}
	return v
}
