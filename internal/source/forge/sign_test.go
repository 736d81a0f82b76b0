package forge_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

func sign(key, body string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func TestSigned(t *testing.T) {
	old, now, none := secret.New("the old secret"), secret.New("the new secret"), secret.Value{}
	for _, c := range []struct {
		name    string
		given   string
		secrets []secret.Value
		fits    bool
	}{
		{"the first of two", sign("the old secret", "body"), []secret.Value{old, now}, true},
		{"the second of two", sign("the new secret", "body"), []secret.Value{old, now}, true},
		{"another's", sign("guessed", "body"), []secret.Value{old, now}, false},
		{"of another body", sign("the old secret", "body2"), []secret.Value{old, now}, false},
		{"by the empty secret", sign("", "body"), []secret.Value{none, old}, false},
		{"without secrets", sign("", "body"), nil, false},
		{"none", "", []secret.Value{old}, false},
		{"no hex", "zz", []secret.Value{old}, false},
		{"cut short", sign("the old secret", "body")[:32], []secret.Value{old}, false},
	} {
		err := forge.Signed(c.given, c.secrets, []byte("bo"), []byte("dy"))
		if c.fits != (err == nil) || err != nil && !errors.Is(err, forge.ErrSignature) {
			t.Errorf("a signature %s: %v, fits should be %v", c.name, err, c.fits)
		}
	}
}

func TestSameToken(t *testing.T) {
	secrets := []secret.Value{secret.New("one"), {}, secret.New("two")}
	for given, fits := range map[string]bool{"one": true, "two": true, "": false, "on": false, "three": false, "***": false} {
		if err := forge.SameToken(given, secrets); fits != (err == nil) {
			t.Errorf("token %q: %v, fits should be %v", given, err, fits)
		}
	}
	if forge.SameToken("", nil) == nil || forge.SameToken("", []secret.Value{{}}) == nil {
		t.Error("no token passes where there is no secret")
	}
}

func FuzzSigned(f *testing.F) {
	f.Add(sign("k", "b"), []byte("b"))
	f.Add("", []byte(nil))
	f.Fuzz(func(t *testing.T, given string, body []byte) {
		secrets := []secret.Value{secret.New("a secret nobody guesses")}
		if forge.Signed(given, secrets, body) == nil && given != sign("a secret nobody guesses", string(body)) {
			b, err := hex.DecodeString(given)
			if err != nil || hex.EncodeToString(b) != sign("a secret nobody guesses", string(body)) {
				t.Fatalf("%q passes as a signature", given)
			}
		}
	})
}
