package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// namePattern is what repositories, environments, policies, commands, users
// and targets may be called: such names become parts of ids, paths and URLs.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

const nameMend = "use letters, digits, dots, dashes and underscores, and start with a letter or digit"

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func comparePlaces(a, b plan.Diagnostic) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// check looks at what the types alone can't tell.
func (p *serverParser) check() {
	p.names("repositories", sorted(p.s.Repositories))
	p.names("policies", sorted(p.s.Policies))
	p.names("environments", sorted(p.s.Environments))
	p.names("commands", sorted(p.s.Commands))
	for _, name := range sorted(p.s.Repositories) {
		p.repository("repositories."+name, p.s.Repositories[name])
	}
	for _, name := range sorted(p.s.Policies) {
		p.policy("policies."+name, p.s.Policies[name])
	}
	for _, name := range sorted(p.s.Environments) {
		p.environment("environments."+name, p.s.Environments[name])
	}
	for _, name := range sorted(p.s.Users) {
		p.user("users."+name, p.s.Users[name])
	}
	p.registries()
	p.logins()
	p.secretStores()
	for i, n := range p.s.Notify {
		p.globs(fmt.Sprintf("notify[%d].environments", i), n.Environments)
		p.globs(fmt.Sprintf("notify[%d].targets", i), n.Targets)
	}
	if (p.s.Listen.TLSCert == "") != (p.s.Listen.TLSKey == "") {
		p.fail("listen", "give both tlsCert and tlsKey, or neither", "one half of the TLS key pair is missing")
	}
	p.address("listen.publicURL", p.s.Listen.PublicURL)
	if p.s.Limits.RetryMin > p.s.Limits.RetryMax {
		p.fail("limits.retryMin", "make it smaller than retryMax", "retryMin (%s) is longer than retryMax (%s)", p.s.Limits.RetryMin, p.s.Limits.RetryMax)
	}
	if c := p.s.Control; c != nil && c.Repository != "" && p.s.Repositories[c.Repository] == nil {
		p.fail("control.repository", strict.Mend(c.Repository, sorted(p.s.Repositories)), "there is no repository %q", c.Repository)
	}
	p.database()
}

func (p *serverParser) names(kind string, names []string) {
	for _, name := range names {
		if !namePattern.MatchString(name) {
			p.fail(kind+"."+name, nameMend, "%q can't be a name", name)
		}
	}
}

// database refuses what is neither PostgreSQL nor a reference, without
// printing it: there may be a password in it.
func (p *serverParser) database() {
	db := p.s.Database
	switch scheme, _, _ := strings.Cut(db, ":"); scheme {
	case "", "env", "file":
	case "postgres", "postgresql":
		if _, err := url.Parse(db); err != nil {
			p.fail("database", "write postgres://user@host/name, or a reference: env:NAME, file:PATH", "the URL can't be read")
		}
	default:
		p.fail("database", "write postgres://user@host/name, or a reference: env:NAME, file:PATH; leave it out for SQLite", "the database is neither a PostgreSQL URL nor a reference")
	}
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

func (p *serverParser) repository(base string, r *Repository) {
	r.Source = p.At(strict.Locate(p.root, base))
	set := 0
	for _, s := range []string{r.Branch, r.Tags, r.Commit} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		p.fail(base, "keep one of branch, tags and commit", "more than one of branch, tags and commit is given")
	}
	if r.Commit != "" && !commitPattern.MatchString(r.Commit) {
		p.fail(base+".commit", "write all of its 40 (or 64) hexadecimal digits", "%q is not a full commit id", r.Commit)
	}
	if a, err := mail.ParseAddress(r.CommitAs); r.CommitAs != "" && (err != nil || a.Name == "") {
		p.fail(base+".commitAs", "write NAME <ADDRESS>", "%q names no author", r.CommitAs)
	}
	if u, err := url.Parse(r.URL); err == nil && u.User != nil {
		if _, has := u.User.Password(); has {
			p.fail(base+".url", "move it to credentials, as a reference", "the URL holds a password")
		}
	}
	if s := r.Signatures; s != nil && len(s.GPG)+len(s.SSH) == 0 {
		p.fail(base+".signatures", "list key files under gpg or ssh", "no keys are given, so no signature could ever count")
	}
	p.forge(base, r)
}

func (p *serverParser) policy(base string, pol *Policy) {
	pol.Source = p.At(strict.Locate(p.root, base))
	for _, impact := range sorted(pol.Guard) {
		if !slices.Contains(Impacts, impact) {
			p.fail(base+".guard."+impact, strict.Mend(impact, Impacts), "%q is no kind of impact", impact)
		}
	}
	for i, a := range pol.Approve {
		p.approval(fmt.Sprintf("%s.approve[%d]", base, i), a)
	}
}

func (p *serverParser) environment(base string, e *Environment) {
	if e.Policy != "" && p.s.Policies[e.Policy] == nil {
		p.fail(base+".policy", strict.Mend(e.Policy, sorted(p.s.Policies)), "there is no policy %q", e.Policy)
	}
	if d, ok := p.drivers[e.Driver]; ok && d.Info().Connect != nil && p.Late[base+".connect"] == nil && e.Connect == nil {
		p.fail(base, "add connect:", "the connection is missing")
	}
	for i, g := range e.Allow {
		at := fmt.Sprintf("%s.allow[%d]", base, i)
		if g.Repository != "" && p.s.Repositories[g.Repository] == nil {
			p.fail(at+".repository", strict.Mend(g.Repository, sorted(p.s.Repositories)), "there is no repository %q", g.Repository)
		}
		p.globs(at+".paths", g.Paths)
		p.globs(at+".branch", []string{g.Branch})
	}
}

var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (p *serverParser) user(base string, u *User) {
	if u.TokenHash != "" && !hashPattern.MatchString(u.TokenHash) {
		p.fail(base+".tokenHash", "`trueup token` makes a token and prints its hash", "expected the hexadecimal SHA-256 of a token, found something else (not shown)")
	}
	p.globs(base+".environments", u.Environments)
}

func (p *serverParser) globs(field string, globs []string) {
	for i, g := range globs {
		if msg := badGlob(g); msg != "" {
			p.fail(fmt.Sprintf("%s[%d]", field, i), "see the page on configuration, Globs", "%q %s", g, msg)
		}
	}
}

// badGlob says what is wrong with a glob over paths, or "".
func badGlob(g string) string {
	switch {
	case strings.HasPrefix(g, "/"):
		return "starts with a slash: paths start at the root of the repository"
	case !doublestar.ValidatePattern(g):
		return "is not a valid glob"
	case slices.Contains(strings.Split(g, "/"), ".."):
		return "leaves the repository"
	}
	return ""
}
