package release

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// cleaner masks the secrets of a release in texts: errors of Helm and of the
// API server quote values.
func (r *Release) cleaner() func(string) string {
	var pairs []string
	for _, s := range r.Secrets {
		if strings.TrimSpace(s) == "" {
			continue
		}
		pairs = append(pairs, s, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	// The longest first, so that no secret is masked in part.
	slices.SortFunc(pairs, func(a, b string) int { return len(b) - len(a) })
	var args []string
	for _, s := range pairs {
		args = append(args, s, "***")
	}
	return strings.NewReplacer(args...).Replace
}

// masked is an error whose text is cleaned; what it wraps can still be asked
// for, but not shown.
type masked struct {
	text string
	err  error
}

// Error gives the cleaned text.
func (m *masked) Error() string { return m.text }

// Is and As look into what is wrapped; Unwrap would show its text.
func (m *masked) Is(target error) bool { return errors.Is(m.err, target) }

// As finds an error of a type in what is wrapped.
func (m *masked) As(target any) bool { return errors.As(m.err, target) }

// clean masks an error.
func (r *Release) clean(err error) error {
	if err == nil {
		return nil
	}
	text := r.cleaner()(err.Error())
	if text == err.Error() {
		return err
	}
	return &masked{text, err}
}
