package policy

import (
	"context"
	"fmt"
	"regexp"
	"slices"
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

// NeedsOwners tells whether a rule asks for code owners.
func (r *Rules) NeedsOwners() bool {
	return r.any(func(a config.Approval) bool {
		return slices.ContainsFunc(a.Quorums(), func(q config.Quorum) bool { return slices.Contains(q.By, codeOwners) })
	})
}

// CountsReviews tells whether a rule counts reviews on the forge.
func (r *Rules) CountsReviews() bool {
	return r.any(func(a config.Approval) bool { return a.Reviews })
}

// aboutProposal finds, in an expression, what only a pull request can tell.
var aboutProposal = regexp.MustCompile(`\b(pull|authors?|labels)\b`)

// NeedsProposal tells whether a rule asks which pull request a change came
// through, or who proposed it.
func (r *Rules) NeedsProposal() bool {
	return r.any(func(a config.Approval) bool { return a.NotAuthor || aboutProposal.MatchString(a.When) })
}

func (r *Rules) any(fits func(config.Approval) bool) bool {
	return r != nil && slices.ContainsFunc(r.rules, func(x rule) bool { return fits(x.Approval) })
}

func checkApprovers(found *plan.Diagnostics, field string, a config.Approval) {
	if len(a.All) > 0 && len(a.By) > 0 {
		found.Errorf(plan.Source{}, field+".all", "move by and count into all, or remove all", "both by and all are given")
	}
	checkQuorum(found, field, config.Quorum{By: a.By, Count: a.Count}, true)
	for i, q := range a.All {
		checkQuorum(found, fmt.Sprintf("%s.all[%d]", field, i), q, false)
	}
}

func checkQuorum(found *plan.Diagnostics, field string, q config.Quorum, mayAuto bool) {
	people := map[string]bool{}
	onlyUsers := true
	for j, by := range q.By {
		w, ok := config.ParseWho(by)
		at := fmt.Sprintf("%s.by[%d]", field, j)
		switch {
		case by == auto && (len(q.By) > 1 || !mayAuto):
			found.Errorf(plan.Source{}, at, "write auto alone, or leave it out", "auto stands beside other approvers")
		case ok && (w.Kind == "team" || w.Kind == auto || w.Kind == codeOwners):
			onlyUsers = false
		case ok && w.Kind == "user":
			people[w.Name] = true
		default:
			found.Errorf(plan.Source{}, at, "write user:NAME, team:NAME, team:ORG/TEAM, codeowners or auto", "%q is no approver", by)
		}
	}
	if q.Count < 0 {
		found.Errorf(plan.Source{}, field+".count", "1 or more", "count is %d", q.Count)
	}
	if onlyUsers && len(people) > 0 && q.Count > len(people) {
		found.Errorf(plan.Source{}, field+".count", "lower it, or name more approvers", "needs %d approvals but names %d people", q.Count, len(people))
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
		cel.Variable("driver", cel.StringType),
		cel.Variable("scopes", cel.ListType(cel.StringType)),
		cel.Variable("author", cel.StringType),
		cel.Variable("authors", cel.ListType(cel.StringType)),
		cel.Variable("labels", cel.ListType(cel.StringType)),
		cel.Variable("pull", cel.IntType),
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
		"actor":   f.Actor,
		"cause":   f.Cause,
		"teams":   append([]string{}, f.Teams...),
		"now":     timestamp(f.Now),
		"driver":  f.Driver,
		"scopes":  scopesOf(p),
		"author":  f.Author(),
		"authors": authorsOf(f.Proposal),
		"labels":  append([]string{}, f.Labels...),
		"pull":    f.Number,
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

func authorsOf(p Proposal) []string {
	out := []string{}
	for _, a := range p.Authors {
		out = append(out, a.Actor)
	}
	return out
}

// scopesOf lists the scopes that the plan changes something in.
func scopesOf(p *plan.Plan) []string {
	return distinct(p, func(c *plan.Change) string { return string(c.Scope) })
}

// distinct gives the different values that the changes have of something.
func distinct(p *plan.Plan, of func(*plan.Change) string) []string {
	seen := map[string]bool{}
	for i := range p.Changes {
		if p.Changes[i].Action != plan.None {
			seen[of(&p.Changes[i])] = true
		}
	}
	out := make([]string, 0, len(seen))
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// String gives the rule on one line.
func (r rule) String() string {
	when := r.When
	if when == "" {
		when = "always"
	}
	if r.isAuto() {
		return when + ": " + auto
	}
	var kinds []string
	for _, q := range r.Quorums() {
		kinds = append(kinds, fmt.Sprintf("%d by %s", max(q.Count, 1), approvers(q.By)))
	}
	return when + ": " + strings.Join(kinds, ", and ")
}
