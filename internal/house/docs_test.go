package house

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNamesRealTests keeps the table of safety rules true: a test
// that is renamed or removed has to be mended there.
func TestArchitectureNamesRealTests(t *testing.T) {
	var all strings.Builder
	for _, p := range goFiles(t) {
		if strings.HasSuffix(p, "_test.go") || strings.Contains(p, "/drivertest/") {
			all.WriteString(read(t, p))
		}
	}
	names := regexp.MustCompile("`((?:Test|Fuzz|test)[A-Z][A-Za-z0-9_]*)`").FindAllStringSubmatch(read(t, "docs/architecture.md"), -1)
	if len(names) < 20 {
		t.Fatalf("docs/architecture.md names only %d tests", len(names))
	}
	for _, n := range names {
		if !strings.Contains(all.String(), "func "+n[1]+"(") {
			t.Errorf("docs/architecture.md names %s, which is no test", n[1])
		}
	}
}

// TestLinks finds links between the pages that lead nowhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]+)(?:#[^)]*)?\)`)
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(p, ".md") {
			return nil
		}
		for _, m := range link.FindAllStringSubmatch(read(t, p), -1) {
			to := path.Join(path.Dir(p), m[1])
			if _, err := os.Stat(root + to); err != nil {
				t.Errorf("%s links to %s, which is not there", p, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
