package source

import "testing"

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern, path  string
		covered, below bool
	}{
		{"a/b", "a/b", true, true},
		{"a/b", "a/b/c/d", true, true},
		{"a/b", "a", false, true},
		{"a/b", ".", false, true},
		{"a/b", "a/bc", false, false},
		{"a/b", "b", false, false},
		{"mods/**", "mods/vpc/x.tf", true, true},
		{"mods/**", "modsx", false, false},
		{"**", "x", true, true},
		{".", "x/y", true, true},
		{"**/*.tf", "x.tf", true, true},
		{"**/*.tf", "a/b/x.tf", true, true},
		{"**/*.tf", "a/b/x.md", false, true},
		{"a/**/z", "a/z", true, true},
		{"a/**/z", "a/b/c/z/deep", true, true},
		{"a/**/z", "b/z", false, false},
		{"*.yaml", "x.yaml", true, true},
		{"*.yaml", "d/x.yaml", false, false},
		{"{a,b/{c,d}}/x", "b/d/x", true, true},
		{"{a,b/{c,d}}/x", "b/x", false, false},
		{"a[0-9]", "a7", true, true},
		{"dir/", "dir/x", true, true},
		{"./dir", "dir/x", true, true},
		{Literal("we[i]rd{*},?"), "we[i]rd{*},?", true, true},
		{Literal("a*"), "ab", false, false},
	} {
		g, err := NewGlobs(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if covered, below := g.Match(c.path); covered != c.covered || below != c.below {
			t.Errorf("%s on %s: %v %v", c.pattern, c.path, covered, below)
		}
	}
	for _, bad := range []string{"/abs", "../x", "a/../b", "a//b", "a**", "[", "{a", "a}", "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"} {
		if _, err := NewGlobs(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzGlobs(f *testing.F) {
	f.Add("a/**/b", "a/x/b")
	f.Add("{a,b}/*", "b/c")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		g, err := NewGlobs(pattern)
		if err != nil {
			return
		}
		covered, below := g.Match(path)
		if covered && !below {
			t.Errorf("%q covers %q and yet nothing below it", pattern, path)
		}
		if inner, _ := g.Match(path + "/x"); covered && path != "" && path != "." && !inner {
			t.Errorf("%q covers %q but not what is in it", pattern, path)
		}
		if lit, err := NewGlobs(Literal(pattern)); err == nil && pattern != "" {
			if ok, _ := lit.Match(pattern); !ok && clean(pattern) == pattern {
				t.Errorf("%q as a literal doesn't match itself", pattern)
			}
		}
	})
}
