package render

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// chartValues puts the values together: files in their order, then inline
// values, then those of other targets.
func (r *run) chartValues() (map[string]any, error) {
	spec := r.helmSpec()
	out := map[string]any{}
	for _, f := range spec.ValuesFiles {
		more, err := r.valuesFile(path.Join(r.in.Path, f))
		if err != nil {
			return nil, err
		}
		out = loader.MergeMaps(out, more)
	}
	if len(spec.Values) > 0 {
		inline, err := asHelm(spec.Values)
		if err != nil {
			return nil, err
		}
		out = loader.MergeMaps(out, inline)
	}
	for _, at := range sortedKeys(spec.ValuesFrom) {
		v, err := r.value(spec.ValuesFrom[at])
		if err != nil {
			r.out.Diagnostics.Errorf(plan.Source{}, "spec.helm.valuesFrom."+at, "", "%v", err)
			continue
		}
		set := map[string]any{}
		steps := strings.Split(at, ".")
		inner := set
		for _, s := range steps[:len(steps)-1] {
			next := map[string]any{}
			inner[s] = next
			inner = next
		}
		inner[steps[len(steps)-1]] = v
		if set, err = asHelm(set); err != nil {
			return nil, err
		}
		out = loader.MergeMaps(out, set)
	}
	return out, nil
}

// asHelm makes values what they would be in a file of values: every number a
// float, as charts are used to.
func asHelm(v map[string]any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(b, &out)
}

// valuesFile reads one file of values.
func (r *run) valuesFile(name string) (map[string]any, error) {
	body, err := r.files.open(name)
	if err != nil {
		return nil, err
	}
	docs, found := manifest.Lenient(name, body)
	for i := range found {
		if found[i].Mend == manifest.TemplateTip {
			found[i].Mend = "values are no templates; a value of another target comes by helm.valuesFrom"
		}
	}
	r.out.Diagnostics = append(r.out.Diagnostics, found...)
	if found.Err() != nil {
		return nil, nil
	}
	for _, d := range docs {
		if _, ok := d.Value.(map[string]any); !ok {
			return nil, bad(name, d.Place().Line, "write NAME: VALUE", "these are no values: they are no mapping")
		}
	}
	values, err := loader.LoadValues(bytes.NewReader(body))
	if err != nil {
		return nil, bad(name, 0, "", "%v", err)
	}
	if r.files.sealed[name] {
		standIns(values)
	}
	return values, nil
}

func deepCopy(m map[string]any) map[string]any {
	out, _ := copied(m).(map[string]any)
	return out
}

func copied(x any) any {
	switch v := x.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = copied(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copied(e)
		}
		return out
	}
	return x
}
