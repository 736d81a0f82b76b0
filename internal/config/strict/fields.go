package strict

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Field is one field of a struct as a document writes it.
type Field struct {
	Name  string
	Index []int
	Type  reflect.Type
	// Late fields are left to a second step that knows their type; their node
	// is kept.
	Late bool
	// One accepts a single value where a list is asked for.
	One      bool
	Required bool
	Default  string
	Enum     []string
	Minimum  string
	Maximum  string
	MaxItems int
}

// Fields describes a struct type by its tags: `yaml` gives the name; in
// `jsonschema` required, enum, minimum, maximum, maxItems and default count;
// `strict:"late"` and `strict:"one"` say how it is read.
func Fields(t reflect.Type) []Field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]Field)
	}
	out := collect(t, nil, map[reflect.Type]bool{})
	fieldCache.Store(t, out)
	return out
}

var fieldCache sync.Map // reflect.Type to []Field

func collect(t reflect.Type, index []int, seen map[reflect.Type]bool) []Field {
	if seen[t] {
		return nil
	}
	seen[t] = true
	defer delete(seen, t)
	var out []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, hasTag := sf.Tag.Lookup("yaml")
		name, opts, _ := strings.Cut(tag, ",")
		if name == "-" {
			continue
		}
		at := append(append([]int{}, index...), i)
		inline := strings.Contains(opts, "inline") || (sf.Anonymous && !hasTag)
		if inline && sf.Type.Kind() == reflect.Struct {
			out = append(out, collect(sf.Type, at, seen)...)
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if name == "" {
			name = strings.ToLower(sf.Name)
		}
		f := Field{Name: name, Index: at, Type: sf.Type}
		f.tags(sf)
		out = append(out, f)
	}
	return out
}

func (f *Field) tags(sf reflect.StructField) {
	s := sf.Tag.Get("strict")
	f.Late, f.One = strings.Contains(s, "late"), strings.Contains(s, "one")
	for part := range strings.SplitSeq(sf.Tag.Get("jsonschema"), ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "required":
			f.Required = true
		case "default":
			f.Default = value
		case "enum":
			f.Enum = append(f.Enum, value)
		case "minimum":
			f.Minimum = value
		case "maximum":
			f.Maximum = value
		case "maxItems":
			f.MaxItems, _ = strconv.Atoi(value)
		}
	}
}
