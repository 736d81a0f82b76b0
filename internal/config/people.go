package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
)

// Logins are a user's names on the forges that host repositories. With several
// servers of one kind a login says on which: NAME@HOST.
type Logins struct {
	GitHub              []string `yaml:"github" strict:"one"`
	GitLab              []string `yaml:"gitlab" strict:"one"`
	Bitbucket           []string `yaml:"bitbucket" strict:"one"` // account id
	BitbucketDataCenter []string `yaml:"bitbucketDataCenter" strict:"one"`
	Gitea               []string `yaml:"gitea" strict:"one"` // Gitea or Forgejo
}

func (l Logins) of(kind string) []string {
	switch kind {
	case "github":
		return l.GitHub
	case "gitlab":
		return l.GitLab
	case "bitbucket":
		return l.Bitbucket
	case "bitbucketdc":
		return l.BitbucketDataCenter
	case "gitea":
		return l.Gitea
	}
	return nil
}

// ForgeServer is one forge: its kind and its host. A login means somebody
// only together with it.
type ForgeServer struct{ Kind, Host string }

// Server tells on which forge the connection's repository is.
func (c ForgeConnection) Server() ForgeServer {
	if u, err := url.Parse(c.URL); err == nil && u.Host != "" {
		return ForgeServer{c.Kind, strings.ToLower(u.Host)}
	}
	return ForgeServer{c.Kind, map[string]string{"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}[c.Kind]}
}

// ForgeServer gives the forge that hosts a repository; false for none.
func (s *Server) ForgeServer(repository string) (ForgeServer, bool) {
	r := s.Repositories[repository]
	if r == nil {
		return ForgeServer{}, false
	}
	c, ok := r.ForgeConnection()
	if !ok {
		return ForgeServer{}, false
	}
	return c.Server(), true
}

// forgeServers lists the forges of a kind that repositories are on.
func (s *Server) forgeServers(kind string) []string {
	var hosts []string
	for _, name := range sorted(s.Repositories) {
		if at, ok := s.ForgeServer(name); ok && at.Kind == kind && !slices.Contains(hosts, at.Host) {
			hosts = append(hosts, at.Host)
		}
	}
	return hosts
}

// UserOf gives the user whose login on a forge it is, "" and nil for nobody.
func (s *Server) UserOf(at ForgeServer, login string) (string, *User) {
	if login == "" {
		return "", nil
	}
	for _, name := range sorted(s.Users) {
		for _, own := range s.LoginsAt(name, at) {
			if SameLogin(at.Kind, own, login) {
				return name, s.Users[name]
			}
		}
	}
	return "", nil
}

// LoginsAt gives a user's logins on a forge. One that does not say on which of
// several servers it is counts on none.
func (s *Server) LoginsAt(user string, at ForgeServer) []string {
	u := s.Users[user]
	if u == nil {
		return nil
	}
	var out []string
	only := len(s.forgeServers(at.Kind)) <= 1
	for _, l := range u.of(at.Kind) {
		name, host, has := strings.Cut(l, "@")
		if has && strings.EqualFold(host, at.Host) || !has && only {
			out = append(out, name)
		}
	}
	return out
}

// SameLogin compares two logins as their forge does.
func SameLogin(kind, a, b string) bool {
	if kind == "bitbucket" {
		return a == b
	}
	return lowerASCII(a) == lowerASCII(b)
}

// lowerASCII leaves letters beyond ASCII as they are: folding those would make
// one login of two.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Who is one entry of a list of people: user:NAME, team:NAME, and where it is
// allowed login:NAME, permission:LEVEL, codeowners or auto.
type Who struct {
	Kind, Name string
	// Forge tells that a team is one on a forge: it has a slash in its name
	// (org/team), or says @REPOSITORY. Repository is the one whose forge knows
	// it; empty is the target's.
	Forge      bool
	Repository string
}

// ParseWho reads an entry; false says that it is none.
func ParseWho(text string) (Who, bool) {
	if text == "auto" || text == "codeowners" {
		return Who{Kind: text}, true
	}
	kind, name, _ := strings.Cut(text, ":")
	w := Who{Kind: kind, Name: name}
	if name == "" || strings.TrimSpace(name) != name {
		return w, false
	}
	switch kind {
	case "user", "login":
		return w, true
	case "permission":
		return w, name == "write" || name == "maintain" || name == "admin"
	case "team":
		team, repository, has := strings.Cut(name, "@")
		w.Name, w.Repository, w.Forge = team, repository, has || strings.Contains(team, "/")
		return w, team != "" && (!has || repository != "")
	}
	return w, false
}

// logins checks the users' names on forges.
func (p *serverParser) logins() {
	type place struct{ kind, login string }
	taken := map[place]string{}
	fields := map[string]string{"github": "github", "gitlab": "gitlab", "bitbucket": "bitbucket", "bitbucketdc": "bitbucketDataCenter", "gitea": "gitea"}
	for _, user := range sorted(p.s.Users) {
		u := p.s.Users[user]
		if u == nil {
			continue
		}
		for _, kind := range sorted(fields) {
			hosts := p.s.forgeServers(kind)
			for i, l := range u.of(kind) {
				at := fmt.Sprintf("users.%s.%s[%d]", user, fields[kind], i)
				name, host, has := strings.Cut(l, "@")
				switch {
				case name == "" || has && host == "" || strings.ContainsAny(l, " \t\r\n/"):
					p.fail(at, "write the login, or LOGIN@HOST", "%q is no login", l)
				case !has && len(hosts) > 1:
					p.fail(at, "write "+name+"@"+hosts[0]+", say", "there are several servers (%s) and a login means another person on each", strings.Join(hosts, ", "))
				case has && len(hosts) > 0 && !slices.Contains(hosts, strings.ToLower(host)):
					p.fail(at, strict.Mend(host, hosts), "no repository is on %s", host)
				}
				key := place{kind, lowerASCII(name) + "@" + strings.ToLower(cmp.Or(host, strings.Join(hosts, ",")))}
				if other, ok := taken[key]; ok && other != user {
					p.fail(at, "a login belongs to one user", "user %s has the login %q too", other, l)
				}
				taken[key] = user
			}
		}
	}
}

// approval checks who a rule asks for.
func (p *serverParser) approval(at string, a Approval) {
	switch {
	case len(a.By) == 0 && len(a.All) == 0:
		p.fail(at+".by", "add by:", "the field is missing")
	case len(a.By) > 0 && len(a.All) > 0:
		p.fail(at+".all", "move by and count into all, or remove all", "both by and all are given")
	}
	p.approvers(at+".by", a.By)
	for i, q := range a.All {
		p.approvers(fmt.Sprintf("%s.all[%d].by", at, i), q.By)
		if slices.Contains(q.By, "auto") {
			p.fail(fmt.Sprintf("%s.all[%d].by", at, i), "write by: auto in the rule itself", "auto can't be one of several kinds")
		}
	}
}

// approvers checks a list of people who may approve.
func (p *serverParser) approvers(at string, by []string) {
	for j, text := range by {
		w, ok := ParseWho(text)
		field := fmt.Sprintf("%s[%d]", at, j)
		switch {
		case w.Kind == "auto" && len(by) > 1:
			p.fail(field, "let it stand alone, or remove it", "auto can't be mixed with people")
		case !ok || w.Kind == "login" || w.Kind == "permission":
			p.fail(field, "write auto, codeowners, user:NAME, team:NAME, or team:ORG/TEAM for one on the forge", "%q is nobody who can approve", text)
		case w.Repository != "" && p.s.Repositories != nil && p.s.Repositories[w.Repository] == nil:
			p.fail(field, strict.Mend(w.Repository, sorted(p.s.Repositories)), "there is no repository %q", w.Repository)
		}
	}
}
