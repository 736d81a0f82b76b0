package edit

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const values = `# versions of the shop
image:
  repo: "registry.example/shop" # never changes
  tag: 1.4.2   # the tag
  "odd.key": 'it''s'
replicas: 3
debug: false
images: [ {name: shop, newTag: v1}, {name: db,   newTag: "16.2"} ]
ümlaut: {größe: "ä", tag: v1} # after letters of two bytes
ratio: 1e3
shared: &s v9
other: *s
empty:
block: |
  text
---
image: {tag: second}
`

func TestSet(t *testing.T) {
	str := func(s string) Value { return Value{s, String} }
	for _, c := range []struct {
		path     string
		v        Value
		old, new string // what changes in the text
	}{
		{"$.image.tag", str("1.4.3"), "tag: 1.4.2   #", "tag: 1.4.3   #"},
		{"$.image.tag", str("1.5"), "tag: 1.4.2   #", `tag: "1.5"   #`}, // would be a number
		{"$.image.tag", str("latest"), "tag: 1.4.2   #", "tag: latest   #"},
		{"$.image.tag", str("true"), "tag: 1.4.2   #", `tag: "true"   #`},
		{"$.image.tag", str("a: b"), "tag: 1.4.2   #", `tag: "a: b"   #`},
		{"$.image.tag", str("x #y"), "tag: 1.4.2   #", `tag: "x #y"   #`},
		{"$.image.repo", str(`a"b\c`), `"registry.example/shop"`, `"a\"b\\c"`},
		{`$.image["odd.key"]`, str("let's"), `'it''s'`, `'let''s'`},
		{"$.replicas", Value{"5", Number}, "replicas: 3", "replicas: 5"},
		{"$.debug", Value{"true", Bool}, "debug: false", "debug: true"},
		{"$.images[0].newTag", str("v2"), "newTag: v1}", "newTag: v2}"},
		{"$.images[name=db].newTag", str("17"), `"16.2"`, `"17"`},
		{"$.images[0].newTag", str("a,b"), "newTag: v1}", `newTag: "a,b"}`},
		{`$["ümlaut"].tag`, str("v2"), "tag: v1} # after", "tag: v2} # after"},
		{`$["ümlaut"]["größe"]`, str("ö"), `"ä"`, `"ö"`},
	} {
		f := Field{File: "values.yaml", Path: c.path}
		if err := f.Check(); err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		got, err := Set([]byte(values), f, c.v)
		if want := strings.Replace(values, c.old, c.new, 1); err != nil || string(got) != want {
			t.Errorf("%s = %v: %v\n%s", c.path, c.v, err, got)
		}
	}
	got, err := Set([]byte(values), Field{File: "v", Path: "$.image.tag", Document: 2}, str("third"))
	if err != nil || !strings.Contains(string(got), "{tag: third}") || !strings.Contains(string(got), "tag: 1.4.2") {
		t.Errorf("the second document: %v\n%s", err, got)
	}
	if got, err := Set([]byte(values), Field{File: "v", Path: "$.ratio"}, Value{"1000", Number}); err != nil || string(got) != values {
		t.Errorf("an equal number was written: %v", err)
	}
	windows := "a: 1\r\ntag: v1\r\n"
	if got, err := Set([]byte(windows), Field{File: "v", Pointer: "/tag"}, str("v2")); err != nil || string(got) != "a: 1\r\ntag: v2\r\n" {
		t.Errorf("line ends: %v %q", err, got)
	}
}

