// Package codeowners reads the files in which GitHub, GitLab, Gitea and
// Forgejo name the owners of paths. It is strict: what a forge would skip with
// a warning is a mistake here, because an owner that is silently missing would
// let somebody else approve. It does no input or output.
package codeowners

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of a file.
const (
	MaxBytes = 1 << 20
	maxRules = 10_000
	maxLine  = 4096
)

// Dialect is a forge's form of the file.
type Dialect string

// The dialects.
const (
	GitHub Dialect = "github"
	GitLab Dialect = "gitlab"
	Gitea  Dialect = "gitea"
)

// Places gives where a forge looks for the file, in its order, nil for a forge
// whose form is not known. The first that is there counts.
func Places(d Dialect) []string {
	switch d {
	case GitHub:
		return []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}
	case GitLab:
		return []string{"CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"}
	case Gitea:
		return []string{"CODEOWNERS", "docs/CODEOWNERS", ".gitea/CODEOWNERS", ".forgejo/CODEOWNERS"}
	}
	return nil
}

// Kind is what sort of owner it is.
type Kind string

// The kinds: @name, @org/team, an address, a GitLab role (@@maintainer). On
// GitLab @name may be a group as well as a user.
const (
	Login Kind = "login"
	Team  Kind = "team"
	Email Kind = "email"
	Role  Kind = "role"
)

// Owner is one owner as the file writes it, without the at signs.
type Owner struct {
	Kind Kind
	Name string
}

// String gives the owner as a file writes it.
func (o Owner) String() string {
	switch o.Kind {
	case Email:
		return o.Name
	case Role:
		return "@@" + o.Name
	}
	return "@" + o.Name
}

// Group is one set of owners of a path: Count of them are needed. GitLab has
// one for each section, the others one at most.
type Group struct {
	Section  string
	Owners   []Owner
	Count    int
	Optional bool
	Line     int // of the entry that decided
}

// File is a parsed file.
type File struct {
	dialect  Dialect
	sections []*section
}

type section struct {
	name     string
	optional bool
	count    int
	owners   []Owner // of entries that name none
	rules    []rule
}

type rule struct {
	pattern *regexp.Regexp
	negated bool
	owners  []Owner
	line    int
}

// Mistake is one line that can't be read.
type Mistake struct {
	Line int
	Text string
}

// Error gives line and text.
func (m Mistake) Error() string { return fmt.Sprintf("line %d: %s", m.Line, m.Text) }

// Parse reads a file. With mistakes there is no file.
func Parse(d Dialect, body []byte) (*File, []Mistake) {
	if Places(d) == nil {
		return nil, []Mistake{{0, fmt.Sprintf("the form of %q is not known", d)}}
	}
	if len(body) > MaxBytes {
		return nil, []Mistake{{0, fmt.Sprintf("the file has %d bytes, the limit is %d", len(body), MaxBytes)}}
	}
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		return nil, []Mistake{{0, "the file is not text in UTF-8"}}
	}
	p := &parser{file: &File{dialect: d, sections: []*section{{count: 1}}}}
	p.section = p.file.sections[0]
	for i, line := range strings.Split(strings.TrimPrefix(string(body), "\ufeff"), "\n") {
		p.line = i + 1
		p.read(strings.TrimRight(line, "\r"))
		if len(p.mistakes) >= 100 {
			break
		}
	}
	if len(p.mistakes) > 0 {
		return nil, p.mistakes
	}
	return p.file, nil
}

// Owners gives the groups of owners of a path from the repository's root; none
// is nobody.
func (f *File) Owners(path string) []Group {
	if f == nil {
		return nil
	}
	if f.dialect == Gitea {
		return f.union(path)
	}
	var out []Group
	for _, s := range f.sections {
		if g, ok := s.last(path); ok && len(g.Owners) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// last gives the owners by the last entry of a section that matches. An
// exclusion takes a path out of its section for good.
func (s *section) last(path string) (Group, bool) {
	g := Group{Section: s.name, Count: s.count, Optional: s.optional}
	found := false
	for _, r := range s.rules {
		if !r.pattern.MatchString(path) {
			continue
		}
		if r.negated {
			return Group{}, false
		}
		g.Owners, g.Line, found = r.owners, r.line, true
	}
	return g, found
}

// union gives the owners of all entries that match, as Gitea asks them all.
func (f *File) union(path string) []Group {
	g := Group{Count: 1}
	for _, r := range f.sections[0].rules {
		if r.pattern.MatchString(path) == r.negated {
			continue
		}
		g.Line = r.line
		for _, o := range r.owners {
			if !slices.Contains(g.Owners, o) {
				g.Owners = append(g.Owners, o)
			}
		}
	}
	if len(g.Owners) == 0 {
		return nil
	}
	return []Group{g}
}
