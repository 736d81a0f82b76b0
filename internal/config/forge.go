package config

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/secret"
)

// Forge says which forge hosts a repository and how to reach its API. Exactly
// one kind is given.
type Forge struct {
	GitHub              *GitHub      `yaml:"github"`              // github.com or GitHub Enterprise
	GitLab              *ForgeAccess `yaml:"gitlab"`              // gitlab.com or self-managed
	Bitbucket           *Bitbucket   `yaml:"bitbucket"`           // Bitbucket Cloud
	BitbucketDataCenter *ForgeAccess `yaml:"bitbucketDataCenter"` // Bitbucket Data Center
	Gitea               *ForgeAccess `yaml:"gitea"`               // Gitea and Forgejo
}

// GitHub is a repository on GitHub, with a token or as a GitHub App.
type GitHub struct {
	Token        secret.Ref `yaml:"token"`                               // personal access token; or give appId and key
	AppID        int64      `yaml:"appId" jsonschema:"minimum=0"`        // of the GitHub App
	Key          secret.Ref `yaml:"key"`                                 // the App's private key
	Installation int64      `yaml:"installation" jsonschema:"minimum=0"` // id of the App's installation; looked up when left out
	URL          string     `yaml:"url"`                                 // of GitHub Enterprise; default: the host of the Git URL
	Project      string     `yaml:"project"`                             // owner/name; default: from the Git URL
	CA           string     `yaml:"ca"`                                  // PEM file with the certificates to trust
}

// ForgeAccess is a repository on a forge that is reached with a token.
type ForgeAccess struct {
	Token   secret.Ref `yaml:"token" jsonschema:"required"` // access token with the right to write statuses and comments
	URL     string     `yaml:"url"`                         // of the forge; default: the host of the Git URL
	Project string     `yaml:"project"`                     // path of the repository; default: from the Git URL
	CA      string     `yaml:"ca"`                          // PEM file with the certificates to trust
}

// Bitbucket is a repository on Bitbucket Cloud.
type Bitbucket struct {
	Username string     `yaml:"username"`                    // with an API token; leave it out for an access token
	Token    secret.Ref `yaml:"token" jsonschema:"required"` // access token or API token
	URL      string     `yaml:"url"`                         // of the API, for tests; default: bitbucket.org
	Project  string     `yaml:"project"`                     // workspace/repository; default: from the Git URL
	CA       string     `yaml:"ca"`                          // PEM file with the certificates to trust
}

// PullRequests says what happens on the pull requests of a repository with a
// forge. Environments can be narrowed further in their policy.
type PullRequests struct {
	Plan *bool `yaml:"plan"` // plan pull requests; default true
	// Forks plans pull requests that come from another repository, too.
	Forks  bool  `yaml:"forks"`
	Drafts *bool `yaml:"drafts"` // plan drafts; default true
	// Commands lists who may give commands in comments: user:NAME, team:NAME,
	// login:NAME on the forge, or permission:write (or maintain, admin) there.
	// Approving is up to the policies. Default: permission:write.
	Commands []string `yaml:"commands" strict:"one"`
	// Trusted lists whose pull requests may be planned by drivers that run code
	// of the repository; written as commands are. Default: permission:write.
	Trusted []string `yaml:"trusted" strict:"one"`
	// ApplyBeforeMerge allows `trueup apply` on an open pull request.
	ApplyBeforeMerge bool `yaml:"applyBeforeMerge"`
}

// PolicyPulls narrows what may happen on pull requests in a policy's
// environments.
type PolicyPulls struct {
	Plan             *bool `yaml:"plan"`             // false keeps these environments out of plans on pull requests
	ApplyBeforeMerge *bool `yaml:"applyBeforeMerge"` // false keeps them from being applied before the merge
}

// Planned tells whether pull requests are planned.
func (p PullRequests) Planned() bool { return p.Plan == nil || *p.Plan }

// PlansDrafts tells whether drafts are planned.
func (p PullRequests) PlansDrafts() bool { return p.Drafts == nil || *p.Drafts }

