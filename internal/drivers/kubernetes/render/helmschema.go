package render

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"trueup.dev/trueup/internal/plan"
)

// schema checks the values by the chart's schema and those of the charts in
// it. A schema that refers to something outside of itself is refused: reading
// it would ask the network or this machine's disk.
func (h *release) schema(c *chart.Chart, values any) error {
	if h.helmSpec().SkipSchema || h.unknownUsed() || len(h.run.files.notes) > 0 {
		return nil
	}
	found := h.schemaOf(c, asMap(values))
	if len(found) > 0 {
		return &manyBad{found}
	}
	return nil
}

func asMap(x any) map[string]any {
	if v, ok := x.(common.Values); ok {
		return v
	}
	m, _ := x.(map[string]any)
	return m
}

// manyBad are several mistakes.
type manyBad struct{ d plan.Diagnostics }

// Error gives the mistakes.
func (b *manyBad) Error() string { return b.d.Error() }

func (h *release) schemaOf(c *chart.Chart, values map[string]any) plan.Diagnostics {
	var found plan.Diagnostics
	if len(c.Schema) > 0 {
		at := plan.Source{File: h.files.from(c.Schema)}
		for _, m := range violations(c.Schema, values) {
			found.Errorf(at, m.field, m.mend, "the values of chart %s: %s", c.Name(), m.text)
		}
	}
	for _, d := range c.Dependencies() {
		sub, there := values[d.Name()]
		if !there || sub == nil {
			continue
		}
		if asMap(sub) == nil {
			found.Errorf(plan.Source{File: h.file}, d.Name(), "write a mapping", "the values of chart %s are no mapping", d.Name())
			continue
		}
		found = append(found, h.schemaOf(d, asMap(sub))...)
	}
	return found
}

type violation struct{ field, text, mend string }

func violations(schema []byte, values any) []violation {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return []violation{{text: "the schema is no JSON: " + err.Error()}}
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(closedLoader{})
	if err := c.AddResource("file:///values.schema.json", doc); err != nil {
		return []violation{{text: "the schema can't be used: " + err.Error()}}
	}
	s, err := c.Compile("file:///values.schema.json")
	if err != nil {
		return []violation{{text: "the schema can't be used: " + err.Error(), mend: "set helm.skipSchema: true to go without it"}}
	}
	var v *jsonschema.ValidationError
	if err := s.Validate(values); errors.As(err, &v) {
		out := causes(v)
		slices.SortFunc(out, func(a, b violation) int { return strings.Compare(a.field+"\x00"+a.text, b.field+"\x00"+b.text) })
		return out
	}
	return nil
}

var english = message.NewPrinter(language.English)

// causes lists what is wrong, without what only follows from it.
func causes(v *jsonschema.ValidationError) []violation {
	if len(v.Causes) == 0 {
		return []violation{{field: strings.Join(v.InstanceLocation, "."), text: v.ErrorKind.LocalizedString(english)}}
	}
	var out []violation
	for _, c := range v.Causes {
		out = append(out, causes(c)...)
	}
	return out
}

// closedLoader opens nothing. Names (urn:) stand for anything, as with Helm.
type closedLoader struct{}

// Load refuses.
func (closedLoader) Load(url string) (any, error) {
	if strings.HasPrefix(url, "urn:") {
		return true, nil
	}
	return nil, fmt.Errorf("it refers to %s, and nothing outside of the chart is read", url)
}
