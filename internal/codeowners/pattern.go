package codeowners

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// compile turns a pattern into a regular expression over whole paths. The
// package regexp takes linear time whatever the pattern.
func (p *parser) compile(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, errors.New("it is empty")
	}
	var text string
	var err error
	switch p.file.dialect {
	case Gitea:
		text = pattern
		// Paths have no slash in front; Gitea's own examples write one.
		text = strings.TrimPrefix(text, "/")
	case GitLab:
		text, err = gitlabPattern(pattern)
	default:
		text, err = githubPattern(pattern)
	}
	if err != nil {
		return nil, err
	}
	return regexp.Compile("^(?:" + text + ")$")
}

// githubPattern follows gitignore without negation, classes and the escaped
// hash: a name without a slash matches anywhere, one with a slash from the
// root; a directory stands for all in it; a star at the end for what lies
// directly there.
func githubPattern(pattern string) (string, error) {
	if strings.HasPrefix(pattern, "!") {
		return "", errors.New("GitHub knows no exclusions")
	}
	if strings.ContainsAny(pattern, "[]") {
		return "", errors.New("GitHub knows no character ranges")
	}
	if strings.Contains(pattern, "***") {
		return "", errors.New("three stars mean nothing")
	}
	if pattern == "/" {
		return "", errors.New("it matches nothing; write * for everything")
	}
	if pattern == "*" || pattern == "**" || pattern == "/**" {
		return ".*", nil
	}
	body, isDir := strings.CutSuffix(pattern, "/")
	body, rooted := strings.CutPrefix(body, "/")
	rooted = rooted || strings.Contains(body, "/")
	segments := strings.Split(body, "/")
	var b strings.Builder
	if !rooted {
		b.WriteString("(?:.*/)?")
	}
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "":
			return "", errors.New("it has two slashes in a row")
		case s == "**" && last:
			b.WriteString(".+")
		case s == "**":
			b.WriteString("(?:.*/)?")
		default:
			text, err := name(s, false)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			if !last {
				b.WriteByte('/')
			}
		}
	}
	switch end := segments[len(segments)-1]; {
	case isDir && end != "**":
		b.WriteString("/.*")
	case end == "*" && len(segments) > 1, end == "**":
	default:
		b.WriteString("(?:/.*)?")
	}
	return b.String(), nil
}

// gitlabPattern follows File.fnmatch with FNM_PATHNAME and FNM_DOTMATCH: a
// path without a slash in front matches anywhere, one with a slash behind
// stands for all in the directory, and anything else for that one path.
func gitlabPattern(pattern string) (string, error) {
	if pattern == "*" {
		return ".*", nil
	}
	prefix := "(?:.*/)?"
	if rest, rooted := strings.CutPrefix(pattern, "/"); rooted {
		prefix, pattern = "", rest
	}
	if pattern == "" {
		return prefix + ".*", nil
	}
	if strings.HasSuffix(pattern, "/") {
		pattern += "**/*"
	}
	segments := strings.Split(pattern, "/")
	var b strings.Builder
	b.WriteString(prefix)
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "":
			return "", errors.New("it has two slashes in a row")
		case s == "**" && !last:
			b.WriteString("(?:.*/)?")
		default:
			text, err := name(s, true)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			if !last {
				b.WriteByte('/')
			}
		}
	}
	return b.String(), nil
}

// name turns one part between slashes into an expression.
func name(s string, classes bool) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++ // the reader leaves none at the end
			if i == len(s) {
				return "", errors.New("a backslash stands before a slash")
			}
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		case c == '*':
			for i+1 < len(s) && s[i+1] == '*' {
				i++
			}
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '[' && classes:
			text, n, err := class(s[i:])
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i += n - 1
		default:
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		}
	}
	if s != "" && strings.Trim(s, "*") == "" {
		return "[^/]+", nil
	}
	return b.String(), nil
}

// class reads [a-z] or [^a-z] and gives its length.
func class(s string) (string, int, error) {
	end := strings.IndexByte(s[1:], ']')
	if end < 1 {
		return "", 0, fmt.Errorf("the range %q has no end", s)
	}
	inner := s[1 : 1+end]
	not := ""
	if inner[0] == '^' || inner[0] == '!' {
		not, inner = "^", inner[1:]
	}
	if inner == "" || strings.ContainsAny(inner, `\[`) {
		return "", 0, fmt.Errorf("the range %q can't be read", s[:end+2])
	}
	text := "[" + not + strings.NewReplacer("^", `\^`, "&", `\&`, "~", `\~`).Replace(inner) + "]"
	if not != "" {
		text = "[" + not + "/" + text[2:]
	}
	return text, end + 2, nil
}
