package codeowners

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// parser reads a file line by line.
type parser struct {
	file     *File
	section  *section
	line     int
	rules    int
	mistakes []Mistake
}

func (p *parser) fail(format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{p.line, fmt.Sprintf(format, args...)})
}

func (p *parser) read(line string) {
	text := strings.TrimSpace(line)
	switch {
	case len(line) > maxLine:
		p.fail("the line has %d bytes, the limit is %d", len(line), maxLine)
	case text == "" || text[0] == '#':
	case p.file.dialect == GitLab && (text[0] == '[' || strings.HasPrefix(text, "^[")):
		p.heading(text)
	case p.rules == maxRules:
		p.fail("there are more than %d entries", maxRules)
	default:
		p.rules++
		p.entry(text)
	}
}

var heading = regexp.MustCompile(`^(\^)?\[([^\[\]]*)\](?:\[(\d{1,3})\])?(?:[ \t]+(.*))?$`)

// heading reads a section's heading: ^[Name][2] @owner.
func (p *parser) heading(text string) {
	m := heading.FindStringSubmatch(text)
	if m == nil || strings.TrimSpace(m[2]) == "" {
		p.fail("expected [Section name], found %q", text)
		return
	}
	s := &section{name: strings.TrimSpace(m[2]), optional: m[1] != "", count: 1}
	if m[3] != "" {
		n, err := strconv.Atoi(m[3])
		if err != nil || n < 1 {
			p.fail("a section needs one approval at least, found %q", m[3])
			return
		}
		s.count = n
	}
	s.owners = p.owners(strings.Fields(m[4]))
	for _, old := range p.file.sections[1:] {
		if !strings.EqualFold(old.name, s.name) {
			continue
		}
		// Sections of one name are one section; the stricter heading counts.
		old.count, old.optional = max(old.count, s.count), old.optional && s.optional
		old.owners = s.owners
		p.section = old
		return
	}
	p.file.sections = append(p.file.sections, s)
	p.section = s
}

// entry reads a pattern and its owners.
func (p *parser) entry(text string) {
	words := p.words(text)
	if len(words) == 0 {
		return
	}
	r := rule{line: p.line}
	pattern := words[0]
	if p.file.dialect != GitHub {
		pattern, r.negated = strings.CutPrefix(pattern, "!")
	}
	var err error
	if r.pattern, err = p.compile(pattern); err != nil {
		p.fail("the pattern %q: %v", words[0], err)
		return
	}
	r.owners = p.owners(words[1:])
	switch {
	case len(words) > 1:
	case p.file.dialect == GitLab && r.negated:
	case p.file.dialect == GitLab && len(p.section.owners) > 0:
		r.owners = p.section.owners
	case p.file.dialect == Gitea:
		p.fail("the pattern has no owners")
	}
	if p.file.dialect == GitLab && r.negated && len(words) > 1 {
		p.fail("an exclusion has no owners")
	}
	p.section.rules = append(p.section.rules, r)
}

// words splits an entry at white space. A comment at its end is one on GitHub
// and Gitea; GitLab would read owners in it. A backslash keeps the next
// character's meaning away.
func (p *parser) words(text string) []string {
	var words []string
	var b strings.Builder
	pending := false
	flush := func() {
		if pending {
			words = append(words, b.String())
		}
		b.Reset()
		pending = false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			pending = true
			b.WriteString(p.escaped(text[i], len(words) == 0))
		case c == '\\':
			p.fail("a backslash ends the line")
			return nil
		case c == ' ' || c == '\t':
			flush()
		case c == '#' && p.file.dialect == GitLab:
			p.fail("GitLab knows no comment behind an entry; write \\# for the character")
			return nil
		case c == '#':
			flush()
			return words
		default:
			pending = true
			b.WriteByte(c)
		}
	}
	flush()
	return words
}

// escaped gives what a backslash and a character mean. In patterns of GitHub
// and GitLab the backslash stays before what may be special there; Gitea takes
// every backslash away, so that its regular expressions have two.
func (p *parser) escaped(c byte, pattern bool) string {
	if pattern && p.file.dialect != Gitea && c != ' ' && c != '\t' && c != '#' {
		return `\` + string(c)
	}
	return string(c)
}

var (
	loginName = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,254})$`)
	mail      = regexp.MustCompile(`^[^\s@<>"]+@[^\s@<>"]+$`)
)

func (p *parser) owners(words []string) []Owner {
	var out []Owner
	for _, w := range words {
		if p.file.dialect == Gitea {
			w = "@" + strings.TrimPrefix(w, "@")
		}
		o, ok := ownerOf(p.file.dialect, w)
		if !ok {
			p.fail("%q is no owner: write @name, @org/team or an e-mail address", w)
			continue
		}
		out = append(out, o)
	}
	return out
}

func ownerOf(d Dialect, w string) (Owner, bool) {
	if role, ok := strings.CutPrefix(w, "@@"); ok {
		role = strings.TrimSuffix(role, "s")
		return Owner{Role, role}, d == GitLab && (role == "developer" || role == "maintainer" || role == "owner")
	}
	name, at := strings.CutPrefix(w, "@")
	if !at {
		return Owner{Email, w}, d != Gitea && mail.MatchString(w)
	}
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if !loginName.MatchString(part) {
			return Owner{}, false
		}
	}
	switch {
	case len(parts) == 1:
		return Owner{Login, name}, true
	case len(parts) == 2 || d == GitLab:
		return Owner{Team, name}, true
	}
	return Owner{}, false
}
