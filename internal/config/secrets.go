package config

import (
	"fmt"
	"time"

	"trueup.dev/trueup/internal/secret"
)

// Secrets sets up the stores of secrets that references may name, by scheme.
// env: and file: need no settings; what opens a store is given by them.
type Secrets struct {
	Vault   *VaultSecrets   `yaml:"vault"`   // vault:MOUNT/PATH#FIELD, from HashiCorp Vault or OpenBao
	SOPS    *SOPSSecrets    `yaml:"sops"`    // sops:FILE#KEY.KEY, from files encrypted with SOPS
	AWS     *AWSSecrets     `yaml:"aws"`     // aws:NAME or aws:NAME#FIELD, from AWS Secrets Manager
	GCP     *GCPSecrets     `yaml:"gcp"`     // gcp:NAME or gcp:NAME#FIELD, from Google Cloud Secret Manager
	Azure   *AzureSecrets   `yaml:"azure"`   // azure:NAME or azure:NAME#FIELD, from Azure Key Vault
	Command *CommandSecrets `yaml:"command"` // command:NAME, what a program prints
}

// VaultSecrets is a HashiCorp Vault or OpenBao. Leases are renewed, and
// connections are made anew when a secret has changed.
type VaultSecrets struct {
	Address   string    `yaml:"address" jsonschema:"required"` // https://vault:8200
	Namespace string    `yaml:"namespace"`                     // of Vault Enterprise and OpenBao
	CA        string    `yaml:"ca"`                            // PEM file with the certificates to trust
	Auth      VaultAuth `yaml:"auth"`                          // how to log in: the name of a method, or its settings
}

// VaultAuth says how to log in to Vault. Written as a method's name alone, or
// with its settings.
type VaultAuth struct {
	Method   string     `yaml:"method" jsonschema:"enum=token,enum=approle,enum=kubernetes,enum=jwt"` // default: token
	Mount    string     `yaml:"mount"`                                                                // where the method is mounted; default: its name
	Role     string     `yaml:"role"`                                                                 // kubernetes and jwt; default: trueup
	RoleID   string     `yaml:"roleId"`                                                               // approle
	SecretID secret.Ref `yaml:"secretId"`                                                             // approle
	Token    secret.Ref `yaml:"token"`                                                                // token: default env:VAULT_TOKEN; jwt: the JWT; kubernetes: default the pod's service account token
}

// serviceAccountToken is where Kubernetes puts a pod's token.
const serviceAccountToken = "file:/var/run/secrets/kubernetes.io/serviceaccount/token"

// UnmarshalYAML reads a method's name, or its settings.
func (a *VaultAuth) UnmarshalYAML(fill func(any) error) error {
	var method string
	if fill(&method) == nil {
		*a = VaultAuth{Method: method}
		return a.known()
	}
	type plain VaultAuth
	var p plain
	if err := fill(&p); err != nil {
		return err
	}
	*a = VaultAuth(p)
	return a.known()
}

func (a *VaultAuth) known() error {
	switch a.Method {
	case "", "token", "approle", "kubernetes", "jwt":
		return nil
	}
	return fmt.Errorf("expected token, approle, kubernetes or jwt, found %q", a.Method)
}

// complete fills in what is left out.
func (a *VaultAuth) complete() {
	if a.Method == "" {
		a.Method = "token"
	}
	switch {
	case a.Method == "token" && a.Token == "":
		a.Token = "env:VAULT_TOKEN"
	case a.Method == "kubernetes" && a.Token == "":
		a.Token = serviceAccountToken
	}
	if a.Role == "" && (a.Method == "kubernetes" || a.Method == "jwt") {
		a.Role = "trueup"
	}
}

