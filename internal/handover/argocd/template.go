package argocd

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

// fill fills values into all texts below a value, in names of fields as well.
func (e *expansion) fill(v any, values map[string]any) (any, error) {
	switch v := v.(type) {
	case string:
		return e.text(v, values)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			key, err := e.text(k, values)
			if err != nil {
				return nil, err
			}
			if out[key], err = e.fill(x, values); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = e.fill(x, values); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

var variable = regexp.MustCompile(`\{\{([^{}]*)\}\}`)

// text fills values into a text.
func (e *expansion) text(text string, values map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if e.gt {
		return execute(text, values)
	}
	var missing error
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		name := strings.TrimSpace(variable.FindStringSubmatch(m)[1])
		v, ok := values[name]
		if !ok {
			missing = fmt.Errorf("the template uses {{%s}}, which no generator gives", name)
			return m
		}
		return fmt.Sprint(v)
	})
	return out, missing
}

const (
	maxTemplate = 64 << 10
	maxResult   = 1 << 20
)

// functions are those of sprig that give the same for the same values, in
// little time and memory.
var functions = func() template.FuncMap {
	f := sprig.HermeticTxtFuncMap()
	for _, name := range []string{"until", "untilStep", "seq", "repeat", "wrap", "wrapWith"} {
		delete(f, name) // what they give may be large, whatever they are given
	}
	f["indent"] = indent
	f["nindent"] = func(n int, text string) (string, error) {
		out, err := indent(n, text)
		return "\n" + out, err
	}
	f["normalize"] = normalize
	f["toYaml"] = func(v any) (string, error) {
		b, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	}
	f["fromYaml"] = func(text string) (map[string]any, error) {
		var out map[string]any
		err := yaml.Unmarshal([]byte(text), &out)
		return out, err
	}
	f["fromYamlArray"] = func(text string) ([]any, error) {
		var out []any
		err := yaml.Unmarshal([]byte(text), &out)
		return out, err
	}
	return f
}()

func indent(n int, text string) (string, error) {
	if n < 0 || n > 200 {
		return "", fmt.Errorf("an indent of %d", n)
	}
	by := strings.Repeat(" ", n)
	return by + strings.ReplaceAll(text, "\n", "\n"+by), nil
}

var errTooLong = errors.New("what the template gives is too long")

// bounded is a buffer that does not grow without end.
type bounded struct{ bytes.Buffer }

// Write keeps what there is room for.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxResult {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

func execute(text string, values map[string]any) (string, error) {
	if len(text) > maxTemplate {
		return "", errTooLong
	}
	t, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return "", fmt.Errorf("the template can't be read: %w", err)
	}
	var out bounded
	if err := t.Execute(&out, values); err != nil {
		return "", fmt.Errorf("the template: %w", err)
	}
	return out.String(), nil
}

var notInDNS = regexp.MustCompile(`[^-a-z0-9.]`)

// normalize makes a name of a text, as Argo CD does it.
func normalize(text string) string {
	text = notInDNS.ReplaceAllString(strings.ToLower(text), "-")
	if len(text) > 253 {
		text = text[:253]
	}
	return strings.Trim(text, "-.")
}
