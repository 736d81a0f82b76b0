package source

import (
	"fmt"
	"path"
	"strings"
)

// maxAlternatives bounds what {a,b} may expand to.
const maxAlternatives = 256

// Globs decides what a view may read. A pattern that matches a directory
// covers all that is in it. "**" matches any number of directories, "*", "?"
// and "[..]" match within one name, "{a,b}" is one or the other.
type Globs struct{ patterns [][]segment }

// segment is one part of a pattern between slashes.
type segment struct {
	text    string // a literal name or a pattern for path.Match
	literal bool
	stars   bool // "**"
}

func (s segment) match(name string) bool {
	if s.literal {
		return s.text == name
	}
	ok, _ := path.Match(s.text, name)
	return ok
}

// NewGlobs parses patterns; all mistakes are reported at once.
func NewGlobs(patterns ...string) (Globs, error) {
	var g Globs
	var bad []string
	for _, p := range patterns {
		alts, err := expand(p)
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		for _, a := range alts {
			segs, err := parsePattern(a)
			if err != nil {
				bad = append(bad, fmt.Sprintf("%q: %v", p, err))
				break
			}
			g.patterns = append(g.patterns, segs)
		}
	}
	if len(bad) > 0 {
		return g, fmt.Errorf("inputs: %s", strings.Join(bad, "; "))
	}
	return g, nil
}

// Literal makes the pattern of a path that is meant as it stands.
func Literal(p string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "{", `\{`, "}", `\}`, ",", `\,`).Replace(p)
}

func parsePattern(p string) ([]segment, error) {
	if strings.HasPrefix(p, "/") {
		return nil, fmt.Errorf("starts with a slash: paths start at the root of the repository")
	}
	p = strings.TrimSuffix(strings.TrimPrefix(p, "./"), "/")
	if p == "" || p == "." {
		return nil, nil
	}
	var segs []segment
	for _, s := range strings.Split(p, "/") {
		if s == "" || s == "." || s == ".." {
			return nil, fmt.Errorf("holds the part %q", s)
		}
		if _, err := path.Match(s, "x"); err != nil {
			return nil, fmt.Errorf("bad pattern %q", s)
		}
		if s != "**" && strings.Contains(s, "**") {
			return nil, fmt.Errorf("** must stand alone between slashes")
		}
		segs = append(segs, newSegment(s))
	}
	// A directory covers all that is in it, so "x/**" is "x".
	for len(segs) > 0 && segs[len(segs)-1].stars {
		segs = segs[:len(segs)-1]
	}
	return segs, nil
}

func newSegment(s string) segment {
	if s == "**" {
		return segment{stars: true}
	}
	var lit strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte("*?[", s[i]) >= 0 {
			return segment{text: s}
		}
		if s[i] == '\\' {
			i++
		}
		lit.WriteByte(s[i])
	}
	return segment{text: lit.String(), literal: true}
}

// staticPrefix gives the path that every match of the pattern begins with, and
// whether that is the whole pattern.
func staticPrefix(pat []segment) (prefix string, whole bool) {
	prefix = "."
	for _, s := range pat {
		if !s.literal {
			return prefix, false
		}
		prefix = join(prefix, s.text)
	}
	return prefix, true
}

// expand resolves {a,b}, also nested.
func expand(p string) ([]string, error) {
	done, todo := []string{}, []string{p}
	for len(todo) > 0 {
		cur := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		head, alts, tail, ok, err := cutBraces(cur)
		if err != nil {
			return nil, err
		}
		if !ok {
			done = append(done, cur)
		}
		for _, a := range alts {
			todo = append(todo, head+a+tail)
		}
		if len(done)+len(todo) > maxAlternatives {
			return nil, fmt.Errorf("%q has more than %d alternatives", p, maxAlternatives)
		}
	}
	return done, nil
}

// cutBraces cuts the first pair of braces out of a pattern.
func cutBraces(p string) (head string, alts []string, tail string, ok bool, err error) {
	depth, open, from := 0, -1, 0
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			if depth == 0 {
				open, from = i, i+1
			}
			depth++
		case ',':
			if depth == 1 {
				alts = append(alts, p[from:i])
				from = i + 1
			}
		case '}':
			if depth == 0 {
				return "", nil, "", false, fmt.Errorf("%q: } without {", p)
			}
			if depth--; depth == 0 {
				return p[:open], append(alts, p[from:i]), p[i+1:], true, nil
			}
		}
	}
	if depth > 0 {
		return "", nil, "", false, fmt.Errorf("%q: { without }", p)
	}
	return "", nil, "", false, nil
}

// Match tells whether a path is covered, and if not, whether something below
// it may be.
func (g Globs) Match(p string) (covered, below bool) {
	var segs []string
	if p != "." && p != "" {
		segs = strings.Split(p, "/")
	}
	for _, pat := range g.patterns {
		c, b := matchSegments(pat, segs)
		if c {
			return true, true
		}
		below = below || b
	}
	return false, below
}

// matchSegments runs the pattern over the path as a set of positions, so that
// its cost is bounded whatever the pattern.
func matchSegments(pat []segment, segs []string) (covered, below bool) {
	at := make([]bool, len(pat)+1)
	at[0] = true
	skipStars(at, pat)
	for _, s := range segs {
		if at[len(pat)] {
			return true, true
		}
		next, alive := make([]bool, len(pat)+1), false
		for pos, p := range pat {
			switch {
			case !at[pos]:
			case p.stars:
				next[pos], alive = true, true
			case p.match(s):
				next[pos+1], alive = true, true
			}
		}
		if !alive {
			return false, false
		}
		at = next
		skipStars(at, pat)
	}
	return at[len(pat)], true
}

func skipStars(at []bool, pat []segment) {
	for i, p := range pat {
		if at[i] && p.stars {
			at[i+1] = true
		}
	}
}
