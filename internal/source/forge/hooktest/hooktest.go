// Package hooktest has what the tests of all forges share: golden deliveries
// and hostile ones.
package hooktest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

var update = flag.Bool("update-events", false, "write the golden events anew")

// Delivery reads a delivery from a file: header lines, an empty line, the body.
func Delivery(t testing.TB, file string) (http.Header, []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(bytes.NewReader(b))
	h, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return http.Header(h), body
}

// Golden parses every delivery of a directory (*.http) and compares the event
// with the file of that name (*.event.json).
func Golden(t *testing.T, f forge.Webhooks, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no deliveries in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			h, body := Delivery(t, file)
			e, err := f.Parse(h, body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(e, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".http") + ".event.json"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || string(want) != string(got)+"\n" {
				t.Errorf("got\n%s\nwant (%v)\n%s", got, err, want)
			}
		})
	}
}

// Sign puts what authenticates a delivery into its headers.
type Sign func(h http.Header, body []byte, secret string)

// Hostile makes sure that nothing gets in without one of the secrets.
func Hostile(t *testing.T, f forge.Webhooks, sign Sign, good, other string) {
	t.Helper()
	secrets := func(s ...string) (out []secret.Value) {
		for _, v := range s {
			out = append(out, secret.New(v))
		}
		return out
	}
	body := []byte(`{"a": 1}`)
	signed := func(with string) http.Header {
		h := http.Header{}
		sign(h, body, with)
		return h
	}
	for _, c := range []struct {
		name    string
		h       http.Header
		body    []byte
		secrets []secret.Value
		ok      bool
	}{
		{"right", signed(good), body, secrets(good), true},
		{"right, second of two", signed(good), body, secrets(other, good), true},
		{"right, first of two", signed(good), body, secrets(good, other), true},
		{"another secret", signed(other), body, secrets(good), false},
		{"no header", http.Header{}, body, secrets(good), false},
		{"no secrets", signed(good), body, nil, false},
		{"an empty secret", signed(""), body, secrets(""), false},
		{"an empty secret, no header", http.Header{}, nil, secrets(""), false},
	} {
		if err := f.Verify(c.h, c.body, c.secrets); (err == nil) != c.ok || err != nil && !errors.Is(err, forge.ErrSignature) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Tampered makes sure that no part of a signed delivery can be changed.
func Tampered(t *testing.T, f forge.Webhooks, sign Sign, key string) {
	t.Helper()
	body := []byte(`{"number": 12}`)
	for i := range body {
		h := http.Header{}
		sign(h, body, key)
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if f.Verify(h, changed, []secret.Value{secret.New(key)}) == nil {
			t.Errorf("byte %d of the body can be changed", i)
		}
	}
	for _, more := range [][]byte{append(bytes.Clone(body), ' '), body[:len(body)-1], nil} {
		h := http.Header{}
		sign(h, body, key)
		if f.Verify(h, more, []secret.Value{secret.New(key)}) == nil {
			t.Errorf("the body %q is accepted for %q", more, body)
		}
	}
}

// Fuzz feeds the parser: it neither panics nor gives an event that is half
// there.
func Fuzz(f *testing.F, w forge.Webhooks, dir, eventHeader string, events ...string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no deliveries in %s: %v", dir, err)
	}
	for _, file := range files {
		h, body := Delivery(f, file)
		f.Add(h.Get(eventHeader), body)
	}
	for _, e := range events {
		f.Add(e, []byte(`{}`))
		f.Add(e, []byte(`[[[[`))
		f.Add(e, []byte(`null`))
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		h := http.Header{}
		h.Set(eventHeader, event)
		e, err := w.Parse(h, body)
		if err != nil {
			return
		}
		switch e.Kind {
		case forge.PullChanged:
			if e.Number <= 0 {
				t.Errorf("an event of no pull request: %+v", e)
			}
		case forge.Commented:
			if e.Number <= 0 || e.CommentID == "" {
				t.Errorf("a comment of nothing: %+v", e)
			}
		}
	})
}
