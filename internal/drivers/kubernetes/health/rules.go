package health

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// The bounds of an expression.
const (
	maxExpression = 4096      // bytes
	maxCost       = 1_000_000 // in CEL's own unit: about a tenth of a second
	maxRules      = 100
)

// Rule says by CEL expressions when objects of a kind are ready, and when they
// have failed. The variable object is the whole object.
type Rule struct {
	// Kind is Kind.group ("Certificate.cert-manager.io"); * stands for any text.
	Kind string `yaml:"kind" json:"kind" jsonschema:"required"`
	// Ready is true once the object is ready.
	Ready string `yaml:"ready" json:"ready" jsonschema:"required"`
	// Failed is true when the object can't become ready without a change.
	Failed string `yaml:"failed,omitempty" json:"failed,omitempty"`
}

// Rules are compiled expressions; the first that fits a kind counts.
type Rules []rule

type rule struct {
	of            pattern
	ready, failed cel.Program
}

// Compile checks and compiles rules. Mistakes name the field, and the place
// inside the expression.
func Compile(list []Rule, field string) (Rules, plan.Diagnostics) {
	var diags plan.Diagnostics
	if len(list) > maxRules {
		diags.Errorf(plan.Source{}, field, "", "there are more than %d expressions", maxRules)
		return nil, diags
	}
	env, err := environment()
	if err != nil {
		diags.Errorf(plan.Source{}, field, "", "%s", err)
		return nil, diags
	}
	var out Rules
	for i, r := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		c := rule{}
		if c.of, err = parsePattern(r.Kind); err != nil || !c.of.anyName {
			diags.Errorf(plan.Source{}, at+".kind", "write Kind.group, such as Certificate.cert-manager.io", "%q is no kind", r.Kind)
		}
		c.ready = compile(env, r.Ready, at+".ready", &diags)
		if r.Failed != "" {
			c.failed = compile(env, r.Failed, at+".failed", &diags)
		}
		out = append(out, c)
	}
	return out, diags
}

// environment has the object, its parts by their own names, and functions for
// texts. Nothing in it can reach outside.
func environment() (*cel.Env, error) {
	vars := []cel.EnvOption{ext.Strings(), ext.Lists(), ext.Sets(), cel.OptionalTypes(), cel.Variable("object", cel.DynType)}
	for _, part := range parts {
		vars = append(vars, cel.Variable(part, cel.DynType))
	}
	return cel.NewEnv(vars...)
}

var parts = []string{"metadata", "spec", "status", "data"}

func compile(env *cel.Env, text, field string, diags *plan.Diagnostics) cel.Program {
	if strings.TrimSpace(text) == "" || len(text) > maxExpression {
		diags.Errorf(plan.Source{}, field, "", "an expression of 1 to %d bytes was expected", maxExpression)
		return nil
	}
	ast, issues := env.Compile(text)
	if issues != nil && issues.Err() != nil {
		for _, e := range issues.Errors() {
			diags.Errorf(plan.Source{}, field, "", "line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, e.Message)
		}
		return nil
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		diags.Errorf(plan.Source{}, field, "compare it with something", "the expression gives %s, not true or false", t)
		return nil
	}
	p, err := env.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		diags.Errorf(plan.Source{}, field, "", "%s", err)
		return nil
	}
	return p
}

// find gives the rule for an object.
func (rs Rules) find(r manifest.Ref) *rule {
	for i := range rs {
		if rs[i].of.matches(r) {
			return &rs[i]
		}
	}
	return nil
}

// assess asks the expressions. A field that is not there (yet) makes neither
// true; any other error is one of the expression.
func (r *rule) assess(ctx context.Context, u *unstructured.Unstructured) (Verdict, error) {
	vars := map[string]any{"object": u.Object}
	for _, part := range parts {
		vars[part] = map[string]any{}
		if v, ok := u.Object[part].(map[string]any); ok {
			vars[part] = v
		}
	}
	if r.failed != nil {
		if yes, err := holds(ctx, r.failed, vars); err != nil {
			return Verdict{}, fmt.Errorf("failed: %w", err)
		} else if yes {
			return failed("%s", readyCondition(u)), nil
		}
	}
	yes, err := holds(ctx, r.ready, vars)
	if err != nil {
		return Verdict{}, fmt.Errorf("ready: %w", err)
	}
	if yes {
		return Verdict{}, nil
	}
	return waiting("%s", readyCondition(u)), nil
}

func holds(ctx context.Context, p cel.Program, vars map[string]any) (bool, error) {
	v, _, err := p.ContextEval(ctx, vars)
	if err != nil {
		if strings.HasPrefix(err.Error(), "no such key") || strings.HasPrefix(err.Error(), "index out of bounds") {
			return false, nil
		}
		return false, err
	}
	yes, ok := v.Value().(bool)
	if !ok {
		return false, errors.New("the expression gives something else than true or false")
	}
	return yes, nil
}