func TestRefused(t *testing.T) {
	for path, want := range map[string]error{"$.nothing": ErrMissing, "$.image": ErrForm, "$.shared": ErrForm, "$.other": ErrForm, "$.empty": ErrForm, "$.block": ErrForm,
		"$.images[7].newTag": ErrMissing, "$.images[name=x].newTag": ErrMissing, "$.replicas.x": ErrMissing} {
		if _, err := Set([]byte(values), Field{File: "v", Path: path}, Value{"x", String}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	for _, v := range []string{"a\nb: c", "a\x00", "a\u2028b", strings.Repeat("x", 5000), "\xff"} {
		if out, err := Set([]byte(values), Field{File: "v", Path: "$.image.tag"}, Value{v, String}); !errors.Is(err, ErrForm) {
			t.Errorf("%.20q is accepted: %s", v, out)
		}
	}
	for _, f := range []Field{{}, {Path: "$"}, {Path: "image"}, {Path: "$.a[", File: "x"}, {Path: "$.a", Pointer: "/a"}, {Pointer: "a"}, {Regexp: "("}, {Regexp: "tag"}, {Regexp: "(a)(b)"}, {Regexp: "(a)", Document: 2}} {
		if f.Check() == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
}

func TestJSON(t *testing.T) {
	const body = "{\n\t\"image\": {\"tag\" : \"v1\", \"n\": 3},\n\t\"list\": [ {\"name\":\"a\",\"v\":1.50}, {\"name\":\"b\", \"v\":true} ],\n\t\"a/b\": \"x\"\n}\n"
	for _, c := range []struct {
		f   Field
		v   Value
		old string
		new string
	}{
		{Field{Path: "$.image.tag"}, Value{`v"2`, String}, `"v1"`, `"v\"2"`}, {Field{Pointer: "/image/n"}, Value{"4", Number}, `"n": 3`, `"n": 4`},
		{Field{Path: "$.list[name=b].v"}, Value{"false", Bool}, "true", "false"}, {Field{Pointer: "/list/0/v"}, Value{"2", Number}, "1.50", "2"},
		{Field{Pointer: "/a~1b"}, Value{"5", String}, `"x"`, `"5"`},
	} {
		c.f.File = "x.json"
		got, err := Set([]byte(body), c.f, c.v)
		if want := strings.Replace(body, c.old, c.new, 1); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s", c.f, err, got)
		}
	}
	if _, err := Get([]byte(`{"a":1,"a":2}`), Field{File: "x.json", Pointer: "/a"}); !errors.Is(err, ErrForm) {
		t.Errorf("a key that stands twice: %v", err)
	}
	if _, err := Get([]byte(`{"a":{}}`), Field{File: "x.json", Pointer: "/a"}); !errors.Is(err, ErrForm) {
		t.Errorf("an object: %v", err)
	}
}

func TestRegexp(t *testing.T) {
	const zone = "www   IN A 192.0.2.1 ; web\nwww2 IN A 192.0.2.2\n"
	f := Field{File: "zone", Regexp: `^www\s+IN\s+A\s+(\S+)`}
	got, err := Set([]byte(zone), f, Value{"192.0.2.9", String})
	if err != nil || string(got) != strings.Replace(zone, "192.0.2.1", "192.0.2.9", 1) {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := Set([]byte(zone), Field{File: "zone", Regexp: `A (\S+)`}, Value{"x", String}); !errors.Is(err, ErrForm) {
		t.Errorf("two matches: %v", err)
	}
	if out, err := Set([]byte(zone), f, Value{"192.0.2.9 ; x", String}); !errors.Is(err, ErrForm) {
		t.Errorf("a value that the expression does not read back: %v\n%s", err, out)
	}
}

// FuzzSet makes sure that a value is read back as it was written, that the
// rest of the file stays, and that what was valid stays valid.
func FuzzSet(f *testing.F) {
	f.Add(values, "$.image.tag", "1.5", true)
	f.Add(values, "$.images[0].newTag", "x: y", true)
	f.Add("{\"image\":{\"tag\":\"v1\"}}", "$.image.tag", `"`, false)
	f.Fuzz(func(t *testing.T, body, path, value string, isYAML bool) {
		field := Field{File: "f.json", Path: path}
		if isYAML {
			field.File = "f.yaml"
		}
		if field.Check() != nil {
			return
		}
		old, err := Get([]byte(body), field)
		if err != nil {
			return
		}
		out, err := Set([]byte(body), field, Value{value, String})
		if err != nil {
			return
		}
		got, err := Get(out, field)
		if err != nil || got.Text != value {
			t.Fatalf("wrote %q, read %v, %v\n%q\n%q", value, got, err, body, out)
		}
		if !isYAML && !json.Valid(out) {
			t.Fatalf("no JSON any more: %q", out)
		}
		var n yaml.Node
		if isYAML && yaml.Unmarshal([]byte(body), &n) == nil && yaml.Unmarshal(out, &n) != nil {
			t.Fatalf("no YAML any more: %q", out)
		}
		back, err := Set(out, field, old)
		if err != nil {
			return // the old form may be one that is not written, as an octal number
		}
		if again, err := Get(back, field); err != nil || !again.Equal(old) {
			t.Fatalf("%v is not restored: %v, %v", old, again, err)
		}
	})
}
