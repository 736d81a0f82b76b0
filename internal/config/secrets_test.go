package config_test

import (
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
)

func TestSecretStores(t *testing.T) {
	const head = "version: 1\nsecrets:\n"
	good := head + `  vault: { address: "https://vault:8200", auth: kubernetes }
  sops: { age: "file:k" }
  command: { args: [pass, show] }
repositories: { infra: { url: /r, credentials: { token: "vault:kv/git#token" } } }
`
	s, diags := config.ParseServer("server.yaml", []byte(good), ".", nil)
	if s == nil {
		t.Fatal(diags)
	}
	if a := s.Secrets.Vault.Auth; a.Method != "kubernetes" || a.Role != "trueup" || !strings.HasPrefix(string(a.Token), "file:/var/run/secrets/") {
		t.Errorf("the short form of auth became %+v", a)
	}
	if d := s.Secrets.Command.Timeout; d != 15*time.Second {
		t.Errorf("a command that names no timeout gets %s", d)
	}
	for text, want := range map[string]string{
		`  vault: { address: "https://vault:8200", auth: { method: approle, roleId: x } }`: "secrets.vault.auth: approle needs",
		`  vault: { address: "https://vault:8200", auth: github }`:                         `found "github"`,
		`  vault: { address: "vault:8200" }`:                                               "secrets.vault.address",
		`  vault: { address: "https://v", auth: { token: "vault:kv/a#b" } }`:               "comes from env or file",
		`  aws: { region: eu-west-1, accessKeyId: x }`:                                     "secrets.aws: one half",
		`  azure: { vault: "https://v", secret: "env:S" }`:                                 "secrets.azure: a secret alone",
		`  command: { args: [] }`:                                                          "secrets.command.args",
		`  gcp: { key: canary-pasted-in }`:                                                 "secrets.gcp.key",
		`  hashicorp: {}`:                                                                  "hashicorp",
	} {
		_, diags := config.ParseServer("server.yaml", []byte(head+text+"\n"), ".", nil)
		if diags.Err() == nil || !strings.Contains(diags.Error(), want) || strings.Contains(diags.Error(), "canary") {
			t.Errorf("%s\n gives %v\n, expected %q", text, diags, want)
		}
	}
	_, diags = config.ParseServer("server.yaml", []byte("version: 1\nrepositories: { infra: { url: /r, credentials: { token: \"vault:kv/git#token\" } } }\n"), ".", nil)
	if diags.Err() == nil || !strings.Contains(diags.Error(), "set up under secrets") {
		t.Errorf("a scheme that is not set up: %v", diags)
	}
}
