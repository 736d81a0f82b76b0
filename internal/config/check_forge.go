package config

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
)

// forge looks at a repository's forge and pull request settings.
func (p *serverParser) forge(base string, r *Repository) {
	p.people(base+".pullRequests.commands", r.PullRequests.Commands)
	p.people(base+".pullRequests.trusted", r.PullRequests.Trusted)
	if r.Forge == nil {
		if strict.Locate(p.root, base+".pullRequests") != strict.Locate(p.root, base) {
			p.fail(base+".pullRequests", "add forge: with one of "+strings.Join(forgeFields, ", "), "there are no pull requests without a forge")
		}
		return
	}
	fields, all := r.Forge.kinds()
	if len(all) != 1 {
		p.fail(base+".forge", "give one of "+strings.Join(forgeFields, ", "), "expected one kind of forge, found %d", len(all))
		return
	}
	at := base + ".forge." + fields[0]
	if g := r.Forge.GitHub; g != nil {
		p.github(at, g)
	}
	p.address(at+".url", all[0].URL)
	c, _ := r.ForgeConnection()
	if c.Kind != "github" && c.Kind != "gitlab" && c.Kind != "bitbucket" && c.URL == "" {
		p.fail(at, "add url:, the address of the forge", "the forge's address does not follow from the Git URL")
	}
	switch {
	case c.Project == "":
		p.fail(at, "add project:, the path of the repository on the forge", "the project does not follow from the Git URL")
	case !goodProject(c):
		p.fail(at+".project", "write owner/name, as in the address of the repository's page", "%q is not the path of a repository", c.Project)
	}
}

var forgeFields = []string{"github", "gitlab", "bitbucket", "bitbucketDataCenter", "gitea"}

// goodProject tells whether a project has the parts that its forge wants.
func goodProject(c ForgeConnection) bool {
	parts := strings.Split(c.Project, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "?#%\\ \t\r\n") {
			return false
		}
	}
	if c.Kind == "gitlab" {
		return len(parts) >= 2 && path.Clean(c.Project) == c.Project
	}
	return len(parts) == 2
}

func (p *serverParser) github(at string, g *GitHub) {
	app := g.AppID != 0 || g.Key != "" || g.Installation != 0
	switch {
	case g.Token == "" && !app:
		p.fail(at, "give token, or appId and key of a GitHub App", "the credentials are missing")
	case g.Token != "" && app:
		p.fail(at, "keep token, or appId and key", "both a token and a GitHub App are given")
	case app && (g.AppID == 0 || g.Key == ""):
		p.fail(at, "give both appId and key", "one half of the GitHub App's credentials is missing")
	}
}

// address checks a URL of the web: no credentials, no query.
func (p *serverParser) address(field, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		p.fail(field, "write https://host", "expected the address of a web server (not shown: it may hold a secret)")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		p.fail(field, "leave out user, query and fragment", "expected a plain address (not shown: it may hold a secret)")
	}
}

// people checks who is meant in the settings of pull requests.
func (p *serverParser) people(field string, who []string) {
	for i, w := range who {
		who, ok := ParseWho(w)
		ok = ok && who.Kind != "auto" && who.Kind != "codeowners"
		if !ok {
			p.fail(fmt.Sprintf("%s[%d]", field, i), "write user:NAME, team:NAME, login:NAME or permission:write (or maintain, admin)", "%q is nobody", w)
		}
	}
}