// SOPSSecrets opens files encrypted with SOPS. Paths start at the directory of
// server.yaml.
type SOPSSecrets struct {
	Age []secret.Ref `yaml:"age" strict:"one"` // age identities that open the files
	// Keys are the kinds of keys that may be used; default: age alone.
	Keys []string `yaml:"keys" strict:"one" jsonschema:"enum=age,enum=pgp,enum=kms,enum=gcp_kms,enum=azure_kv,enum=hc_vault"`
}

// AWSSecrets is AWS Secrets Manager. Without an access key the SDK's chain
// counts: environment, shared files, web identity, the instance's role.
type AWSSecrets struct {
	Region       string     `yaml:"region" jsonschema:"required"` // such as eu-west-1
	Endpoint     string     `yaml:"endpoint"`                     // of a VPC endpoint
	AccessKeyID  string     `yaml:"accessKeyId"`                  // with secretKey
	SecretKey    secret.Ref `yaml:"secretKey"`                    // secret access key
	SessionToken secret.Ref `yaml:"sessionToken"`                 // of temporary keys
}

// GCPSecrets is Google Cloud Secret Manager. Without a key the application
// default credentials count.
type GCPSecrets struct {
	Project  string     `yaml:"project"`  // for names without one
	Endpoint string     `yaml:"endpoint"` // default: Google's own
	Key      secret.Ref `yaml:"key"`      // JSON key of a service account
}

// AzureSecrets is an Azure Key Vault. Without a secret the SDK's chain counts:
// environment, workload identity, managed identity.
type AzureSecrets struct {
	Vault     string     `yaml:"vault" jsonschema:"required"` // https://NAME.vault.azure.net
	Tenant    string     `yaml:"tenant"`                      // id, with client and secret
	Client    string     `yaml:"client"`                      // application (client) id
	Secret    secret.Ref `yaml:"secret"`                      // of the application
	Authority string     `yaml:"authority"`                   // of another cloud than the public one
}

// CommandSecrets is a program that prints a secret. It gets the rest of the
// reference as its last argument, and of the environment only what env names.
type CommandSecrets struct {
	Args    []string              `yaml:"args" jsonschema:"required"`                   // program and arguments, as [pass, show]
	Env     map[string]secret.Ref `yaml:"env"`                                          // variables, by reference
	Timeout time.Duration         `yaml:"timeout" jsonschema:"default=15s,minimum=1ms"` // after which it is killed
}

// secretStores checks what the types alone can't tell.
func (p *serverParser) secretStores() {
	s := &p.s.Secrets
	if v := s.Vault; v != nil {
		v.Auth.complete()
		p.address("secrets.vault.address", v.Address)
		at := "secrets.vault.auth"
		if v.Auth.Method == "approle" && (v.Auth.RoleID == "" || v.Auth.SecretID == "") {
			p.fail(at, "give roleId and secretId", "approle needs a role id and a secret id")
		}
		if v.Auth.Method == "jwt" && v.Auth.Token == "" {
			p.fail(at, "give token, as file:/run/jwt", "jwt needs a token")
		}
	}
	if a := s.AWS; a != nil && (a.AccessKeyID == "") != (a.SecretKey == "") {
		p.fail("secrets.aws", "give both accessKeyId and secretKey, or neither", "one half of the access key is missing")
	}
	if a := s.Azure; a != nil && a.Secret != "" && (a.Tenant == "" || a.Client == "") {
		p.fail("secrets.azure", "give tenant and client", "a secret alone does not log in")
	}
	if c := s.Command; c != nil && len(c.Args) == 0 {
		p.fail("secrets.command.args", "write [program, argument]", "the command has no program")
	}
}

// schemes lists the schemes of references that are set up.
func (s *Secrets) schemes() []string {
	out := []string{"env", "file"}
	for scheme, on := range map[string]bool{"vault": s.Vault != nil, "sops": s.SOPS != nil, "aws": s.AWS != nil, "gcp": s.GCP != nil,
		"azure": s.Azure != nil, "command": s.Command != nil} {
		if on {
			out = append(out, scheme)
		}
	}
	return out
}
