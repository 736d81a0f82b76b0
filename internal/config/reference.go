package config

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// Reference gives the reference of both files and of every driver's parts, in
// Markdown, made from the types and their comments.
func Reference(drivers driver.Registry) ([]byte, error) {
	return ReferenceWith(builtin(), drivers)
}

// ReferenceWith is Reference with given comments.
func ReferenceWith(comments Comments, drivers driver.Registry) ([]byte, error) {
	w := &referenceWriter{comments: comments, seen: map[reflect.Type]bool{}}
	w.line("# Configuration reference", "", "This page is generated from the types. [Configuration](../configuration.md) explains them.", "")
	w.section("server.yaml", "", reflect.TypeFor[Server]())
	w.section("trueup.yaml", "", reflect.TypeFor[Manifest]())
	for _, name := range drivers.Names() {
		info := drivers[name].Info()
		w.line("## Driver "+name, "", info.Summary, "")
		types := partTypes(info)
		for _, part := range []string{"connect", "scope", "spec"} {
			if t := types[part]; t != nil {
				w.table("### "+name+": "+part, t)
			}
		}
		w.rest("### " + name + ": ")
	}
	return w.b.Bytes(), nil
}

type referenceWriter struct {
	b        bytes.Buffer
	comments Comments
	seen     map[reflect.Type]bool
	queue    []queued
}

// queued is a type that a table mentions and that has a table of its own.
type queued struct {
	title string
	t     reflect.Type
}

func (w *referenceWriter) line(lines ...string) {
	for _, l := range lines {
		w.b.WriteString(l + "\n")
	}
}

func (w *referenceWriter) section(title, prefix string, t reflect.Type) {
	w.table("## "+title, t)
	w.rest("### " + prefix)
}

func (w *referenceWriter) rest(prefix string) {
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		if !w.seen[next.t] {
			w.table(prefix+next.title, next.t)
		}
	}
}

func (w *referenceWriter) table(title string, t reflect.Type) {
	w.seen[t] = true
	w.line(title, "")
	if c := w.comments.of(t, ""); c != "" {
		w.line(c, "")
	}
	fields := strict.Fields(t)
	if len(fields) == 0 {
		w.line("It has no fields.", "")
		return
	}
	w.line("| Field | Type | Default | Meaning |", "| --- | --- | --- | --- |")
	for _, f := range fields {
		sf := t.FieldByIndex(f.Index)
		def := cmp.Or(f.Default, "")
		if f.Required {
			def = "required"
		}
		about := sentence(cmp.Or(w.comments.of(owner(t, f.Index), sf.Name), described(sf)))
		if len(f.Enum) > 0 {
			about = strings.TrimSpace(about + " One of: `" + strings.Join(f.Enum, "`, `") + "`.")
		}
		if f.Minimum != "" && f.Minimum != f.Maximum {
			about = strings.TrimSpace(about + " At least " + f.Minimum + ".")
		}
		w.line(fmt.Sprintf("| `%s` | %s | %s | %s |", f.Name, w.typeName(f), def, strings.ReplaceAll(about, "|", `\|`)))
		w.enqueue(f.Name, f.Type)
	}
	w.line("")
}

// owner is the struct that a field stands in, which may be embedded in another.
func owner(t reflect.Type, index []int) reflect.Type {
	if len(index) == 1 {
		return t
	}
	t = t.FieldByIndex(index[:len(index)-1]).Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// sentence starts with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	r, size := utf8.DecodeRuneInString(s)
	return strings.TrimSuffix(string(unicode.ToUpper(r))+s[size:], ".") + "."
}

var descriptionTag = regexp.MustCompile(`(?:^|,)description=(.*?)(?:,[a-zA-Z]+=|,required|$)`)

// described gives the description in a field's jsonschema tag; it may hold
// commas.
func described(sf reflect.StructField) string {
	if m := descriptionTag.FindStringSubmatch(sf.Tag.Get("jsonschema")); m != nil {
		return m[1]
	}
	return ""
}

func (w *referenceWriter) typeName(f strict.Field) string {
	if f.Late {
		return "by driver"
	}
	name := typeName(f.Type)
	if f.One {
		return "text or " + name
	}
	return name
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[secret.Ref]():
		return "secret reference"
	case reflect.TypeFor[Window]():
		return "window"
	case reflect.TypeFor[Limit]():
		return "limit"
	case reflect.TypeFor[Amount]():
		return "number or share"
	case reflect.TypeFor[Batches]():
		return "number or share, or a list of them"
	case reflect.TypeFor[Order]():
		return "text or list of text"
	}
	if strings.HasSuffix(t.Name(), "Duration") {
		return "duration"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice, reflect.Array:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map of " + typeName(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true, false"
	case reflect.Struct:
		return "mapping"
	case reflect.Interface:
		return "anything"
	case reflect.Float32, reflect.Float64:
		return "number"
	}
	return "whole number"
}

// enqueue notes the struct inside a field's type.
func (w *referenceWriter) enqueue(name string, t reflect.Type) {
	for {
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
			continue
		case reflect.Slice:
			name, t = name+"[]", t.Elem()
			continue
		case reflect.Map:
			name, t = name+".NAME", t.Elem()
			continue
		}
		break
	}
	own := t == reflect.TypeFor[Window]() || t == reflect.TypeFor[Limit]() || t == reflect.TypeFor[Amount]() || t == reflect.TypeFor[Order]()
	if t.Kind() == reflect.Struct && !own && !w.seen[t] {
		w.queue = append(w.queue, queued{name, t})
	}
}
