package ignore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The bounds of one evaluation. The cost is what counts, because it gives the
// same answer on every machine; the time is there in case the cost is wrong.
const (
	maxCost    = 1_000_000
	maxTime    = time.Second
	maxExpr    = 4096 // bytes
	maxAnswers = 1000 // pointers that one expression gives
)

// environment is the language, made once.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.Variable("object", cel.DynType), cel.Variable("live", cel.DynType), cel.OptionalTypes(),
		ext.Strings(), ext.TwoVarComprehensions(), cel.CrossTypeNumericComparisons(true))
})

// program is a compiled expression.
type program struct {
	text string
	run  cel.Program
}

func newProgram(text string) (*program, error) {
	if len(text) > maxExpr {
		return nil, fmt.Errorf("the expression has %d bytes, the limit is %d", len(text), maxExpr)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		var lines []string
		for _, e := range issues.Errors() {
			lines = append(lines, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
		}
		return nil, errors.New(strings.Join(lines, "; "))
	}
	out := ast.OutputType()
	if !out.IsAssignableType(cel.StringType) && !out.IsAssignableType(cel.ListType(cel.StringType)) {
		return nil, fmt.Errorf("1:1: the expression gives %s, not a JSON pointer or a list of them", out)
	}
	run, err := env.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, err
	}
	return &program{text, run}, nil
}

// pointers evaluates the expression.
func (p *program) pointers(desired, live *unstructured.Unstructured) ([]pointer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	v, _, err := p.run.ContextEval(ctx, map[string]any{"object": desired.Object, "live": live.Object})
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", p.text, err)
	}
	texts, err := strs(v)
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", p.text, err)
	}
	out := make([]pointer, len(texts))
	for i, t := range texts {
		if out[i], err = parse(t); err != nil {
			return nil, fmt.Errorf("expression %q: %w", p.text, err)
		}
	}
	return out, nil
}

func strs(v ref.Val) ([]string, error) {
	switch v := v.(type) {
	case types.String:
		return []string{string(v)}, nil
	case traits.Lister:
		var out []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			s, ok := it.Next().(types.String)
			if !ok {
				return nil, errors.New("it gives something that is no string")
			}
			if out = append(out, string(s)); len(out) > maxAnswers {
				return nil, fmt.Errorf("it gives more than %d pointers", maxAnswers)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("it gives %s, not a JSON pointer or a list of them", v.Type().TypeName())
}
