package files

import (
	"path"
	"strings"
	"testing"
)

// FuzzGlob: matching agrees with a plain recursive definition and never takes
// long or panics.
func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"**", "a/b"}, {"a/**/b", "a/b"}, {"/etc/*", "etc/passwd"}, {"**/**/*", "a"}, {"a/**/c/**/d", "a/c/c/d/d"}, {"[a-c]?/**", "b1/x"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, g, name string) {
		if validGlob(g) != nil || len(g)+len(name) > 60 || strings.Count(g, "**") > 4 {
			return
		}
		got := matchGlob(g, name)
		if want := plainMatch(splitGlob(g), strings.Split(name, "/")); got != want {
			t.Fatalf("%q against %q is %v, it should be %v", g, name, got, want)
		}
		if got {
			for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
				if !matchAbove(g, dir) {
					t.Fatalf("%q matches %q, but not above it at %q", g, name, dir)
				}
			}
		}
	})
}

func plainMatch(p, n []string) bool {
	if len(p) == 0 {
		return len(n) == 0
	}
	if p[0] == "**" {
		return plainMatch(p[1:], n) || len(n) > 0 && plainMatch(p, n[1:])
	}
	if len(n) == 0 {
		return false
	}
	ok, err := path.Match(p[0], n[0])
	return err == nil && ok && plainMatch(p[1:], n[1:])
}

// FuzzEnter: whatever a path looks like, entering it never leaves the root.
func FuzzEnter(f *testing.F) {
	for _, s := range []string{"..", "a/../..", "/etc", "a//b", "link", "link/x", "a/./b", "\x00"} {
		f.Add(s)
	}
	root := f.TempDir()
	p, err := openPlace(root)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.close() })
	if err := p.root.MkdirAll("a/b", 0o755); err != nil {
		f.Fatal(err)
	}
	if err := p.root.Symlink("/", "link"); err != nil {
		f.Fatal(err)
	}
	allowed := map[uint64]bool{}
	for _, d := range []string{".", "a", "a/b"} {
		info, err := p.root.Stat(d)
		if err != nil {
			f.Fatal(err)
		}
		allowed[stampOf(info).inode] = true
	}
	f.Fuzz(func(t *testing.T, dir string) {
		at, err := p.enter(dir, true)
		if err != nil {
			return
		}
		defer at.Close()
		info, err := at.Stat(".")
		if err != nil || !allowed[stampOf(info).inode] {
			t.Fatalf("%q leads to %v, %v", dir, info, err)
		}
	})
}

// FuzzTemplateSource: repository content never panics the driver.
func FuzzTemplateSource(f *testing.F) {
	for _, s := range []string{"{{ .a }}", "{{ range .a }}{{ . }}{{ end }}", "{{ with .a }}{{ .b }}{{ else }}{{ $.c }}{{ end }}", "{{ printf \"%s\" (index .a 0) }}", "{{ template \"x\" }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { fuzzTemplate(t, text) })
}
