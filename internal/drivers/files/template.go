package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"strconv"
	"text/template"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/templates"
	"trueup.dev/trueup/internal/plan"
)

// Limits of a template: what it may read and write.
const (
	maxTemplate = 1 << 20
	maxRendered = 16 << 20
)

// rendered is a template's result.
type rendered struct {
	text    string
	values  []string // names of the values it uses
	unknown []string // those of them that are known only later
}

// template renders an entry and takes note of what it uses. Values that are
// not there yet are no mistake as long as nobody gave any: the engine checks
// the names against those declared.
func (r *reader) template(e *entry) {
	out, err := render(r.in, e.From)
	for _, v := range out.values {
		r.values[v] = true
	}
	if err != nil {
		var missing missingValue
		if errors.As(err, &missing) && r.in.Values == nil {
			e.Unknown = true
			return
		}
		r.diags.Errorf(plan.Source{File: e.From, Line: templateLine(err)}, "templates", "", "%v", err)
		return
	}
	e.Size, e.Sum = int64(len(out.text)), sha256.Sum256([]byte(out.text))
	e.Unknown = len(out.unknown) > 0
	for _, v := range out.values {
		if r.in.Values[v].Sensitive {
			e.Sensitive = true
		}
	}
}

var linePattern = regexp.MustCompile(`^template: .*?:(\d+):`)

// templateLine takes the line out of an error of text/template, or gives 0.
func templateLine(err error) int {
	m := linePattern.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		return 0
	}
	return n
}

type missingValue string

func (m missingValue) Error() string {
	return fmt.Sprintf("value %q is used, but the target does not declare it under values", string(m))
}

// render fills a file of the snapshot in.
func render(in driver.Input, name string) (rendered, error) {
	var out rendered
	f, err := in.Tree.Open(name)
	if err != nil {
		return out, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	if err != nil {
		return out, err
	}
	if len(src) > maxTemplate {
		return out, fmt.Errorf("a template may have %d bytes at most", maxTemplate)
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(src))
	if err != nil {
		return out, err
	}
	if out.values, err = templates.Names(t.Root); err != nil {
		return out, err
	}
	data := map[string]any{}
	for _, v := range out.values {
		o, ok := in.Values[v]
		switch {
		case !ok:
			return out, missingValue(v)
		case o.Unknown:
			out.unknown = append(out.unknown, v)
			data[v] = "(known after " + v + " is applied)"
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(o.Value))
		dec.UseNumber()
		var x any
		if err := dec.Decode(&x); err != nil {
			return out, fmt.Errorf("value %q: %w", v, err)
		}
		data[v] = x
	}
	var b limited
	if err := t.Execute(&b, data); err != nil {
		return out, err
	}
	out.text = b.String()
	return out, nil
}

type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("it grows beyond %d bytes", maxRendered)
	}
	return l.Buffer.Write(p)
}

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }
