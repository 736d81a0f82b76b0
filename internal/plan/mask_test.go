package plan_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

func tag(v []byte) string {
	m := hmac.New(sha256.New, []byte("key"))
	m.Write(v)
	return hex.EncodeToString(m.Sum(nil))[:16]
}

func maskOne(t *testing.T, doc string, tag func([]byte) string, pointers ...string) string {
	t.Helper()
	p := &plan.Plan{Changes: []plan.Change{{After: json.RawMessage(doc), Sensitive: pointers}}}
	if err := p.Mask(tag); err != nil {
		t.Fatal(err)
	}
	return string(p.Changes[0].After)
}

func TestMask(t *testing.T) {
	for _, c := range []struct{ doc, pointer, want string }{
		{`{"a":"s","b":1}`, "/a", `{"a":"***","b":1}`},
		{`{"a":{"b":["x","s"]}}`, "/a/b/1", `{"a":{"b":["x","***"]}}`},
		{`{"a/b":"s","c~d":"s"}`, "/a~1b", `{"a/b":"***","c~d":"s"}`},
		{`{"c~d":"s"}`, "/c~0d", `{"c~d":"***"}`},
		{`{"~1":"s"}`, "/~01", `{"~1":"***"}`},
		{`{"":"s","a":1}`, "/", `{"":"***","a":1}`},
		{`{"a":{"deep":"s"}}`, "/a", `{"a":"***"}`},
		{`["s"]`, "", `"***"`},
		{`{"a":1}`, "/no/such", `{"a":1}`},
		{`{"a":[1]}`, "/a/7", `{"a":[1]}`},
		{`{"a":"***but not masked"}`, "/a", `{"a":"***"}`},
	} {
		if got := maskOne(t, c.doc, nil, c.pointer); got != c.want {
			t.Errorf("%s at %q is %s, not %s", c.doc, c.pointer, got, c.want)
		}
	}
}

func TestMaskTellsSecretsApart(t *testing.T) {
	one := maskOne(t, `{"a":"one"}`, tag, "/a")
	two := maskOne(t, `{"a":"two"}`, tag, "/a")
	if one == two || strings.Contains(one, "one") {
		t.Errorf("%s, %s", one, two)
	}
	if again := maskOne(t, one, tag, "/a"); again != one {
		t.Errorf("masking twice gives %s", again)
	}
	if bare := maskOne(t, one, nil, "/a"); bare != one {
		t.Errorf("masking again without a tag gives %s", bare)
	}
}

func TestMaskCoversOutputs(t *testing.T) {
	p := &plan.Plan{Outputs: map[string]plan.Output{"s": {Value: json.RawMessage(`"secret"`), Sensitive: true}, "o": {Value: json.RawMessage(`"open"`)}}}
	if err := p.Mask(tag); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(p.Outputs["s"].Value), "secret") || string(p.Outputs["o"].Value) != `"open"` {
		t.Errorf("%v", p.Outputs)
	}
}

func TestRedactMakesSecretsEqual(t *testing.T) {
	a, err := plan.Redact(json.RawMessage(`{"s":"one","x":1}`), []string{"/s"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := plan.Redact(json.RawMessage(`{"x": 1, "s":"***0123456789abcdef"}`), []string{"/s"})
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("%s, %s, %v", a, b, err)
	}
}

// FuzzMask: a masked secret is gone, and masking again changes nothing.
func FuzzMask(f *testing.F) {
	f.Add(`{"a":{"b":["x","needle-in-the-hay"]}}`, "/a/b/1")
	f.Add(`{"a/b":"needle-in-the-hay"}`, "/a~1b")
	f.Add(`"needle-in-the-hay"`, "")
	f.Fuzz(func(t *testing.T, doc, pointer string) {
		p := &plan.Plan{Changes: []plan.Change{{Before: json.RawMessage(doc), Sensitive: []string{pointer}}}}
		if p.Mask(tag) != nil {
			return
		}
		once := string(p.Changes[0].Before)
		if err := p.Mask(tag); err != nil || string(p.Changes[0].Before) != once {
			t.Fatalf("%q, then %q (%v)", once, p.Changes[0].Before, err)
		}
		if pointer == "" && doc != "" && strings.Contains(once, "needle") {
			t.Fatalf("%q is left of %q", once, doc)
		}
		if _, err := p.Hash(); err != nil {
			t.Fatalf("a masked plan can't be hashed: %v", err)
		}
	})
}