// Planned tells whether the policy's environments may be planned on pull
// requests.
func (p PolicyPulls) Planned() bool { return p.Plan == nil || *p.Plan }

// Applied tells whether the policy's environments may be applied before a
// merge, where the repository allows it.
func (p PolicyPulls) Applied() bool { return p.ApplyBeforeMerge == nil || *p.ApplyBeforeMerge }

// ForgeConnection is what it takes to reach a repository on its forge.
type ForgeConnection struct {
	Kind, URL, Project, CA string
	Username               string
	Token, Key             secret.Ref
	AppID, Installation    int64
}

// kinds lists the kinds that are given, with the field and the connection.
func (f *Forge) kinds() (fields []string, all []ForgeConnection) {
	add := func(field string, c ForgeConnection) { fields, all = append(fields, field), append(all, c) }
	if g := f.GitHub; g != nil {
		add("github", ForgeConnection{Kind: "github", URL: g.URL, Project: g.Project, CA: g.CA, Token: g.Token, Key: g.Key, AppID: g.AppID, Installation: g.Installation})
	}
	access := func(field, kind string, a *ForgeAccess) {
		if a != nil {
			add(field, ForgeConnection{Kind: kind, URL: a.URL, Project: a.Project, CA: a.CA, Token: a.Token})
		}
	}
	access("gitlab", "gitlab", f.GitLab)
	if b := f.Bitbucket; b != nil {
		add("bitbucket", ForgeConnection{Kind: "bitbucket", URL: b.URL, Project: b.Project, CA: b.CA, Username: b.Username, Token: b.Token})
	}
	access("bitbucketDataCenter", "bitbucketdc", f.BitbucketDataCenter)
	access("gitea", "gitea", f.Gitea)
	return fields, all
}

// ForgeConnection gives how to reach the repository's forge, with what follows
// from the Git URL filled in; false without a forge.
func (r *Repository) ForgeConnection() (ForgeConnection, bool) {
	if r.Forge == nil {
		return ForgeConnection{}, false
	}
	_, all := r.Forge.kinds()
	if len(all) == 0 {
		return ForgeConnection{}, false
	}
	c := all[0]
	base, project := forgeOf(r.URL, c.Kind, c.URL)
	c.URL, c.Project = cmp.Or(c.URL, base), cmp.Or(c.Project, project)
	return c, true
}

// scp is git's short form of an SSH address, user@host:path.
var scp = regexp.MustCompile(`^(?:[^@/]+@)?([^/:]{2,}):([^/].*|/.*)$`)

// publicHosts are the services whose API is not at the host of the Git URL,
// or whose Git has other hosts.
var publicHosts = map[string]string{"github.com": "github", "ssh.github.com": "github", "gitlab.com": "gitlab",
	"altssh.gitlab.com": "gitlab", "bitbucket.org": "bitbucket", "altssh.bitbucket.org": "bitbucket"}

// forgeOf derives the forge's address and the project from a Git URL. The
// address is empty for the public services, and both where the URL is a path.
func forgeOf(git, kind, given string) (base, project string) {
	scheme, host, path := "", "", ""
	if u, err := url.Parse(git); err == nil && u.Host != "" {
		scheme, host, path = u.Scheme, u.Host, u.Path
		if scheme == "ssh" || scheme == "git+ssh" {
			scheme, host = "https", u.Hostname()
		}
	} else if m := scp.FindStringSubmatch(git); m != nil {
		scheme, host, path = "https", m[1], m[2]
	}
	if host == "" || scheme != "http" && scheme != "https" {
		return "", ""
	}
	if publicHosts[host] != kind {
		base = scheme + "://" + host
	}
	project = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	// A forge below a path has it in its Git URLs as well.
	if u, err := url.Parse(given); err == nil && given != "" {
		project = strings.TrimPrefix(project, strings.Trim(u.Path, "/")+"/")
	}
	if kind == "bitbucketdc" {
		project = strings.TrimPrefix(project, "scm/")
	}
	return base, project
}
