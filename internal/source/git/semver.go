package git

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// version is a semantic version; missing parts are zero.
type version struct {
	num [3]uint64
	pre []string
}

var versionText = regexp.MustCompile(`^[vV]?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$`)

func parseVersion(s string) (version, bool) {
	m := versionText.FindStringSubmatch(s)
	if m == nil {
		return version{}, false
	}
	var v version
	for i := range v.num {
		v.num[i], _ = strconv.ParseUint(m[i+1], 10, 64)
	}
	if m[4] != "" {
		v.pre = strings.Split(m[4], ".")
	}
	return v, true
}

// compare orders versions as semver.org section 11 does.
func (v version) compare(w version) int {
	if c := slices.Compare(v.num[:], w.num[:]); c != 0 {
		return c
	}
	switch {
	case len(v.pre) == 0 && len(w.pre) == 0:
		return 0
	case len(v.pre) == 0:
		return 1
	case len(w.pre) == 0:
		return -1
	}
	return slices.CompareFunc(v.pre, w.pre, comparePre)
}

func comparePre(a, b string) int {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil && x < y:
		return -1
	case errA == nil && errB == nil && x > y:
		return 1
	case errA == nil && errB == nil:
		return 0
	case errA == nil:
		return -1
	case errB == nil:
		return 1
	}
	return strings.Compare(a, b)
}

// bound is one comparison: the version is at least min, or below max.
type bound struct {
	op string // >=, >, <, <=, =, !=
	v  version
}

// holdsAll tells whether all bounds hold. 2.0.0-rc1 is before 2.0.0, yet nobody
// who says <2.0.0 means it, unless another bound names a pre-release of 2.0.0.
func holdsAll(all []bound, v version) bool {
	named := slices.ContainsFunc(all, func(b bound) bool { return len(b.v.pre) > 0 && b.v.num == v.num })
	return !slices.ContainsFunc(all, func(b bound) bool {
		return !b.holds(v) || (b.op == "<" && !named && len(v.pre) > 0 && len(b.v.pre) == 0 && v.num == b.v.num)
	})
}

func (b bound) holds(v version) bool {
	c := v.compare(b.v)
	switch b.op {
	case ">=":
		return c >= 0
	case ">":
		return c > 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case "!=":
		return c != 0
	}
	return c == 0
}

// tagPattern selects tags: by a range of versions or by a glob.
type tagPattern struct {
	glob string
	any  [][]bound // one of these, all of its bounds
	pre  bool      // pre-releases count
}

var comparator = regexp.MustCompile(`^(>=|<=|!=|==|=|>|<|~>|~|\^)?\s*[vV]?(\d{1,9}|[xX*])(?:\.(\d{1,9}|[xX*]))?(?:\.(\d{1,9}|[xX*]))?(?:-([0-9A-Za-z.-]+))?$`)

// parseTagPattern reads ">=1.2 <2 || ^3", or takes the text as a glob.
func parseTagPattern(s string) (tagPattern, error) {
	p := tagPattern{}
	spaced := regexp.MustCompile(`(>=|<=|!=|==|=|>|<|~>|~|\^)\s+`).ReplaceAllString(s, "$1")
	for _, alt := range strings.Split(spaced, "||") {
		var all []bound
		fields := strings.FieldsFunc(alt, func(r rune) bool { return r == ' ' || r == ',' })
		for _, f := range fields {
			m := comparator.FindStringSubmatch(f)
			if m == nil {
				return parseGlob(s)
			}
			p.pre = p.pre || m[5] != ""
			all = append(all, bounds(m)...)
		}
		if len(fields) == 0 {
			return parseGlob(s)
		}
		p.any = append(p.any, all)
	}
	return p, nil
}

func parseGlob(s string) (tagPattern, error) {
	if _, err := path.Match(s, "x"); err != nil || s == "" || strings.ContainsAny(s, " <>=^~|") {
		return tagPattern{}, fmt.Errorf("%q is neither a range of versions (\">=1.2 <2\") nor a glob (\"release-*\")", s)
	}
	return tagPattern{glob: s, pre: true}, nil
}

// bounds turns one comparator into bounds.
func bounds(m []string) []bound {
	var v version
	given := 0
	for i := range 3 {
		n, err := strconv.ParseUint(m[i+2], 10, 64)
		if err != nil {
			break
		}
		v.num[i] = n
		given++
	}
	if m[5] != "" {
		v.pre = strings.Split(m[5], ".")
	}
	low := bound{">=", v}
	switch op := m[1]; {
	case op == "^":
		at := 0
		for at < given-1 && v.num[at] == 0 {
			at++
		}
		return []bound{low, {"<", next(v, min(at, given-1))}}
	case op == "~" || op == "~>":
		return []bound{low, {"<", next(v, min(1, given-1))}}
	case given == 3 && op == "==", given == 3 && op == "":
		return []bound{{"=", v}}
	case given == 3:
		return []bound{{op, v}}
	case op == "" || op == "=" || op == "==":
		return []bound{low, {"<", next(v, given-1)}}
	case op == ">":
		return []bound{{">=", next(v, given-1)}}
	case op == "<=":
		return []bound{{"<", next(v, given-1)}}
	default:
		return []bound{{op, v}}
	}
}

// next gives the first version after all that share the parts up to at. A
// negative at means that every version is shared.
func next(v version, at int) version {
	if at < 0 {
		return version{num: [3]uint64{1 << 62}}
	}
	var out version
	copy(out.num[:], v.num[:at+1])
	out.num[at]++
	return out
}

func (p tagPattern) matches(tag string) bool {
	if p.glob != "" {
		ok, _ := path.Match(p.glob, tag)
		return ok
	}
	v, ok := parseVersion(tag)
	if !ok || (len(v.pre) > 0 && !p.pre) {
		return false
	}
	return slices.ContainsFunc(p.any, func(all []bound) bool { return holdsAll(all, v) })
}

// less orders tags: by version where both hold one, else by text, those
// without a version first.
func (p tagPattern) less(a, b string) bool {
	v, okA := tagVersion(a)
	w, okB := tagVersion(b)
	if okA && okB {
		if c := v.compare(w); c != 0 {
			return c < 0
		}
	}
	if okA != okB {
		return okB
	}
	return a < b
}

// tagVersion finds the version at the end of a tag: v1.2, app/v1.2, release-1.2.
func tagVersion(tag string) (version, bool) {
	if v, ok := parseVersion(tag); ok {
		return v, true
	}
	i := strings.IndexAny(tag[strings.LastIndexByte(tag, '/')+1:], "0123456789")
	if i < 0 {
		return version{}, false
	}
	return parseVersion(tag[strings.LastIndexByte(tag, '/')+1+i:])
}

// highest gives the tag that wins, "" if none matches.
func (p tagPattern) highest(tags []string) string {
	best := ""
	for _, t := range tags {
		if p.matches(t) && (best == "" || p.less(best, t)) {
			best = t
		}
	}
	return best
}
