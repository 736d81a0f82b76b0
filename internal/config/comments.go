package config

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
)

// Comments holds the doc comments of types ("package.Type") and their fields
// ("package.Type.Field"). A program can't read its own source, so they are
// kept beside it; a test keeps them true.
type Comments map[string]string

//go:embed comments.json
var commentFile []byte

var builtin = sync.OnceValue(func() Comments {
	var c Comments
	if json.Unmarshal(commentFile, &c) != nil {
		return Comments{}
	}
	return c
})

const module = "trueup.dev/trueup"

// ReadComments collects the comments of the configuration's and the drivers'
// types from the source below the module's root.
func ReadComments(root string, drivers driver.Registry) (Comments, error) {
	packages := map[string]bool{}
	for _, t := range []reflect.Type{reflect.TypeFor[Server](), reflect.TypeFor[Manifest]()} {
		packagesOf(t, packages, map[reflect.Type]bool{})
	}
	for _, name := range drivers.Names() {
		for _, t := range partTypes(drivers[name].Info()) {
			packagesOf(t, packages, map[reflect.Type]bool{})
		}
	}
	out := Comments{}
	for _, pkg := range sorted(packages) {
		rel, ok := strings.CutPrefix(pkg, module+"/")
		if !ok {
			continue
		}
		if err := out.read(filepath.Join(root, rel), pkg); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// packagesOf collects the packages of a type and of all that its fields hold.
func packagesOf(t reflect.Type, into map[string]bool, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		packagesOf(t.Elem(), into, seen)
	case reflect.Struct:
		if seen[t] {
			return
		}
		seen[t] = true
		into[t.PkgPath()] = true
		for i := range t.NumField() {
			packagesOf(t.Field(i).Type, into, seen)
		}
	}
}

func (c Comments) read(dir, pkg string) error {
	names, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("comments of %s: %w", pkg, err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() {
					c.add(pkg+"."+ts.Name.Name, decl.Doc, ts.Doc)
					c.fields(pkg+"."+ts.Name.Name, ts.Type)
				}
			}
			return false
		})
	}
	return nil
}

func (c Comments) fields(name string, t ast.Expr) {
	st, ok := t.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		for _, id := range f.Names {
			if id.IsExported() && (f.Tag == nil || !strings.Contains(f.Tag.Value, `yaml:"-"`)) {
				c.add(name+"."+id.Name, f.Doc, f.Comment)
			}
		}
	}
}

func (c Comments) add(name string, groups ...*ast.CommentGroup) {
	var parts []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) > 0 {
		c[name] = strings.Join(parts, " ")
	}
}

// of gives the comment of a type or of one of its fields.
func (c Comments) of(t reflect.Type, field string) string {
	name := t.PkgPath() + "." + t.Name()
	if field != "" {
		name += "." + field
	}
	return c[name]
}

// partTypes lists the struct types of a driver's connect, scope and spec.
func partTypes(info driver.Info) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	add := func(part string, v any) {
		t := reflect.TypeOf(v)
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t != nil && t.Kind() == reflect.Struct {
			out[part] = t
		}
	}
	if info.Connect != nil {
		add("connect", info.Connect())
	}
	if info.Scope != nil {
		add("scope", info.Scope())
	}
	if info.Spec != nil {
		add("spec", info.Spec())
	}
	return out
}
