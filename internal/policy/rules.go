package policy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

// auto is the approver of a rule that needs none.
const auto = "auto"

// The bounds of one evaluation. The cost is what counts, because it gives the
// same answer on every machine; the time is there in case the cost is wrong.
const (
	maxCost = 5_000_000
	maxTime = 5 * time.Second
	maxExpr = 4096 // bytes
)

// Rules are approval rules, compiled. The zero value has none.
type Rules struct{ rules []rule }

type rule struct {
	config.Approval
	program cel.Program // nil always matches
}

// Compile checks approval rules and makes them ready. The error is a
// plan.Diagnostics with every mistake, each with its field and, inside an
// expression, line and column.
func Compile(rules []config.Approval) (*Rules, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("policy language: %w", err)
	}
	var found plan.Diagnostics
	out := &Rules{}
	for i, a := range rules {
		field := fmt.Sprintf("approve[%d]", i)
		checkApprovers(&found, field, a)
		if a.Count == 0 {
			a.Count = 1
		}
		r := rule{Approval: a}
		if a.When != "" {
			r.program = compileWhen(env, &found, field+".when", a.When)
		}
		out.rules = append(out.rules, r)
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

func checkApprovers(found *plan.Diagnostics, field string, a config.Approval) {
	people := map[string]bool{}
	onlyUsers := true
	for j, by := range a.By {
		kind, name, _ := strings.Cut(by, ":")
		at := fmt.Sprintf("%s.by[%d]", field, j)
		switch {
		case by == auto && len(a.By) > 1:
			found.Errorf(plan.Source{}, at, "write auto alone, or leave it out", "auto stands beside other approvers")
		case by == auto:
			onlyUsers = false
		case kind == "team" && name != "":
			onlyUsers = false
		case kind == "user" && name != "":
			people[name] = true
		default:
			found.Errorf(plan.Source{}, at, "write user:NAME, team:NAME or auto", "%q is no approver", by)
		}
	}
	if a.Count < 0 {
		found.Errorf(plan.Source{}, field+".count", "1 or more", "count is %d", a.Count)
	}
	if onlyUsers && len(people) > 0 && a.Count > len(people) {
		found.Errorf(plan.Source{}, field+".count", "lower it, or name more approvers", "needs %d approvals but names %d people", a.Count, len(people))
	}
}

func compileWhen(env *cel.Env, found *plan.Diagnostics, field, expr string) cel.Program {
	if len(expr) > maxExpr {
		found.Errorf(plan.Source{}, field, "shorten it", "the expression has %d bytes, the limit is %d", len(expr), maxExpr)
		return nil
	}
	ast, issues := env.Compile(expr)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			found.Errorf(plan.Source{}, field, "", "%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message)
		}
		return nil
	}
	if !ast.OutputType().IsExactType(types.BoolType) {
		found.Errorf(plan.Source{}, field, "compare something", "1:1: the expression gives %s, not true or false", ast.OutputType())
		return nil
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		found.Errorf(plan.Source{}, field, "", "1:1: %v", err)
	}
	return program
}

func environment() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeProvider(provider{registry}),
		cel.CustomTypeAdapter(registry),
		cel.Variable("plan", planType),
		cel.Variable("target", targetType),
		cel.Variable("actor", cel.StringType),
		cel.Variable("cause", cel.StringType),
		cel.Variable("teams", cel.ListType(cel.StringType)),
		cel.Variable("now", cel.TimestampType),
		cel.DefaultUTCTimeZone(true),
		cel.RegexProgramSizeLimit(1000),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(3)),
	)
}

// vars are the variables of a rule. They hold no secret: a plan shows "***"
// where a value is sensitive, masked before or not.
func vars(p *plan.Plan, f Facts) map[string]any {
	return map[string]any{
		"plan": planObject(p),
		"target": object{targetType, map[string]func() ref.Val{
			"name": text(f.Target.Name), "environment": text(f.Target.Environment), "repository": text(f.Target.Repository)}},
		"actor": f.Actor,
		"cause": f.Cause,
		"teams": append([]string{}, f.Teams...),
		"now":   timestamp(f.Now),
	}
}

func (r rule) matches(vars map[string]any) (bool, error) {
	if r.program == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	out, _, err := r.program.ContextEval(ctx, vars)
	if err != nil {
		return false, fmt.Errorf("approval rule %q: %w", r.When, err)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("approval rule %q gave %s", r.When, out.Type().TypeName())
	}
	return bool(b), nil
}

func (r rule) isAuto() bool { return len(r.By) == 1 && r.By[0] == auto }

// String gives the rule on one line.
func (r rule) String() string {
	when := r.When
	if when == "" {
		when = "always"
	}
	if r.isAuto() {
		return when + ": " + auto
	}
	return fmt.Sprintf("%s: %d by %s", when, r.Count, approvers(r.By))
}
