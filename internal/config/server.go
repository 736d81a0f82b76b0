// Package config turns the two configuration files into validated types: the
// operator's server.yaml and each repository's trueup.yaml. Decoding is
// strict, and every mistake is reported at once with file, line and field.
package config

import (
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Server is the operator's configuration, server.yaml. It is immutable once
// loaded; every valid one is stored under its own version number.
type Server struct {
	// Version of the file format; 1.
	Version int `yaml:"version"`
	// DataDir holds the SQLite database, mirrors and the socket.
	DataDir string `yaml:"dataDir"`
	// Database is a postgres:// URL; empty is SQLite in DataDir. "env:NAME" and
	// "file:PATH" references keep a password out of the file.
	Database     string                  `yaml:"database"`
	Listen       Listen                  `yaml:"listen"`
	Limits       Limits                  `yaml:"limits"`
	Secrets      map[string]any          `yaml:"secrets"`
	Notify       []Notify                `yaml:"notify"`
	Commands     map[string]*Command     `yaml:"commands"`
	Repositories map[string]*Repository  `yaml:"repositories"`
	Policies     map[string]*Policy      `yaml:"policies"`
	Environments map[string]*Environment `yaml:"environments"`
	Users        map[string]*User        `yaml:"users"`
	// Freeze holds every run that would write, with the reason given.
	Freeze string `yaml:"freeze"`
	// Control names the repository and path that this file itself is kept in.
	Control *Control `yaml:"control"`

	// Dir is the directory that relative paths start at; Digest is the hex
	// SHA-256 of the file.
	Dir    string `yaml:"-"`
	Digest string `yaml:"-"`
}

// Listen says where the server answers.
type Listen struct {
	// Socket is the Unix socket of the API; default DataDir/trueup.sock.
	Socket string `yaml:"socket"`
	// HTTP is host:port for the API, webhooks, health and metrics; empty is none.
	HTTP string `yaml:"http"`
	// TLSCert and TLSKey are PEM files; both or neither.
	TLSCert string `yaml:"tlsCert"`
	TLSKey  string `yaml:"tlsKey"`
}

// Limits bounds what the server does at once and how long it keeps things.
type Limits struct {
	Concurrency  int           `yaml:"concurrency"`  // runs at once in this process; default 8
	FetchTimeout time.Duration `yaml:"fetchTimeout"` // default 2m
	PlanTimeout  time.Duration `yaml:"planTimeout"`  // default 10m
	ApplyTimeout time.Duration `yaml:"applyTimeout"` // default 1h
	KeepRuns     int           `yaml:"keepRuns"`     // per target; default 100
	KeepDays     int           `yaml:"keepDays"`     // events and logs; default 365
	RetryMin     time.Duration `yaml:"retryMin"`     // default 5s
	RetryMax     time.Duration `yaml:"retryMax"`     // default 10m
}

// Notify routes notifications.
type Notify struct {
	// On lists held, failed, stale, drift, recovered, flapping.
	On []string `yaml:"on"`
	// To is a shoutrrr URL or a reference to one.
	To secret.Ref `yaml:"to"`
	// Environments and Targets are globs that narrow the route.
	Environments []string `yaml:"environments"`
	Targets      []string `yaml:"targets"`
}

// Command is a program that the operator allows by name, for health checks
// and hooks. It is started from an argument list, never through a shell.
type Command struct {
	Args    []string              `yaml:"args"`
	Env     map[string]secret.Ref `yaml:"env"`
	Dir     string                `yaml:"dir"`
	Timeout time.Duration         `yaml:"timeout"` // default 1m
}

// Repository is a Git repository that is watched.
type Repository struct {
	Name           string        `yaml:"-"`
	URL            string        `yaml:"url"`
	Branch         string        `yaml:"branch"`
	Tags           string        `yaml:"tags"`   // semver range or glob
	Commit         string        `yaml:"commit"` // fixed commit
	Poll           time.Duration `yaml:"poll"`   // default 1m
	WebhookSecrets []secret.Ref  `yaml:"webhookSecrets"`
	Credentials    Credentials   `yaml:"credentials"`
	Signatures     *Signatures   `yaml:"signatures"`
	// Rewind says what to do about a force push: refuse (default) or follow.
	Rewind     string         `yaml:"rewind"`
	Submodules bool           `yaml:"submodules"`
	LFS        bool           `yaml:"lfs"`
	Forge      map[string]any `yaml:"forge"`
	Source     plan.Source    `yaml:"-"`
}

// Credentials for Git, all by reference.
type Credentials struct {
	Username   string     `yaml:"username"`
	Password   secret.Ref `yaml:"password"`
	Token      secret.Ref `yaml:"token"`
	SSHKey     secret.Ref `yaml:"sshKey"`
	KnownHosts string     `yaml:"knownHosts"` // file
	CA         string     `yaml:"ca"`         // PEM file
}

// Signatures says who must have signed commits or tags.
type Signatures struct {
	// Require is commits or tags.
	Require string `yaml:"require"`
	// GPG and SSH are files with the public keys that count.
	GPG []string `yaml:"gpg"`
	SSH []string `yaml:"ssh"`
}

// User is somebody, or a machine, that may call the API over TCP with a token.
type User struct {
	// TokenHash is the hex SHA-256 of the token, as `trueup token` prints it.
	TokenHash string `yaml:"tokenHash"`
	// Role is viewer, operator, approver or admin.
	Role string `yaml:"role"`
	// Teams are the names that policies use as team:NAME.
	Teams []string `yaml:"teams"`
	// Environments are globs; empty is all.
	Environments []string `yaml:"environments"`
}

// Control says that server.yaml itself lives in a repository.
type Control struct {
	Repository string `yaml:"repository"`
	Path       string `yaml:"path"`
}

// Policy says what may happen in an environment, and when.
type Policy struct {
	Name    string           `yaml:"-"`
	Guard   map[string]Limit `yaml:"guard"`
	Approve []Approval       `yaml:"approve"`
	Windows []Window         `yaml:"windows"`
	// Drift is correct (default) or report.
	Drift string `yaml:"drift"`
	// DriftInterval is the time between drift checks; default 5m.
	DriftInterval time.Duration `yaml:"driftInterval"`
	// Flapping is how many corrections of one object within an hour are
	// reported and held instead of being fought; default 5.
	Flapping int         `yaml:"flapping"`
	Freeze   string      `yaml:"freeze"`
	Source   plan.Source `yaml:"-"`
}

// Limit bounds one kind of impact: an absolute number, a share of what the
// target owns, or both; the smaller counts. Written `5`, `20%` or
// `{max: 5, share: 20%, classes: {record: 50}}`.
type Limit struct {
	Max     *int           // absolute
	Share   *float64       // 0 to 1, of what is owned in the class
	Classes map[string]int // absolute, per class
}

// Approval is one rule: when it matches, by says who must approve. The first
// rule that matches counts; without rules nothing needs an approval beyond the
// guards.
type Approval struct {
	// When is a CEL expression over the plan; empty always matches.
	When string `yaml:"when"`
	// By lists user:NAME or team:NAME, or is ["auto"].
	By    []string `yaml:"by"`
	Count int      `yaml:"count"` // default 1
}

// Environment is a runtime environment.
type Environment struct {
	Name    string  `yaml:"-"`
	Driver  string  `yaml:"driver"`
	Policy  string  `yaml:"policy"`
	Connect any     `yaml:"-"` // decoded by the driver's type
	Allow   []Grant `yaml:"allow"`
	// Concurrency bounds runs at once in this environment; default 4.
	Concurrency int `yaml:"concurrency"`
	// Retired environments are never written to.
	Retired bool        `yaml:"retired"`
	Source  plan.Source `yaml:"-"`
	// ConnectDigest stands for connect as it was written, without secrets.
	ConnectDigest string `yaml:"-"`
}

// Grant lets a repository use an environment, or a part of it.
type Grant struct {
	Repository string           `yaml:"repository"`
	Branch     string           `yaml:"branch"` // default: the one that is followed
	Paths      []string         `yaml:"paths"`  // globs; empty is all
	Scope      driver.ScopeSpec `yaml:"-"`
}
