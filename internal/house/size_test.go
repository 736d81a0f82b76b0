package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// The limits. What is larger carries a reason in a //house:exception line.
const (
	maxFileLines = 400
	maxFuncLines = 60
	maxMethods   = 5
	maxFields    = 14
)

const directive = "//house:exception "

func TestSizes(t *testing.T) {
	fset := token.NewFileSet()
	for _, path := range goFiles(t) {
		src := read(t, path)
		f, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(f) {
			continue
		}
		if n := strings.Count(src, "\n"); n > maxFileLines && !excused(fileComments(f)...) {
			t.Errorf("%s has %d lines, the limit is %d", path, n, maxFileLines)
		}
		test := strings.HasSuffix(path, "_test.go")
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if n := lines(fset, d); n > maxFuncLines && !test && !excused(d.Doc) {
					t.Errorf("%s: %s has %d lines, the limit is %d", fset.Position(d.Pos()), d.Name.Name, n, maxFuncLines)
				}
			case *ast.GenDecl:
				sizesOfTypes(t, fset, d, test)
			}
		}
	}
}

func sizesOfTypes(t *testing.T, fset *token.FileSet, d *ast.GenDecl, test bool) {
	for _, s := range d.Specs {
		ts, ok := s.(*ast.TypeSpec)
		if !ok || excused(d.Doc, ts.Doc) {
			continue
		}
		switch typ := ts.Type.(type) {
		case *ast.InterfaceType:
			if n := methods(typ); n > maxMethods {
				t.Errorf("%s: interface %s has %d methods, the limit is %d", fset.Position(ts.Pos()), ts.Name.Name, n, maxMethods)
			}
		case *ast.StructType:
			if n := fields(typ); n > maxFields && !test {
				t.Errorf("%s: struct %s has %d fields, the limit is %d", fset.Position(ts.Pos()), ts.Name.Name, n, maxFields)
			}
		}
	}
}

// methods counts an interface's own methods; embedded interfaces were counted
// where they are declared.
func methods(i *ast.InterfaceType) int {
	n := 0
	for _, m := range i.Methods.List {
		n += len(m.Names)
	}
	return n
}

func fields(s *ast.StructType) int {
	n := 0
	for _, f := range s.Fields.List {
		n += max(len(f.Names), 1)
	}
	return n
}

func lines(fset *token.FileSet, d *ast.FuncDecl) int {
	return fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
}

// fileComments are the comments above the package clause.
func fileComments(f *ast.File) []*ast.CommentGroup {
	var out []*ast.CommentGroup
	for _, c := range f.Comments {
		if c.Pos() < f.Package {
			out = append(out, c)
		}
	}
	return out
}

// excused tells whether one of the comments carries a directive with a reason.
func excused(groups ...*ast.CommentGroup) bool {
	for _, g := range groups {
		if g == nil {
			continue
		}
		for _, c := range g.List {
			if reason, ok := strings.CutPrefix(c.Text, directive); ok && len(strings.Fields(reason)) >= 3 {
				return true
			}
		}
	}
	return false
}
