package exec

import (
	"encoding/json"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

const masked = "***"

// scrubber takes secrets out of what programs print. It is filled before it is
// used, and copied where more secrets come in.
type scrubber struct{ words []string }

// minSecret is the length below which a secret is no word to look for: a
// password of three letters would blacken half of every log.
const minSecret = 4

// add adds a secret, its lines, and the form it has inside JSON.
func (s *scrubber) add(v string) {
	add := func(w string) {
		if len(w) >= minSecret && !slices.Contains(s.words, w) {
			s.words = append(s.words, w)
		}
	}
	add(v)
	if b, err := json.Marshal(v); err == nil {
		add(string(b[1 : len(b)-1]))
	}
	if lines := strings.Split(v, "\n"); len(lines) > 1 {
		for _, l := range lines {
			if l = strings.TrimSpace(l); len(l) >= 8 {
				add(l)
			}
		}
	}
	// The longest first: a secret may hold another one.
	slices.SortFunc(s.words, func(a, b string) int { return len(b) - len(a) })
}

func (s *scrubber) with(more ...string) *scrubber {
	out := &scrubber{words: slices.Clone(s.words)}
	for _, m := range more {
		out.add(m)
	}
	return out
}

func (s *scrubber) text(t string) string {
	for _, w := range s.words {
		t = strings.ReplaceAll(t, w, masked)
	}
	return t
}

// mark makes outputs sensitive that hold a secret, also where the tool did not
// say so.
func (s *scrubber) mark(outputs map[string]plan.Output) {
	for name, o := range outputs {
		if !o.Sensitive && s.holds(o.Value) {
			o.Sensitive = true
			outputs[name] = o
		}
	}
}

// holds tells whether a JSON document has a secret in it, however it is
// written there.
func (s *scrubber) holds(doc json.RawMessage) bool {
	var v any
	if json.Unmarshal(doc, &v) != nil {
		return s.text(string(doc)) != string(doc)
	}
	before, err := json.Marshal(v)
	if err != nil {
		return true
	}
	after, err := json.Marshal(s.value(v))
	return err != nil || string(before) != string(after)
}

// value scrubs the texts of a decoded JSON document.
func (s *scrubber) value(v any) any {
	switch x := v.(type) {
	case string:
		return s.text(x)
	case []any:
		for i := range x {
			x[i] = s.value(x[i])
		}
	case map[string]any:
		for k, e := range x {
			delete(x, k)
			x[s.text(k)] = s.value(e)
		}
	}
	return v
}
