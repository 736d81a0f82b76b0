package manifest_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	k8syaml "sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// FuzzDocuments: whatever a file holds, reading it ends; every place lies in
// the file; and what is read is what the library of kubectl and Helm reads.
func FuzzDocuments(f *testing.F) {
	for _, s := range []string{
		"a: 1\nb: [yes, no, on, off, y, n, ~, null, 1.0, 1e3, 0755, 0x1F, 1_000, 12e03, .5, -0, +1]\n",
		"a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n", "---\n---\n...\na: |\n  x\n---\nb: >-\n  y\n", "%YAML 1.1\n---\na: !!str 1\n",
		`{"a": "\ud83d\ude00", "b": 1e400}`, "a: 2001-01-01\nb: 12:30\nc: 1:20\n", "? [a]\n: b\n", "{a: {a: {a: 1}}}", "a: !!binary aGk=\n",
		"1: a\ntrue: b\n1.5: c\n", "\ufeffa: 1\r\nb: 2\r\n", "a: .inf\n", "a: \"x\\ty\"\n", "- a\n- b: c\n", "a: 9223372036854775808\nb: 18446744073709551616\nc: -9223372036854775809\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		docs, found := manifest.Documents("f.yaml", body)
		lines := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // all that YAML counts
			lines += bytes.Count(body, []byte(end))
		}
		for _, d := range found {
			if d.Line < 1 || d.Line > lines+1 {
				t.Fatalf("%q: a mistake in line %d of %d: %s", body, d.Line, lines, d.Message)
			}
		}
		for _, d := range docs {
			if at := d.Place(); at.Line < 1 || at.Line > lines {
				t.Fatalf("%q: a document in line %d of %d", body, at.Line, lines)
			}
			d.Objects(&found)
		}
		agree(t, body, docs, len(found) > 0)
	})
}

// agree compares a file of one document with what kubectl's library makes of
// it. It merges maps by another rule, and reads only the first document.
func agree(t *testing.T, body []byte, docs []manifest.Document, mistakes bool) {
	t.Helper()
	if mistakes || len(docs) != 1 || bytes.Contains(body, []byte("<<")) || bytes.Contains(body, []byte("---")) || bytes.Contains(body, []byte("...")) || bytes.Contains(body, []byte("!")) || bytes.Contains(body, []byte("%")) {
		return
	}
	b, err := k8syaml.YAMLToJSONStrict(body)
	if err != nil {
		return // it is stricter in some forms
	}
	var theirs any
	if err := json.Unmarshal(b, &theirs); err != nil {
		return
	}
	b, err = json.Marshal(docs[0].Value)
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	var ours any
	if err := json.Unmarshal(b, &ours); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Fatalf("%q is %v, and for kubectl %v", body, ours, theirs)
	}
}

// TestAliasesAreBounded: aliases of aliases grow without end.
func TestAliasesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 20 {
		p := string(rune('0' + i%10))
		if i >= 10 {
			p = "1" + p
		}
		n := string(rune('0' + (i+1)%10))
		if i+1 >= 10 {
			n = string(rune('0'+(i+1)/10)) + n
		}
		b.WriteString("a" + n + ": &a" + n + " [" + strings.TrimSuffix(strings.Repeat("*a"+p+", ", 10), ", ") + "]\n")
	}
	_, found := manifest.Documents("f.yaml", []byte(b.String()))
	if len(found) != 1 || !strings.Contains(found[0].Message, "aliases make the document larger") {
		t.Errorf("%.500v", found)
	}
	_, found = manifest.Documents("f.yaml", []byte(strings.Repeat("[", 3000)))
	if len(found) == 0 {
		t.Error("deep nesting is read")
	}
	_, found = manifest.Documents("f.json", []byte(strings.Repeat("[", 100_000)))
	if len(found) == 0 {
		t.Error("deep nesting is read")
	}
	_, found = manifest.Documents("f.yaml", []byte("a: &a\n  b: *a\n"))
	if len(found) == 0 {
		t.Error("an alias of itself is read")
	}
}
