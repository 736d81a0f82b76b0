package ignore

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// pointer is a JSON pointer, taken apart.
//
// Source: RFC 6901.
type pointer []string

var (
	unescape = strings.NewReplacer("~1", "/", "~0", "~")
	// named are fields without which an object is none.
	named = []string{"", "/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace"}
)

func parse(text string) (pointer, error) {
	if slices.Contains(named, text) {
		return nil, fmt.Errorf("%q can't be ignored", text)
	}
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("%q is no JSON pointer: it starts with a slash, as /spec/replicas does", text)
	}
	parts := strings.Split(text[1:], "/")
	for i, p := range parts {
		if bad := strings.Index(strings.NewReplacer("~0", "", "~1", "").Replace(p), "~"); bad >= 0 {
			return nil, fmt.Errorf("%q is no JSON pointer: a ~ is written ~0", text)
		}
		parts[i] = unescape.Replace(p)
	}
	return parts, nil
}

// compare orders pointers by their parts, numbers by their value.
func (p pointer) compare(o pointer) int {
	return slices.CompareFunc(p, o, func(a, b string) int {
		x, errA := strconv.Atoi(a)
		y, errB := strconv.Atoi(b)
		if errA == nil && errB == nil {
			return cmp.Compare(x, y)
		}
		return strings.Compare(a, b)
	})
}

// holds tells whether another pointer lies in or at this one.
func (p pointer) holds(o pointer) bool { return len(p) <= len(o) && slices.Equal(p, o[:len(p)]) }

// index reads the index of a list.
func index(part string, n int) (int, bool) {
	i, err := strconv.Atoi(part)
	return i, err == nil && i >= 0 && i < n && (part == "0" || part[0] != '0')
}

// site is where a desired value stands in the live object: its value there,
// and which fields of it are the manager's alone; a nil set for none.
type site struct {
	live any
	own  *fieldpath.Set
	// leaf tells that the value as a whole is the manager's.
	leaf bool
	// key has the fields by which the server knows an element of a list; owned
	// tells that the element is the manager's, whatever else is.
	key   *value.FieldList
	owned bool
}

// cut takes away what a pointer points to, or puts the live value there where
// it is the manager's alone. It gives the changed value.
func cut(v any, p pointer, at site) any {
	switch v := v.(type) {
	case map[string]any:
		child, there := v[p[0]]
		if !there {
			return v
		}
		next := at.field(p[0])
		if len(p) > 1 {
			v[p[0]] = cut(child, p[1:], next)
			return v
		}
		delete(v, p[0])
		if kept, ok := next.kept(); ok {
			v[p[0]] = kept
		}
		return v
	case []any:
		i, ok := index(p[0], len(v))
		if !ok {
			return v
		}
		next := at.element(v[i], i)
		if len(p) > 1 {
			v[i] = cut(v[i], p[1:], next)
			return v
		}
		if kept, ok := next.kept(); ok {
			v[i] = kept
			return v
		}
		return slices.Delete(v, i, i+1)
	}
	return v
}
