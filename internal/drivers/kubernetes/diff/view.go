package diff

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Equal compares two JSON values.
func Equal(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// View gives of two states of an object the fields in set and those that
// differ. Nothing else is shown: it belongs to others, and is not changed.
func View(before, after map[string]any, set *fieldpath.Set) (map[string]any, map[string]any) {
	b, a := viewMap(before, after, set)
	return b, a
}

// Project gives the fields of an object that are in set.
func Project(doc map[string]any, set *fieldpath.Set) map[string]any {
	out, _ := viewMap(doc, doc, set)
	return out
}

// view goes on below one field that is there in both states. Children are
// those of its fields that are in the set; nil where there are none.
func view(b, a any, children *fieldpath.Set) (any, any) {
	switch x := b.(type) {
	case map[string]any:
		if y, ok := a.(map[string]any); ok {
			return viewMap(x, y, children)
		}
	case []any:
		if y, ok := a.([]any); ok {
			return viewList(x, y, children)
		}
	}
	return b, a
}

func viewMap(b, a map[string]any, set *fieldpath.Set) (map[string]any, map[string]any) {
	outB, outA := map[string]any{}, map[string]any{}
	for k := range maps.Keys(b) {
		x, y := b[k], a[k]
		_, there := a[k]
		child, inside := part(set, fieldpath.FieldNameElement(k))
		switch {
		case !there:
			outB[k] = x
		case child != nil:
			outB[k], outA[k] = view(x, y, child)
		case inside:
			outB[k], outA[k] = x, y
		case !Equal(x, y):
			outB[k], outA[k] = view(x, y, fieldpath.NewSet())
		}
	}
	for k, y := range a {
		if _, there := b[k]; !there {
			outA[k] = y
		}
	}
	return outB, outA
}

// part finds what a set says of one element: the set of its own fields, or
// that it is in the set as a whole.
func part(set *fieldpath.Set, e fieldpath.PathElement) (child *fieldpath.Set, inside bool) {
	if child, ok := set.Children.Get(e); ok && !child.Empty() {
		return child, true
	}
	return nil, set.Members.Has(e)
}

// viewList shows a list whose items have keys item by item, any other as a
// whole.
func viewList(b, a []any, set *fieldpath.Set) (any, any) {
	if keys := keysOf(set); keys != nil {
		return viewItems(b, a, set, keys)
	}
	if hasValues(set) {
		return viewValues(b, a, set), viewValues(a, b, set)
	}
	return b, a
}

// keysOf gives the names of the fields that tell a list's items apart; nil for
// a list whose items have none. The library's iterators can't be left early.
func keysOf(set *fieldpath.Set) (out []string) {
	look := func(e fieldpath.PathElement) {
		if e.Key == nil || out != nil {
			return
		}
		for _, f := range *e.Key {
			out = append(out, f.Name)
		}
	}
	set.Children.Iterate(look)
	set.Members.Iterate(look)
	return out
}

func hasValues(set *fieldpath.Set) (any bool) {
	set.Members.Iterate(func(e fieldpath.PathElement) { any = any || e.Value != nil })
	return any
}

// keyed makes the path element of a list's item.
func keyed(item any, keys []string) (fieldpath.PathElement, bool) {
	m, ok := item.(map[string]any)
	if !ok {
		return fieldpath.PathElement{}, false
	}
	fields := make(value.FieldList, 0, len(keys))
	for _, k := range keys {
		v, ok := m[k]
		if !ok {
			return fieldpath.PathElement{}, false
		}
		fields = append(fields, value.Field{Name: k, Value: value.NewValueInterface(v)})
	}
	return fieldpath.PathElement{Key: &fields}, true
}

func viewItems(b, a []any, set *fieldpath.Set, keys []string) (any, any) {
	outB, outA := []any{}, []any{}
	find := func(list []any, e fieldpath.PathElement) (any, bool) {
		i := slices.IndexFunc(list, func(x any) bool {
			f, ok := keyed(x, keys)
			return ok && f.Equals(e)
		})
		if i < 0 {
			return nil, false
		}
		return list[i], true
	}
	for _, x := range b {
		e, ok := keyed(x, keys)
		if !ok {
			return b, a
		}
		y, there := find(a, e)
		child, inside := part(set, e)
		switch {
		case !there:
			outB = append(outB, x)
		case child != nil:
			p, q := view(x, y, child)
			outB, outA = append(outB, p), append(outA, q)
		case inside || !Equal(x, y):
			outB, outA = append(outB, x), append(outA, y)
		}
	}
	for _, y := range a {
		e, ok := keyed(y, keys)
		if !ok {
			return b, a
		}
		if _, there := find(b, e); !there {
			outA = append(outA, y)
		}
	}
	return outB, outA
}

// viewValues gives the items of a set of plain values that are in set, or not
// in the other state.
func viewValues(list, other []any, set *fieldpath.Set) any {
	out := []any{}
	for _, x := range list {
		v := value.NewValueInterface(x)
		if set.Members.Has(fieldpath.ValueElement(v)) || !slices.ContainsFunc(other, func(y any) bool { return Equal(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}
