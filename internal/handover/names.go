package handover

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Clean makes a name of a text: letters, digits, dots, dashes, underscores.
func Clean(text string) string {
	name := strings.Trim(notInNames.ReplaceAllString(text, "-"), "-._")
	if len(name) > 100 {
		name = strings.Trim(name[:100], "-._")
	}
	if name == "" {
		return "unnamed"
	}
	return name
}

// Names hands out names that nobody else has.
type Names map[string]bool

// Take gives the first of the wishes that is free, or the last one with a
// number behind it.
func (n Names) Take(wishes ...string) string {
	for _, w := range wishes {
		if w = Clean(w); !n[w] {
			n[w] = true
			return w
		}
	}
	last := Clean(wishes[len(wishes)-1])
	for i := 2; ; i++ {
		if w := fmt.Sprintf("%s-%d", last, i); !n[w] {
			n[w] = true
			return w
		}
	}
}

// scp is git@host:path, which is SSH as well.
var scp = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+:[^/\\]`)

// GitURL takes a user's password or token out of a Git URL. The second value
// tells that there was one.
func GitURL(text string) (clean string, secret bool) {
	u, err := url.Parse(text)
	if err != nil || u.User == nil || u.Scheme == "" {
		return text, false
	}
	if _, has := u.User.Password(); !has && u.Scheme == "ssh" {
		return text, false
	}
	// What stands before the host of an http(s) URL may be a token, with or
	// without a password beside it.
	u.User = nil
	return u.String(), true
}

// SSH tells whether Git reaches a URL over SSH.
func SSH(text string) bool {
	return strings.HasPrefix(text, "ssh://") || !strings.Contains(text, "://") && scp.MatchString(text)
}

// SameRepository is equal for the URLs of one repository: with and without
// .git, a slash at the end, upper case in the host, SSH in its two spellings.
func SameRepository(text string) string {
	text, _ = GitURL(text)
	if !strings.Contains(text, "://") && scp.MatchString(text) {
		host, rest, _ := strings.Cut(text, ":")
		text = "ssh://" + host + "/" + rest
	}
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	host := strings.ToLower(u.Hostname())
	return host + "/" + strings.ToLower(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"))
}

// BaseName is the last part of a repository's URL.
func BaseName(text string) string {
	base := path.Base(strings.TrimSuffix(strings.TrimRight(strings.ReplaceAll(text, ":", "/"), "/"), ".git"))
	return Clean(base)
}

// SecretFile is where the content of a secret is to be put: a reference, and
// the file that it names, beside server.yaml.
func SecretFile(parts ...string) (ref, file string) {
	file = "secrets/" + Clean(strings.Join(parts, "-"))
	return "file:" + file, file
}

// InTree makes a path of a repository of what another tool calls one: "./apps/",
// "/apps" and "apps" are one directory. A path that leaves the repository is
// refused.
func InTree(text string) (string, bool) {
	p := path.Clean(strings.TrimLeft(text, "/"))
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", false
	}
	return p, true
}
