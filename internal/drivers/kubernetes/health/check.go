package health

import (
	"fmt"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Check is a target's check of this driver:
//
//	health: [{ ready: all, within: 10m }]
type Check struct {
	ready, except patterns
	all           bool
	rules         Rules
}

// written is a check as it stands in trueup.yaml.
type written struct {
	Ready       []string `yaml:"ready" strict:"one" jsonschema:"required"`
	Except      []string `yaml:"except" strict:"one"`
	Expressions []Rule   `yaml:"expressions"`
}

// maxPatterns bounds a list of patterns.
const maxPatterns = 200

// ParseCheck reads a check strictly. The mistakes name their fields.
func ParseCheck(check map[string]any) (*Check, plan.Diagnostics) {
	var w written
	d := strict.NewDecoder("")
	d.Decode(strict.FromAny(check), &w, "")
	diags := d.Diags
	if len(diags.Errors()) > 0 {
		return nil, diags
	}
	c := &Check{}
	if len(w.Ready) == 1 && w.Ready[0] == "all" {
		c.all = true
	} else {
		c.ready = readPatterns(w.Ready, "ready", &diags)
	}
	if len(w.Ready) == 0 {
		diags.Errorf(plan.Source{}, "ready", "write ready: all", "the check names no objects")
	}
	c.except = readPatterns(w.Except, "except", &diags)
	rules, found := Compile(w.Expressions, "expressions")
	c.rules = rules
	return c, append(diags, found...)
}

func readPatterns(list []string, field string, diags *plan.Diagnostics) patterns {
	if len(list) > maxPatterns {
		diags.Errorf(plan.Source{}, field, "use * in fewer of them", "there are more than %d patterns", maxPatterns)
		return nil
	}
	var out patterns
	for i, text := range list {
		at := field
		if len(list) > 1 {
			at = fmt.Sprintf("%s[%d]", field, i)
		}
		p, err := parsePattern(text)
		if err != nil {
			diags.Errorf(plan.Source{}, at, "", "%s", err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// choose gives the objects that the check is about. A pattern that names none
// of them is a slip of the pen: a check that asks nothing would always pass.
func (c *Check) choose(all []manifest.Object) ([]manifest.Object, error) {
	var out []manifest.Object
	used := make([]bool, len(c.ready))
	for _, o := range all {
		r, wanted := o.Ref(), c.all
		for i, p := range c.ready {
			if p.matches(r) {
				used[i], wanted = true, true
			}
		}
		if wanted && !c.except.match(r) {
			out = append(out, o)
		}
	}
	for i, p := range c.ready {
		if !used[i] {
			return nil, fmt.Errorf("health: ready: %q matches none of the target's %d objects", p.text, len(all))
		}
	}
	return out, nil
}
