package handover

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fields reads the fields of an object and remembers which were asked for, so
// that Unread can list the others: what a converter does not know of is told,
// not dropped. It is never nil; a field that is missing reads as empty.
type Fields struct {
	value any
	has   bool
	taken bool // with all that is below
	path  string
	kids  map[string]*Fields
	items []*Fields
	bad   *[]string
}

// Read begins to read an object.
func Read(value any) *Fields {
	return &Fields{value: value, has: value != nil, bad: &[]string{}}
}

// Path is where the field stands: spec.ref.branch, spec.patches[0].
func (f *Fields) Path() string { return f.path }

// Has tells whether the field is there; null counts as missing.
func (f *Fields) Has() bool { return f.has }

// At gives a field, or by several names one further down.
func (f *Fields) At(names ...string) *Fields {
	for _, n := range names {
		f = f.at(n)
	}
	return f
}

func (f *Fields) at(name string) *Fields {
	if k := f.kids[name]; k != nil {
		return k
	}
	k := &Fields{path: join(f.path, name), bad: f.bad}
	switch m := f.value.(type) {
	case map[string]any:
		k.value = m[name]
		k.has = k.value != nil
	case nil:
	default:
		f.wrong("a mapping")
	}
	if f.kids == nil {
		f.kids = map[string]*Fields{}
	}
	f.kids[name] = k
	return k
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	if strings.ContainsAny(name, "./ ") {
		return path + "[" + strconv.Quote(name) + "]"
	}
	return path + "." + name
}

// Items gives the elements of a list.
func (f *Fields) Items() []*Fields {
	if f.items != nil || !f.has {
		return f.items
	}
	list, ok := f.value.([]any)
	if !ok {
		f.wrong("a list")
		return nil
	}
	f.items = make([]*Fields, len(list))
	for i, v := range list {
		f.items[i] = &Fields{value: v, has: v != nil, path: fmt.Sprintf("%s[%d]", f.path, i), bad: f.bad}
	}
	if len(list) == 0 {
		f.taken = true
	}
	return f.items
}

// Keys gives the names in a mapping, sorted.
func (f *Fields) Keys() []string {
	m, ok := f.value.(map[string]any)
	if !ok && f.has {
		f.wrong("a mapping")
	}
	return slices.Sorted(maps.Keys(m))
}

// Any takes the field as it is, with all that is below.
func (f *Fields) Any() any {
	f.taken = true
	return f.value
}

// Ignore marks the field and all that is below as seen.
func (f *Fields) Ignore(names ...string) {
	if len(names) == 0 {
		f.taken = true
	}
	for _, n := range names {
		f.at(n).taken = true
	}
}

// Text takes a text; numbers and switches are written out.
func (f *Fields) Text() string {
	switch v := f.Any().(type) {
	case nil:
	case string:
		return v
	case bool, int, int64, float64:
		return fmt.Sprint(v)
	default:
		f.wrong("text")
	}
	return ""
}

// Yes takes a switch.
func (f *Fields) Yes() bool {
	switch v := f.Any().(type) {
	case nil:
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
		f.wrong("true or false")
	default:
		f.wrong("true or false")
	}
	return false
}

// Number takes a whole number.
func (f *Fields) Number() int64 {
	switch v := f.Any().(type) {
	case nil:
	case int64:
		return v
	case int:
		return int64(v)
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
		f.wrong("a whole number")
	default:
		f.wrong("a whole number")
	}
	return 0
}

// Texts takes a list of texts.
func (f *Fields) Texts() []string {
	var out []string
	for _, i := range f.Items() {
		out = append(out, i.Text())
	}
	return out
}

// Map takes a mapping of texts.
func (f *Fields) Map() map[string]string {
	out := map[string]string{}
	for _, k := range f.Keys() {
		out[k] = f.at(k).Text()
	}
	return out
}

// Duration takes a duration such as 10m0s.
func (f *Fields) Duration() time.Duration {
	t := f.Text()
	if t == "" {
		return 0
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 {
		f.wrong("a duration such as 10m")
		return 0
	}
	return d
}

func (f *Fields) wrong(want string) {
	text := fmt.Sprintf("%s: %s was expected", f.path, want)
	if !slices.Contains(*f.bad, text) {
		*f.bad = append(*f.bad, text)
	}
	f.taken = true
}

// Wrong lists the fields of another type than was asked for.
func (f *Fields) Wrong() []string { return *f.bad }

// Unread lists the fields that nobody asked for. A mapping of which nothing
// was asked for is listed as one. Empty values say nothing and are left out.
func (f *Fields) Unread() []string {
	if f.taken || !f.has || empty(f.value) {
		return nil
	}
	switch v := f.value.(type) {
	case map[string]any:
		if len(f.kids) == 0 && f.path != "" {
			return []string{f.path}
		}
		var out []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if kid := f.kids[k]; kid != nil {
				out = append(out, kid.Unread()...)
			} else if !empty(v[k]) {
				out = append(out, join(f.path, k))
			}
		}
		return out
	case []any:
		if f.items == nil {
			return []string{f.path}
		}
		var out []string
		for _, i := range f.items {
			out = append(out, i.Unread()...)
		}
		return out
	}
	return []string{f.path}
}

// empty tells that a value says nothing: null, or a collection without
// elements. False and 0 do say something.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}
