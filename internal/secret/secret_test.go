package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"trueup.dev/trueup/internal/secret"
)

const canary = "canary-41ab"

// TestValueNeverShows prints, logs and serialises a secret in every way there
// is, alone and inside of other values.
func TestValueNeverShows(t *testing.T) {
	v := secret.New(canary)
	type named struct{ V secret.Value }
	type holder struct {
		V secret.Value
		P *secret.Value
		M map[string]secret.Value
		A any
	}
	h := holder{v, &v, map[string]secret.Value{"k": v}, v}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v", "%10.3s"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
	}
	fmt.Fprintln(&out, v, h, errors.New(fmt.Sprint(v)), fmt.Errorf("%w: %v", secret.ErrNotFound, v))
	fmt.Fprintln(&out, v.String()+v.GoString())
	for _, l := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(l).Info("x", "v", v, "h", h, "p", &v)
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "yaml": yaml.Marshal, "xml": xml.Marshal} {
		for _, x := range []any{v, &v, named{v}} {
			b, err := marshal(x)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			out.Write(b)
		}
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret shows as %s:\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), "***") || v.Reveal() != canary || v.Empty() || !secret.New("").Empty() {
		t.Error("a value reveals its secret when it is asked to")
	}
}

func TestResolvers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one", canary+"\n")
	write("two", canary+"\r\n")
	write("lines", "a\nb\n\n")
	write("large", strings.Repeat("x", 1<<20+1))
	t.Setenv("TRUEUP_TEST_SECRET", canary)
	rs := secret.Resolvers{"env": secret.Env{}, "file": secret.File{Dir: dir}}
	for ref, want := range map[secret.Ref]string{
		"env:TRUEUP_TEST_SECRET": canary, "file:one": canary, "file:two": canary, "file:lines": "a\nb\n", "": "",
		secret.Ref("file:" + dir + "/one"): canary,
	} {
		v, err := rs.Resolve(t.Context(), ref)
		if err != nil || v.Reveal() != want {
			t.Errorf("%s is %q, %v", ref, v.Reveal(), err)
		}
	}
	for ref, want := range map[secret.Ref]string{"env:TRUEUP_TEST_UNSET": "not set", "file:none": "no such file", "file:large": "larger than",
		"vault:kv#x": "env, file", "plain": "an unknown scheme"} {
		if _, err := rs.Resolve(t.Context(), ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v", ref, err)
		}
	}
	if _, err := rs.Resolve(t.Context(), "env:TRUEUP_TEST_UNSET"); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestPastedSecret: somebody writes the secret itself where a reference
// belongs. The error must not repeat it.
func TestPastedSecret(t *testing.T) {
	rs := secret.Resolvers{"env": secret.Env{}}
	for _, ref := range []secret.Ref{canary, "x:" + canary, canary + ":x"} {
		if _, err := rs.Resolve(t.Context(), ref); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%v", err)
		}
	}
}

type failing struct{}

func (failing) Resolve(context.Context, string) (secret.Value, error) {
	return secret.Value{}, secret.ErrNotFound
}

func TestErrorNamesTheReference(t *testing.T) {
	_, err := secret.Resolvers{"vault": failing{}}.Resolve(t.Context(), "vault:kv/dns#tsig")
	if !errors.Is(err, secret.ErrNotFound) || !strings.Contains(err.Error(), "vault:kv/dns#tsig") {
		t.Errorf("%v", err)
	}
	if secret.Ref("vault:x").Scheme() != "vault" || secret.Ref("x").Scheme() != "" {
		t.Error("scheme")
	}
}
