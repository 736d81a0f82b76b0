package argocd

import (
	"fmt"
	"maps"

	"trueup.dev/trueup/internal/handover"
)

// matrix combines every set of values of one generator with every one of the
// other. The values of the first may stand in the second.
func (e *expansion) matrix(g *handover.Fields, depth int) ([]params, error) {
	items := g.At("generators").Items()
	if len(items) != 2 {
		return nil, fmt.Errorf("a matrix has two generators, and this one has %d", len(items))
	}
	first, ok := e.generator(items[0], depth+1)
	if !ok {
		return nil, fmt.Errorf("one of its generators can't be expanded")
	}
	var out []params
	for _, a := range first {
		second, err := e.second(items[1], a, depth)
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			if a.each != "" && b.each != "" {
				return nil, fmt.Errorf("both of its generators list directories")
			}
			if out = append(out, both(a, b)); len(out) > maxApplications {
				return nil, fmt.Errorf("it makes more than %d Applications", maxApplications)
			}
		}
	}
	return e.with(g, out)
}

// second expands the second generator of a matrix with the values of the
// first filled in.
func (e *expansion) second(g *handover.Fields, a params, depth int) ([]params, error) {
	filled, err := e.fill(g.Any(), a.values)
	if err != nil {
		return nil, err
	}
	inner := handover.Read(map[string]any{"generator": filled}).At("generator")
	out, ok := e.generator(inner, depth+1)
	if !ok {
		return nil, fmt.Errorf("one of its generators can't be expanded")
	}
	for _, p := range inner.Unread() {
		e.out.Lost(e.set, g.Path()+"."+p, "trueup's import does not know this field", "look at what it does there")
	}
	return out, nil
}

func both(a, b params) params {
	out := params{values: maps.Clone(a.values), each: a.each + b.each, template: handover.Merge(a.template, b.template)}
	maps.Copy(out.values, b.values)
	return out
}

// merge lays the values of later generators over those of the first that have
// the same keys.
func (e *expansion) merge(g *handover.Fields, depth int) ([]params, error) {
	keys := g.At("mergeKeys").Texts()
	items := g.At("generators").Items()
	if len(items) < 2 || len(keys) == 0 {
		return nil, fmt.Errorf("a merge has several generators and keys")
	}
	var out []params
	for i, item := range items {
		list, ok := e.generator(item, depth+1)
		if !ok {
			return nil, fmt.Errorf("one of its generators can't be expanded")
		}
		if i == 0 {
			out = list
			continue
		}
		byKey := map[string]params{}
		for _, p := range list {
			byKey[e.keyOf(p, keys)] = p
		}
		for j, p := range out {
			if over, ok := byKey[e.keyOf(p, keys)]; ok {
				m := both(p, over)
				m.each, m.values = p.each, handover.Merge(p.values, over.values)
				out[j] = m
			}
		}
	}
	return e.with(g, out)
}

func (e *expansion) keyOf(p params, keys []string) string {
	flat := (&expansion{}).flat(p.values)
	text := ""
	for _, k := range keys {
		text += fmt.Sprintf("%q", fmt.Sprint(flat[k]))
	}
	return text
}
