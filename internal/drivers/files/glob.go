package files

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Globs are matched against a whole path below the root: "*" and "?" stay
// within a name, "**" stands for any number of directories, "[...]" for a
// class of characters. A leading slash means the root and may be left out.

// validGlob checks a pattern.
func validGlob(g string) error {
	if strings.Trim(g, "/") == "" {
		return errors.New("an empty glob")
	}
	for _, part := range strings.Split(strings.TrimPrefix(g, "/"), "/") {
		switch part {
		case "", ".", "..":
			return fmt.Errorf("glob %q has the part %q", g, part)
		}
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("glob %q: %w", g, err)
		}
	}
	return nil
}

// matchGlob tells whether the pattern matches the whole path.
func matchGlob(g, name string) bool {
	return matchParts(splitGlob(g), strings.Split(name, "/"))
}

// matchAbove tells whether the pattern may match something below the path.
func matchAbove(g, dir string) bool {
	parts := splitGlob(g)
	for _, name := range strings.Split(dir, "/") {
		if len(parts) == 0 {
			return false
		}
		if parts[0] == "**" {
			return true
		}
		if ok, err := path.Match(parts[0], name); err != nil || !ok {
			return false
		}
		parts = parts[1:]
	}
	return len(parts) > 0
}

func splitGlob(g string) []string { return strings.Split(strings.TrimPrefix(g, "/"), "/") }

// matchParts compares name by name. It keeps one place to go back to, the
// latest "**", so that its cost stays below pattern times path.
func matchParts(pattern, name []string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == "**" {
			star, mark = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if ok, err := path.Match(pattern[p], name[n]); err == nil && ok {
				p++
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

func matchAny(globs []string, name string) bool {
	for _, g := range globs {
		if matchGlob(g, name) {
			return true
		}
	}
	return false
}

// longestMatch gives the value of the longest glob that matches, the first in
// order where two are equally long.
func longestMatch(m map[string]string, name string) (string, bool) {
	best, found := "", false
	for _, g := range sortedKeys(m) {
		if len(g) > len(best) && matchGlob(g, name) {
			best, found = g, true
		}
	}
	return m[best], found
}
