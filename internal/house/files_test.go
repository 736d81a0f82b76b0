package house

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// root is the top of the module, seen from this package.
const root = "../../"

// goFiles lists the module's Go files, relative to its top.
func goFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "testdata", "bin", "dist", "node_modules":
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(p, ".go") {
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found only %d Go files below %s", len(out), root)
	}
	return out
}

func dir(p string) string { return path.Dir(p) }

func read(t *testing.T, p string) string {
	t.Helper()
	b, err := os.ReadFile(root + p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
