// Package follow picks the newest of many tags of an image, or versions of a
// chart, as a rule says, and writes and reads references to them.
package follow

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Orders of tags that a regular expression picks.
const (
	Numeric      = "numeric"
	Alphabetical = "alphabetical"
)

// Rule says which tags count and which of them is the newest. It is a range of
// versions, a regular expression with an order, both together (the expression
// then finds the version in the tag), or one tag whose content is followed.
type Rule struct {
	Semver     string
	Prerelease bool // versions such as 1.3.0-rc.1 count, too
	Regexp     string
	Order      string
	Tag        string
	Exclude    []string // globs of tags that never count
}

// Picker is a rule that was checked.
type Picker struct {
	rule       Rule
	constraint *semver.Constraints
	re         *regexp.Regexp
}

const (
	maxRange  = 200
	maxRegexp = 500
)

// New checks a rule.
func New(r Rule) (*Picker, error) {
	p := &Picker{rule: r}
	for _, g := range r.Exclude {
		if _, err := path.Match(g, "x"); err != nil || g == "" {
			return nil, fmt.Errorf("exclude: %q is no glob", g)
		}
	}
	if r.Tag != "" {
		if r.Semver != "" || r.Regexp != "" || r.Order != "" || r.Prerelease {
			return nil, errors.New("tag follows one tag; it goes with nothing else")
		}
		if !tagForm.MatchString(r.Tag) {
			return nil, fmt.Errorf("%q is no tag", r.Tag)
		}
		return p, nil
	}
	if r.Semver == "" && r.Regexp == "" {
		return nil, errors.New("give semver, regexp or tag")
	}
	if err := p.versions(); err != nil {
		return nil, err
	}
	return p, p.expression()
}

func (p *Picker) versions() error {
	r := p.rule
	switch {
	case r.Semver == "" && r.Prerelease:
		return errors.New("prerelease goes with semver")
	case r.Semver == "":
		return nil
	case r.Order != "":
		return errors.New("versions have an order of their own; leave order out")
	case len(r.Semver) > maxRange:
		return fmt.Errorf("semver has more than %d characters", maxRange)
	}
	c, err := semver.NewConstraint(r.Semver)
	if err != nil {
		return fmt.Errorf("semver: %q is no range of versions, such as \">=1.2 <2\" or 1.x", r.Semver)
	}
	c.IncludePrerelease = r.Prerelease
	p.constraint = c
	return nil
}

func (p *Picker) expression() error {
	r := p.rule
	if r.Regexp == "" {
		return nil
	}
	if len(r.Regexp) > maxRegexp {
		return fmt.Errorf("regexp has more than %d characters", maxRegexp)
	}
	re, err := regexp.Compile(`^(?:` + r.Regexp + `)$`)
	if err != nil {
		return fmt.Errorf("regexp: it can't be read: %w", err)
	}
	switch {
	case re.NumSubexp() > 1:
		return fmt.Errorf("regexp: it has %d groups; one says what is compared, the others are written (?:…)", re.NumSubexp())
	case r.Semver == "" && r.Order != Numeric && r.Order != Alphabetical:
		return fmt.Errorf("order: say how the tags are ordered: %s or %s", Numeric, Alphabetical)
	case r.Order == Numeric && re.NumSubexp() != 1:
		return errors.New(`regexp: put a group around the number: main-(\d+)`)
	}
	p.re = re
	return nil
}

// rank is what a tag is compared by.
type rank struct {
	version *semver.Version
	text    string
	numeric bool
}

func (a rank) compare(b rank) int {
	if a.version != nil {
		return a.version.Compare(b.version)
	}
	if a.numeric {
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), strings.Compare(a.text, b.text))
	}
	return strings.Compare(a.text, b.text)
}

// rank tells what a tag is compared by, whether or not it is in the range.
func (p *Picker) rank(tag string) (rank, bool) {
	text := tag
	if p.re != nil {
		m := p.re.FindStringSubmatch(tag)
		if m == nil {
			return rank{}, false
		}
		text = m[len(m)-1]
	}
	switch {
	case p.rule.Semver != "":
		v, ok := version(text)
		return rank{version: v}, ok
	case p.rule.Order == Numeric:
		if text == "" || strings.Trim(text, "0123456789") != "" {
			return rank{}, false
		}
		return rank{text: strings.TrimLeft(text, "0"), numeric: true}, true
	}
	return rank{text: text}, true
}

// version reads a whole version. A tag such as 1.2 is none: it moves with every
// 1.2.x. Registries allow no plus sign in a tag, so that an underscore stands
// for it.
func version(text string) (*semver.Version, bool) {
	text = strings.TrimPrefix(text, "v")
	if !strings.Contains(text, "+") {
		text = strings.Replace(text, "_", "+", 1)
	}
	v, err := semver.StrictNewVersion(text)
	return v, err == nil
}

func (p *Picker) excluded(tag string) bool {
	return slices.ContainsFunc(p.rule.Exclude, func(g string) bool {
		ok, err := path.Match(g, tag)
		return err == nil && ok
	})
}

// Newest picks the newest tag, "" where none fits, and tells how many fit.
func (p *Picker) Newest(tags []string) (newest string, fit int) {
	if p.rule.Tag != "" {
		if slices.Contains(tags, p.rule.Tag) {
			return p.rule.Tag, 1
		}
		return "", 0
	}
	var best rank
	for _, t := range tags {
		r, ok := p.rank(t)
		if !ok || p.excluded(t) || p.constraint != nil && !p.constraint.Check(r.version) {
			continue
		}
		fit++
		// Two spellings of one version: which of them it is must not depend on
		// the registry's order.
		if c := 0; newest != "" {
			if c = r.compare(best); c < 0 || c == 0 && t >= newest {
				continue
			}
		}
		newest, best = t, r
	}
	return newest, fit
}

// Relation is how a tag stands to the one that is in use.
type Relation int

// The relations.
const (
	Same    Relation = iota // the same, or another spelling of it
	Newer                   // than the one in use
	Older                   // than the one in use
	Unknown                 // the one in use is not of the form that the rule compares
)

// Compare tells how a tag that the rule picked stands to the one in use.
func (p *Picker) Compare(tag, inUse string) Relation {
	if tag == inUse {
		return Same
	}
	if p.rule.Tag != "" {
		return Unknown
	}
	a, ok := p.rank(tag)
	b, ok2 := p.rank(inUse)
	if ok && !ok2 && a.version != nil {
		// In use may be what is no whole version, or not of the expression's form.
		if v, err := semver.NewVersion(inUse); err == nil {
			b, ok2 = rank{version: v}, true
		}
	}
	if !ok || !ok2 {
		return Unknown
	}
	switch c := a.compare(b); {
	case c > 0:
		return Newer
	case c < 0:
		return Older
	}
	return Same
}
