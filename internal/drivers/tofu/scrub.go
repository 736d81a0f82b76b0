package tofu

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// minSecret is the length from which a secret is looked for in text: a shorter
// one would black out words by chance.
const minSecret = 4

// scrubber blacks out secrets in what the program and its providers print.
type scrubber struct {
	secrets []string
	r       *strings.Replacer
}

// newScrubber knows the environment's secrets and sensitive values.
func (s *session) newScrubber(values map[string]plan.Output) *scrubber {
	var all []string
	add := func(v string) {
		for line := range strings.SplitSeq(v, "\n") {
			if line = strings.TrimSpace(line); len(line) >= minSecret {
				all = append(all, line)
			}
		}
	}
	for _, m := range []map[string]secret.Value{s.creds.env, s.files, s.variables, s.backend, s.tokens} {
		for _, v := range m {
			add(v.Reveal())
			addLeaves(v.Reveal(), add)
		}
	}
	for _, l := range s.logins {
		add(l.password.Reveal())
	}
	add(s.sshKey.Reveal())
	for _, o := range values {
		if o.Sensitive {
			addLeaves(string(o.Value), add)
		}
	}
	return newScrubber(all)
}

func newScrubber(all []string) *scrubber {
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	all = slices.Compact(all)
	var pairs []string
	for _, v := range all {
		pairs = append(pairs, v, "***")
		if quoted, err := json.Marshal(v); err == nil {
			if inner := string(quoted[1 : len(quoted)-1]); inner != v {
				pairs = append(pairs, inner, "***")
			}
		}
	}
	return &scrubber{secrets: all, r: strings.NewReplacer(pairs...)}
}

// addLeaves adds every string of a JSON document.
func addLeaves(doc string, add func(string)) {
	var v any
	if json.Unmarshal([]byte(doc), &v) != nil {
		return
	}
	var walk func(any)
	walk = func(v any) {
		switch x := v.(type) {
		case string:
			add(x)
		case []any:
			for _, e := range x {
				walk(e)
			}
		case map[string]any:
			for _, e := range x {
				walk(e)
			}
		}
	}
	walk(v)
}

// text blacks out secrets.
func (s *scrubber) text(t string) string {
	if len(s.secrets) == 0 {
		return t
	}
	return s.r.Replace(t)
}

// err blacks out secrets in an error's text, and keeps what it is.
func (s *scrubber) err(err error) error {
	if err == nil {
		return nil
	}
	if clean := s.text(err.Error()); clean != err.Error() {
		return scrubbed{text: clean, err: err}
	}
	return err
}

// scrubbed is an error with another text, which errors.Is still sees through.
type scrubbed struct {
	text string
	err  error
}

func (e scrubbed) Error() string        { return e.text }
func (e scrubbed) Is(target error) bool { return errors.Is(e.err, target) }
func (e scrubbed) As(target any) bool   { return errors.As(e.err, target) }
func (e scrubbed) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(e.text))
}

// holds tells whether a string has a secret in it.
func (s *scrubber) holds(t string) bool {
	return slices.ContainsFunc(s.secrets, func(v string) bool { return strings.Contains(t, v) })
}
