package ignore

import (
	"bytes"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// owners tells who owns which fields of a live object.
type owners struct {
	by map[string]*fieldpath.Set
	// sole is what one manager has by its applies, and nobody else has.
	sole *fieldpath.Set
}

func ownersOf(live *unstructured.Unstructured, manager string) (owners, error) {
	o := owners{by: map[string]*fieldpath.Set{}}
	ours, others := &fieldpath.Set{}, &fieldpath.Set{}
	for _, m := range live.GetManagedFields() {
		if m.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(m.FieldsV1.GetRawBytes())); err != nil {
			return o, fmt.Errorf("the fields of manager %q can't be read: %w", m.Manager, err)
		}
		if have := o.by[m.Manager]; have != nil {
			set = have.Union(set)
		}
		o.by[m.Manager] = set
		if m.Manager == manager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "" {
			ours = ours.Union(set)
		} else {
			others = others.Union(set)
		}
	}
	o.sole = ours.Difference(others)
	return o, nil
}

// of gives what some managers own together.
func (o owners) of(managers []string) *fieldpath.Set {
	all := &fieldpath.Set{}
	for _, m := range managers {
		if s := o.by[m]; s != nil {
			all = all.Union(s)
		}
	}
	return all
}

// field goes to a field of a map.
func (s site) field(name string) site {
	m, _ := s.live.(map[string]any)
	child, there := m[name]
	if !there || s.leaf {
		return site{live: child, leaf: there && s.leaf}
	}
	return s.to(fieldpath.FieldNameElement(name), child)
}

// element goes to the element of a list that is the same as one of the desired
// list.
func (s site) element(want any, i int) site {
	list, _ := s.live.([]any)
	if s.leaf {
		if i < len(list) {
			return site{live: list[i], leaf: true}
		}
		return site{}
	}
	for pe := range elements(s.own) {
		if !is(pe, want, i) {
			continue
		}
		for j, have := range list {
			if is(pe, have, j) {
				return s.to(pe, have)
			}
		}
	}
	return site{}
}

func (s site) to(pe fieldpath.PathElement, live any) site {
	if s.own == nil {
		return site{live: live}
	}
	below, deep := s.own.Children.Get(pe)
	if pe.Key != nil {
		return site{live: live, own: below, key: pe.Key, owned: s.own.Members.Has(pe)}
	}
	return site{live: live, own: below, leaf: !deep && s.own.Members.Has(pe)}
}

// elements gives the path elements of a set's first level. The library's own
// iterators can't be left early.
func elements(s *fieldpath.Set) func(yield func(fieldpath.PathElement) bool) {
	return func(yield func(fieldpath.PathElement) bool) {
		if s == nil {
			return
		}
		more := true
		next := func(pe fieldpath.PathElement) { more = more && yield(pe) }
		s.Children.Iterate(next)
		s.Members.Iterate(next)
	}
}

// is tells whether a path element names an element of a list. A key that the
// element leaves out has a default, and does not count.
func is(pe fieldpath.PathElement, v any, i int) bool {
	switch {
	case pe.Index != nil:
		return *pe.Index == i
	case pe.Value != nil:
		return value.Equals(*pe.Value, value.NewValueInterface(v))
	case pe.Key != nil:
		m, ok := v.(map[string]any)
		hit := false
		for _, f := range *pe.Key {
			have, there := m[f.Name]
			if there && !value.Equals(f.Value, value.NewValueInterface(have)) {
				return false
			}
			hit = hit || there
		}
		return ok && hit
	}
	return false
}

// kept gives what of the live value is the manager's alone.
func (s site) kept() (any, bool) {
	if s.leaf {
		return runtime.DeepCopyJSONValue(s.live), true
	}
	switch live := s.live.(type) {
	case map[string]any:
		out := map[string]any{}
		for name := range live {
			if v, ok := s.field(name).kept(); ok {
				out[name] = v
			}
		}
		if len(out) == 0 && !s.owned {
			return nil, false
		}
		return withKeys(out, live, s.key), true
	case []any:
		var out []any
		for i, e := range live {
			if v, ok := s.element(e, i).kept(); ok {
				out = append(out, v)
			}
		}
		return out, len(out) > 0
	}
	return nil, false
}

// without takes the fields of a set away from a desired value.
func without(v any, set *fieldpath.Set) any {
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			pe := fieldpath.FieldNameElement(name)
			if below, ok := set.Children.Get(pe); ok {
				v[name] = without(child, below)
			} else if set.Members.Has(pe) {
				delete(v, name)
			}
		}
	case []any:
		return withoutElements(v, set)
	}
	return v
}

// withoutElements leaves the keys of what is kept of a list's elements: by
// them the server finds the element.
func withoutElements(list []any, set *fieldpath.Set) []any {
	out := make([]any, 0, len(list))
	for i, e := range list {
		gone := false
		for pe := range elements(set) {
			if !is(pe, e, i) {
				continue
			}
			if below, deep := set.Children.Get(pe); deep {
				e = withKeys(without(runtime.DeepCopyJSONValue(e), below), e, pe.Key)
			} else {
				gone = pe.Key == nil
			}
			break
		}
		if !gone {
			out = append(out, e)
		}
	}
	return out
}

// withKeys puts the fields back by which the server knows an element.
func withKeys(v, was any, key *value.FieldList) any {
	m, ok := v.(map[string]any)
	from, also := was.(map[string]any)
	if !ok || !also || key == nil {
		return v
	}
	for _, f := range *key {
		if k, there := from[f.Name]; there {
			m[f.Name] = k
		}
	}
	return m
}
