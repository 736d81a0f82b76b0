package config_test

import (
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

func TestForgeFollowsFromTheGitURL(t *testing.T) {
	for _, c := range []struct{ git, forge, base, project string }{
		{"git@github.com:acme/infra.git", "github: { token: \"env:T\" }", "", "acme/infra"},
		{"https://github.com/acme/infra", "github: { appId: 1, key: \"env:T\" }", "", "acme/infra"},
		{"ssh://git@ssh.github.com:443/acme/infra.git", "github: { token: \"env:T\" }", "", "acme/infra"},
		{"https://ghe.example.com/acme/infra.git", "github: { token: \"env:T\" }", "https://ghe.example.com", "acme/infra"},
		{"git@gitlab.com:acme/sub/infra.git", "gitlab: { token: \"env:T\" }", "", "acme/sub/infra"},
		{"https://git.example.com/gl/acme/sub/infra.git", "gitlab: { token: \"env:T\", url: \"https://git.example.com/gl\" }", "https://git.example.com/gl", "acme/sub/infra"},
		{"git@bitbucket.org:acme/infra.git", "bitbucket: { token: \"env:T\" }", "", "acme/infra"},
		{"https://bb.example.com/scm/PRJ/infra.git", "bitbucketDataCenter: { token: \"env:T\" }", "https://bb.example.com", "PRJ/infra"},
		{"ssh://git@bb.example.com:7999/prj/infra.git", "bitbucketDataCenter: { token: \"env:T\" }", "https://bb.example.com", "prj/infra"},
		{"http://127.0.0.1:3000/acme/infra.git", "gitea: { token: \"env:T\" }", "http://127.0.0.1:3000", "acme/infra"},
		{"/srv/git/infra.git", "gitea: { token: \"env:T\", url: \"https://git.example.com\", project: a/b }", "https://git.example.com", "a/b"},
	} {
		s := parse(t, fmt.Sprintf("version: 1\nrepositories: { r: { url: %q, forge: { %s } } }\n", c.git, c.forge))
		got, ok := s.Repositories["r"].ForgeConnection()
		if !ok || got.URL != c.base || got.Project != c.project {
			t.Errorf("%s with %s: %+v", c.git, c.forge, got)
		}
	}
}

func TestForgeMistakes(t *testing.T) {
	for _, c := range []struct{ repo, want string }{
		{`url: "git@github.com:a/b.git", forge: {}`, "expected one kind of forge, found 0"},
		{`url: "git@github.com:a/b.git", forge: { github: { token: "env:T" }, gitea: { token: "env:T" } }`, "expected one kind of forge, found 2"},
		{`url: "git@github.com:a/b.git", forge: { github: {} }`, "the credentials are missing"},
		{`url: "git@github.com:a/b.git", forge: { github: { token: "env:T", appId: 3, key: "env:K" } }`, "both a token and a GitHub App"},
		{`url: "git@github.com:a/b.git", forge: { github: { appId: 3 } }`, "one half of the GitHub App"},
		{`url: "git@github.com:a/b.git", forge: { github: { token: ghp_canary } }`, "forge.github.token"},
		{`url: "git@github.com:a/b/c.git", forge: { github: { token: "env:T" } }`, `"a/b/c" is not the path of a repository`},
		{`url: /srv/x.git, forge: { gitea: { token: "env:T", project: a/b } }`, "address does not follow from the Git URL"},
		{`url: /srv/x.git, forge: { github: { token: "env:T" } }`, "the project does not follow"},
		{`url: "git@h.test:a/b.git", forge: { gitea: { token: "env:T", url: "https://u:canary@h.test" } }`, "expected a plain address"},
		{`url: "git@h.test:a/b.git", forge: { gitea: {} }`, "forge.gitea.token"},
		{`url: "git@h.test:a/b.git", forge: { gitlub: {} }`, `unknown field (did you mean "github"?)`},
		{`url: "git@h.test:a/b.git", pullRequests: { forks: true }`, "no pull requests without a forge"},
		{`url: "git@github.com:a/b.git", forge: { github: { token: "env:T" } }, pullRequests: { commands: [all] }`, `"all" is nobody`},
	} {
		_, diags := config.ParseServer("server.yaml", []byte("version: 1\nrepositories: { r: { "+c.repo+" } }\n"), "/etc", fakes(t))
		text := fmt.Sprint(diags)
		if diags.Err() == nil || !strings.Contains(text, c.want) {
			t.Errorf("%s: %s", c.repo, text)
		}
		if strings.Contains(text, "canary") {
			t.Errorf("%s: the secret is printed: %s", c.repo, text)
		}
	}
}
