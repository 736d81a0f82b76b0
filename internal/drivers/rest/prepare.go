package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

const (
	maxFile  = 16 << 20
	maxDepth = 64
)

// wanted is one object that a file asks for.
type wanted struct {
	typ       string
	doc       map[string]any
	sensitive []string
	unknown   string // a value that is not known yet
	source    plan.Source
}

// parsed is what a target's files ask for. Which fields are keys only the
// environment's types tell, so objects get their addresses in the session.
type parsed struct{ objects []wanted }

type reader struct {
	in    driver.Input
	spec  *Spec
	out   *parsed
	prep  *driver.Prepared
	names map[string]bool
}

// Prepare reads the files.
func (restDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	r := &reader{in: in, spec: &Spec{}, out: &parsed{}, prep: &driver.Prepared{}, names: map[string]bool{}}
	if s, ok := in.Spec.(*Spec); ok && s != nil {
		r.spec = s
	}
	if in.Tree == nil {
		r.prep.Diagnostics.Errorf(plan.Source{}, "path", "", "there is no snapshot")
		return r.prep, nil
	}
	err := fs.WalkDir(in.Tree, in.Path, func(n string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if ext := path.Ext(n); n != in.Path && ext != ".yaml" && ext != ".yml" && ext != ".json" {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.file(n)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.prep.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "name a file or directory of the repository", "there is no %q", in.Path)
		return r.prep, nil
	case err != nil:
		return nil, err
	case len(r.out.objects) == 0 && r.prep.Diagnostics.Err() == nil:
		r.prep.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "files that ask for nothing never remove anything; destroy the target if that is meant", "%s holds no objects", in.Path)
	}
	for i, o := range r.out.objects {
		r.prep.Desired = append(r.prep.Desired, driver.Desired{Key: plan.Key{Address: plan.Address(fmt.Sprintf("%s#%d", o.typ, i))}, Kind: o.typ, Source: o.source})
	}
	r.prep.State, r.prep.Values = r.out, sortedKeys(r.names)
	return r.prep, nil
}

func (r *reader) errorf(file string, n *yaml.Node, mend, format string, args ...any) {
	at := plan.Source{File: file}
	if n != nil {
		at.Line, at.Column = n.Line, n.Column
	}
	r.prep.Diagnostics.Errorf(at, "", mend, format, args...)
}

func (r *reader) file(n string) error {
	f, err := r.in.Tree.Open(n)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	if len(text) > maxFile {
		r.errorf(n, nil, "split it", "the file has more than %d bytes", maxFile)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			r.prep.Diagnostics.Errorf(plan.Source{File: n, Line: yamlLine(err)}, "", "", "%v", err)
			return nil
		}
		if len(doc.Content) == 1 {
			r.document(n, doc.Content[0])
		}
	}
}

var lineOf = regexp.MustCompile(`line (\d+)`)

func yamlLine(err error) int {
	n := 0
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	return n
}

// document reads one document: an object, a list of objects, or, without
// spec.type, lists of objects by type.
func (r *reader) document(file string, n *yaml.Node) {
	if r.spec.Type != "" {
		r.objects(file, r.spec.Type, n)
		return
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(file, n, "write `TYPE: [objects]`, or name the type in spec.type", "this is no map of types to objects")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		r.objects(file, n.Content[i].Value, n.Content[i+1])
	}
}

func (r *reader) objects(file, typ string, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			r.object(file, typ, c)
		}
		return
	}
	r.object(file, typ, n)
}

func (r *reader) object(file, typ string, n *yaml.Node) {
	w := wanted{typ: typ, source: plan.Source{File: file, Line: n.Line}}
	doc, ok := r.value(file, n, "", 0, &w).(map[string]any)
	if n.Kind != yaml.MappingNode || !ok {
		r.errorf(file, n, "write the object's fields", "an object of type %s is a map of fields", typ)
		return
	}
	w.doc = doc
	r.out.objects = append(r.out.objects, w)
}

// value makes a JSON value of a node.
func (r *reader) value(file string, n *yaml.Node, at string, depth int, w *wanted) any {
	if depth > maxDepth {
		r.errorf(file, n, "", "it is nested more than %d deep", maxDepth)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
				r.errorf(file, k, "write plain names", "this is no plain field name")
				continue
			}
			if _, dup := out[k.Value]; dup {
				r.errorf(file, k, "remove one of them", "the field %s stands here twice", k.Value)
			}
			out[k.Value] = r.value(file, n.Content[i+1], at+"/"+strings.ReplaceAll(strings.ReplaceAll(k.Value, "~", "~0"), "/", "~1"), depth+1, w)
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			out = append(out, r.value(file, c, fmt.Sprintf("%s/%d", at, i), depth+1, w))
		}
		return out
	case yaml.ScalarNode:
		return r.scalar(file, n, at, w)
	}
	r.errorf(file, n, "write the value out", "aliases are not read")
	return nil
}

var valueRef = regexp.MustCompile(`\{\{\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

func (r *reader) scalar(file string, n *yaml.Node, at string, w *wanted) any {
	if len(r.in.Values) > 0 && (n.Tag == "!!str" || n.Tag == "") && valueRef.MatchString(n.Value) {
		return r.fill(file, n, at, w)
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err == nil {
			return b
		}
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
		var f any
		if err := n.Decode(&f); err == nil {
			if b, err := json.Marshal(f); err == nil {
				return json.Number(b)
			}
		}
		r.errorf(file, n, "", "%s is no number that JSON knows", n.Value)
		return nil
	}
	return n.Value
}

// fill puts values of other targets into a text. A text that is one value
// keeps the value's type.
func (r *reader) fill(file string, n *yaml.Node, at string, w *wanted) any {
	var whole any
	alone := valueRef.FindString(n.Value) == n.Value
	text := valueRef.ReplaceAllStringFunc(n.Value, func(m string) string {
		name := valueRef.FindStringSubmatch(m)[1]
		o, ok := r.in.Values[name]
		if !ok {
			r.errorf(file, n, "declare it under values in trueup.yaml", "the target has no value %q", name)
			return ""
		}
		r.names[name] = true
		if o.Unknown {
			w.unknown = name
			return ""
		}
		if o.Sensitive && !slices.Contains(w.sensitive, at) {
			w.sensitive = append(w.sensitive, at)
		}
		dec := json.NewDecoder(bytes.NewReader(o.Value))
		dec.UseNumber()
		whole = nil
		if err := dec.Decode(&whole); err != nil {
			r.errorf(file, n, "", "the value %s is no JSON", name)
		}
		s, plain := word(whole)
		if !plain && !alone {
			r.errorf(file, n, "let it stand alone", "the value %s is no plain text", name)
		}
		return s
	})
	if alone && whole != nil {
		return whole
	}
	return text
}
