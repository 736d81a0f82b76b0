package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

var errTooLarge = errors.New("the answer is larger than the limit")

// Error is a call that failed. It names the request's path, never its query,
// headers or body.
type Error struct {
	Method, Path string
	Status       int    // 0 where no answer came
	Message      string // the forge's own words, or what went wrong
	err          error  // what it is
}

// Error says what was asked and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
		if e.Message != "" {
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Message)
	switch {
	case e.Status == 0:
	case errors.Is(e.err, forge.ErrNotFound):
		b.WriteString(" (the forge has no such thing, or the credentials may not see it)")
	case errors.Is(e.err, forge.ErrDenied):
		b.WriteString(" (the forge refused the credentials)")
	}
	return b.String()
}

// Unwrap gives the kind of failure: forge.ErrNotFound, forge.ErrDenied,
// forge.ErrUnreachable, a forge.LimitedError or an error of the context.
func (e *Error) Unwrap() error { return e.err }

// Failed gives the error of an answer of 300 and above, nil for others. It
// reads the answer's body.
func Failed(resp *http.Response, secrets []secret.Value) error {
	if resp.StatusCode < 300 {
		return nil
	}
	e := &Error{Method: resp.Request.Method, Path: resp.Request.URL.Path, Status: resp.StatusCode, Message: scrub(message(peek(resp)), secrets)}
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		e.err = forge.ErrDenied
	case s == http.StatusNotFound || s == http.StatusGone:
		e.err = forge.ErrNotFound
	case s == http.StatusRequestTimeout || s >= 500:
		e.err = forge.ErrUnreachable
	}
	return e
}

// fail is the error of a request that got no answer.
func (t *transport) fail(r *http.Request, err error) error {
	e := &Error{Method: r.Method, Path: r.URL.Path, Message: scrub(err.Error(), t.o.Secrets), err: err}
	var known *Error
	switch {
	case errors.As(err, &known):
		return err
	case r.Context().Err() != nil:
		e.err, e.Message = r.Context().Err(), r.Context().Err().Error()
	case errors.As(err, new(forge.LimitedError)), errors.Is(err, forge.ErrDenied), errors.Is(err, forge.ErrNotFound), errors.Is(err, errTooLarge):
	case errors.Is(err, context.DeadlineExceeded):
		e.err, e.Message = forge.ErrUnreachable, fmt.Sprintf("no answer within %s", t.o.Timeout)
	default:
		e.err = forge.ErrUnreachable
	}
	return e
}

// Tidy brings an error of an http.Client or an SDK around it into this
// package's form: url.Error repeats the whole address, with its query.
func Tidy(err error) error {
	var known *Error
	var u *url.Error
	if errors.As(err, &u) {
		if errors.As(u.Err, &known) {
			return u.Err
		}
		path := ""
		if parsed, perr := url.Parse(u.URL); perr == nil {
			path = parsed.Path
		}
		return &Error{Method: strings.ToUpper(u.Op), Path: path, Message: u.Err.Error(), err: u.Err}
	}
	return err
}

// permanent errors are the same the next time, or were tried again already.
func permanent(err error) bool {
	var known *Error
	var cert *tls.CertificateVerificationError
	return errors.Is(err, errTooLarge) || errors.Is(err, forge.ErrDenied) || errors.As(err, &cert) || errors.As(err, &known)
}

// unsent tells that no connection was made, so that nothing was done.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// peek gives the answer's body and leaves it readable.
func peek(resp *http.Response) []byte {
	b, _ := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return b
}

// maxMessage bounds how much of a forge's words goes into an error.
const maxMessage = 400

// message finds the forge's own words in an error's body; every forge has its
// own place for them.
func message(body []byte) string {
	var e struct {
		Message any `json:"message"`
		Error   any `json:"error"`
		Errors  any `json:"errors"`
		Detail  any `json:"error_description"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	var parts []string
	for _, v := range []any{e.Message, e.Error, e.Detail, e.Errors} {
		parts = words(parts, v, 0)
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.Join(parts, "; "))
	if r := []rune(text); len(r) > maxMessage {
		text = string(r[:maxMessage]) + "…"
	}
	return text
}

// words collects the texts of an error's fields, a few levels down.
func words(out []string, v any, depth int) []string {
	if depth > 4 || len(out) > 8 {
		return out
	}
	switch v := v.(type) {
	case string:
		if v != "" {
			out = append(out, v)
		}
	case []any:
		for _, x := range v {
			out = words(out, x, depth+1)
		}
	case map[string]any:
		for _, k := range []string{"message", "resource", "field", "code", "detail"} {
			out = words(out, v[k], depth+1)
		}
		if len(out) == 0 {
			for k, x := range v {
				for _, w := range words(nil, x, depth+1) {
					out = append(out, k+" "+w)
				}
			}
		}
	}
	return out
}

// scrub cuts secrets out of a text.
func scrub(text string, secrets []secret.Value) string {
	for _, v := range secrets {
		if !v.Empty() {
			text = strings.ReplaceAll(text, v.Reveal(), v.String())
		}
	}
	return text
}
