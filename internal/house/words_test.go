package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// unfinished are words that mark work left undone. They are spelled apart
	// here, so that this file keeps its own rule.
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|(?i:not yet imple` + `mented|not imple` + `mented)`)
	// vague package names say nothing of what is inside.
	vague = map[string]bool{"util": true, "utils": true, "common": true, "models": true, "types": true, "helpers": true, "misc": true}
)

func TestWords(t *testing.T) {
	fset := token.NewFileSet()
	for _, path := range goFiles(t) {
		src := read(t, path)
		for i, line := range strings.Split(src, "\n") {
			if w := unfinished.FindString(line); w != "" {
				t.Errorf("%s:%d: %q: finish it, or file it", path, i+1, w)
			}
		}
		f, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if vague[f.Name.Name] {
			t.Errorf("%s: package %s: name it by what it does", path, f.Name.Name)
		}
		if !strings.HasSuffix(path, "_test.go") && !ast.IsGenerated(f) {
			documented(t, fset, f)
			noExits(t, fset, f)
		}
	}
}

// documented wants a comment on every exported name.
func documented(t *testing.T, fset *token.FileSet, f *ast.File) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv)) {
				t.Errorf("%s: %s has no doc comment", fset.Position(d.Pos()), d.Name.Name)
			}
		case *ast.GenDecl:
			documentedSpecs(t, fset, d)
		}
	}
}

func documentedSpecs(t *testing.T, fset *token.FileSet, d *ast.GenDecl) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				t.Errorf("%s: type %s has no doc comment", fset.Position(s.Pos()), s.Name.Name)
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					t.Errorf("%s: %s has no doc comment", fset.Position(s.Pos()), n.Name)
				}
			}
		}
	}
}

func exportedReceiver(r *ast.FieldList) bool {
	e := r.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// noExits refuses panics and exits outside of main: errors are returned. A
// function that is a process of its own says so in a //house:exception line.
func noExits(t *testing.T, fset *token.FileSet, f *ast.File) {
	if f.Name.Name == "main" {
		return
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if d, ok := n.(*ast.FuncDecl); ok && excepted(d.Doc) {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			if fun.Name == "panic" {
				t.Errorf("%s: panic outside main: return an error", fset.Position(n.Pos()))
			}
		case *ast.SelectorExpr:
			if x, ok := fun.X.(*ast.Ident); ok && (x.Name == "log" && strings.HasPrefix(fun.Sel.Name, "Fatal") || x.Name == "os" && fun.Sel.Name == "Exit") {
				t.Errorf("%s: %s.%s outside main: return an error", fset.Position(n.Pos()), x.Name, fun.Sel.Name)
			}
		}
		return true
	})
}

// excepted tells whether a comment holds the directive, with a reason.
func excepted(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, directive) })
}
