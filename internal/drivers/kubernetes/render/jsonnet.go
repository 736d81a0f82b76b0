package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-jsonnet"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// maxStack bounds how deep a Jsonnet program may call itself.
const maxStack = 500

// jsonnet evaluates a program.
func (r *run) jsonnet() error {
	spec := JsonnetSpec{}
	if r.in.Spec.Jsonnet != nil {
		spec = *r.in.Spec.Jsonnet
	}
	name, base, err := r.program(spec)
	if err != nil {
		return err
	}
	vm := jsonnet.MakeVM()
	vm.MaxStack = maxStack
	libraries := spec.Libraries
	if libraries == nil {
		libraries = []string{"lib", "vendor"}
	}
	imports := &importer{run: r, base: base, libraries: libraries, cache: map[string]jsonnet.Contents{}}
	vm.Importer(imports)
	if err := r.variables(spec, vm); err != nil {
		return err
	}
	text, err := vm.EvaluateFile("/" + name)
	switch {
	case imports.err != nil:
		return imports.err
	case err != nil:
		r.out.Diagnostics = append(r.out.Diagnostics, jsonnetMistake(name, err))
		r.soften()
		return nil
	}
	var value any
	if err := decodeJSON([]byte(text), &value); err != nil {
		return err
	}
	r.undecided(name, r.waits())
	f := &flattener{run: r, file: name}
	f.flatten(numbers(value), "", 0)
	return nil
}

// program finds the file to evaluate, and the directory that libraries are
// relative to.
func (r *run) program(spec JsonnetSpec) (name, base string, err error) {
	dir, ok, err := r.files.exists(r.in.Path)
	switch {
	case err != nil:
		return "", "", err
	case ok && !dir:
		return r.in.Path, path.Dir(r.in.Path), nil
	case spec.File == "":
		spec.File = "main.jsonnet"
	}
	name = path.Join(r.in.Path, spec.File)
	if _, ok, err = r.files.exists(name); err == nil && !ok {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return name, r.in.Path, err
}

// variables hands external variables and top-level arguments over.
func (r *run) variables(spec JsonnetSpec, vm *jsonnet.VM) error {
	for _, kind := range []struct {
		field  string
		plain  map[string]any
		from   map[string]string
		assign func(name, code string)
	}{
		{"extVarsFrom", spec.ExtVars, spec.ExtVarsFrom, vm.ExtCode},
		{"tlasFrom", spec.TLAs, spec.TLAsFrom, vm.TLACode},
	} {
		all := map[string]any{}
		for k, v := range kind.plain {
			all[k] = v
		}
		for _, k := range sortedKeys(kind.from) {
			v, err := r.value(kind.from[k])
			if err != nil {
				r.out.Diagnostics.Errorf(plan.Source{}, "spec.jsonnet."+kind.field+"."+k, "", "%v", err)
				continue
			}
			all[k] = v
		}
		for k, v := range all {
			code, err := json.Marshal(v)
			if err != nil {
				return err
			}
			kind.assign(k, string(code))
		}
	}
	return nil
}

// importer reads imports from the snapshot: relative to the importing file,
// then to the libraries.
type importer struct {
	*run
	base      string
	libraries []string
	cache     map[string]jsonnet.Contents
	err       error // of the snapshot, no mistake in it
}

// Import finds an imported file.
func (i *importer) Import(from, name string) (jsonnet.Contents, string, error) {
	if from == "" && strings.HasPrefix(name, "/") { // the program itself
		return i.load(strings.TrimPrefix(name, "/"))
	}
	if path.IsAbs(name) || strings.Contains(name, "://") {
		return jsonnet.Contents{}, "", fmt.Errorf("%s: write a path relative to the importing file", manifest.Short(name))
	}
	tries := []string{path.Join(path.Dir(strings.TrimPrefix(from, "/")), name)}
	for _, l := range i.libraries {
		tries = append(tries, path.Join(i.base, l, name))
	}
	var refused error
	for _, t := range tries {
		if !fs.ValidPath(t) {
			continue
		}
		c, at, err := i.load(t)
		switch {
		case err == nil:
			return c, at, nil
		case !errors.Is(err, fs.ErrNotExist) && refused == nil:
			refused = err
		}
	}
	if refused != nil {
		return jsonnet.Contents{}, "", refused
	}
	return jsonnet.Contents{}, "", fmt.Errorf("there is no %s in %s", manifest.Short(name), strings.Join(tries, ", "))
}

func (i *importer) load(name string) (jsonnet.Contents, string, error) {
	if c, ok := i.cache[name]; ok {
		return c, "/" + name, nil
	}
	body, err := i.files.open(name)
	if err != nil {
		d, ok := inRepository(name, err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return jsonnet.Contents{}, "", err
		case ok:
			return jsonnet.Contents{}, "", errors.New(d.Message)
		case i.err == nil:
			i.err = err
		}
		return jsonnet.Contents{}, "", err
	}
	c := jsonnet.MakeContentsRaw(body)
	i.cache[name] = c
	return c, "/" + name, nil
}

var jsonnetPlace = regexp.MustCompile(`/([^\s:]+):\(?(\d+):`)

// jsonnetMistake finds text and place in an error of Jsonnet's.
func jsonnetMistake(name string, err error) plan.Diagnostic {
	text := err.Error()
	d := plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: name}}
	if m := jsonnetPlace.FindStringSubmatch(text); m != nil {
		d.File = m[1]
		if n, err := strconv.Atoi(m[2]); err == nil {
			d.Line = n
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	first = strings.TrimPrefix(first, "RUNTIME ERROR: ")
	if m := jsonnetPlace.FindStringIndex(first); m != nil && m[0] == 0 {
		_, first, _ = strings.Cut(first, " ")
	}
	d.Message = first
	return d
}

// flattener takes the objects out of what a program evaluates to: one, a list
// of them, or an object whose fields hold them, at any depth.
type flattener struct {
	*run
	file string
}

func (f *flattener) flatten(x any, at string, depth int) {
	place := plan.Source{File: f.file}
	if depth > 20 {
		f.out.Diagnostics.Errorf(place, at, "", "the result is nested too deep to be objects")
		return
	}
	switch v := x.(type) {
	case nil:
	case []any:
		for i, e := range v {
			f.flatten(e, fmt.Sprintf("%s[%d]", at, i), depth+1)
		}
	case map[string]any:
		_, version := v["apiVersion"]
		_, kind := v["kind"]
		if version || kind {
			f.object(v, at)
			return
		}
		for _, k := range sortedKeys(v) {
			f.flatten(v[k], strings.TrimPrefix(at+"."+k, "."), depth+1)
		}
	case string:
		docs, found := manifest.Documents(f.file, []byte(v))
		for i := range found {
			found[i].Source, found[i].Field = place, at
		}
		f.out.Diagnostics = append(f.out.Diagnostics, found...)
		for _, d := range docs {
			f.flatten(d.Value, at, depth+1)
		}
	default:
		f.out.Diagnostics.Errorf(place, at, "evaluate to objects, lists of them, or fields that hold them", "the result has a plain value where an object was expected")
	}
}

func (f *flattener) object(m map[string]any, at string) {
	found := plan.Diagnostics{}
	objects := manifest.Document{Value: m, File: f.file}.Objects(&found)
	for i := range found {
		found[i].Field = strings.Trim(at+"."+found[i].Field, ".")
	}
	f.out.Objects = append(f.out.Objects, objects...)
	f.out.Diagnostics = append(f.out.Diagnostics, found...)
}
