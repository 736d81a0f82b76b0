package config_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

const twoGiteas = `version: 1
repositories:
  a: { url: "https://a.example.com/x/y.git", forge: { gitea: { token: "env:T" } } }
  b: { url: "https://b.example.com/x/y.git", forge: { gitea: { token: "env:T" } } }
`

func TestLoginsSayWhichServer(t *testing.T) {
	for users, want := range map[string]string{
		"u: { role: viewer, gitea: joe }":                                                                "there are several servers",
		"u: { role: viewer, gitea: joe@c.example.com }":                                                  "no repository is on c.example.com",
		"u: { role: viewer, gitea: [\"joe@a.example.com\", \"jo@b.example.com\"] }":                      "",
		"u: { role: viewer, gitea: \"@a.example.com\" }":                                                 "is no login",
		"u: { role: viewer, github: \"a b\" }":                                                           "is no login",
		"u: { role: viewer, github: joe }\n  v: { role: viewer, github: Joe }":                           "user u has the login",
		"u: { role: viewer, gitea: joe@a.example.com }\n  v: { role: viewer, gitea: joe@b.example.com }": "",
	} {
		_, diags := config.ParseServer("server.yaml", []byte(twoGiteas+"users:\n  "+users+"\n"), "/", nil)
		got := ""
		if err := diags.Err(); err != nil {
			got = err.Error()
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", users, got)
		}
	}
}

func TestParseWho(t *testing.T) {
	for text, want := range map[string]config.Who{
		"user:ann":              {Kind: "user", Name: "ann"},
		"team:sre":              {Kind: "team", Name: "sre"},
		"team:acme/sre":         {Kind: "team", Name: "acme/sre", Forge: true},
		"team:acme/a/b@infra":   {Kind: "team", Name: "acme/a/b", Forge: true, Repository: "infra"},
		"team:sre@infra":        {Kind: "team", Name: "sre", Forge: true, Repository: "infra"},
		"permission:maintain":   {Kind: "permission", Name: "maintain"},
		"login:557058:1234-abc": {Kind: "login", Name: "557058:1234-abc"},
		"auto":                  {Kind: "auto"},
		"codeowners":            {Kind: "codeowners"},
	} {
		if got, ok := config.ParseWho(text); !ok || got != want {
			t.Errorf("%s: %+v %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "ann", "user:", "team:", "team:@infra", "team:acme/sre@", "permission:read", "role:admin", "user: ann", "automatic"} {
		if w, ok := config.ParseWho(text); ok {
			t.Errorf("%q is %+v", text, w)
		}
	}
}
