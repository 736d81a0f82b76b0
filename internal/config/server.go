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
//
//house:exception the fields are those of the file, one for each key of server.yaml
type Server struct {
	// Version of the file format; 1.
	Version int `yaml:"version" jsonschema:"required,minimum=1,maximum=1"`
	// DataDir holds the SQLite database, mirrors and the socket.
	DataDir string `yaml:"dataDir"`
	// Database is a postgres:// URL; empty is SQLite in DataDir. "env:NAME" and
	// "file:PATH" references keep a password out of the file.
	Database     string                  `yaml:"database"`
	Listen       Listen                  `yaml:"listen"`       // where the server answers
	Limits       Limits                  `yaml:"limits"`       // what it does at once, and how long it keeps things
	Secrets      Secrets                 `yaml:"secrets"`      // stores of secrets that references may name; env and file need none
	Notify       []Notify                `yaml:"notify"`       // routes of notifications
	Commands     map[string]*Command     `yaml:"commands"`     // programs that health checks and hooks may call by name
	Repositories map[string]*Repository  `yaml:"repositories"` // what is watched, by name
	Policies     map[string]*Policy      `yaml:"policies"`     // what may happen in environments, by name
	Environments map[string]*Environment `yaml:"environments"` // where desired state is applied, by name
	Registries   map[string]*Registry    `yaml:"registries"`   // registries and chart repositories whose versions may be followed, by name
	Users        map[string]*User        `yaml:"users"`        // people and machines, by name: what they may do, and who they are on the forges
	// Freeze holds every run that would write, with the reason given.
	Freeze string `yaml:"freeze"`
	// Control names the repository and path that this file itself is kept in.
	Control *Control `yaml:"control"`

	// Dir is the directory that relative paths start at; Digest is the hex
	// SHA-256 of the file.
	Dir    string `yaml:"-"`
	Digest string `yaml:"-"`
	// Body is the file as it was read; the store keeps it under its version.
	Body []byte `yaml:"-"`
}

// Listen says where the server answers.
type Listen struct {
	// Socket is the Unix socket of the API; default DataDir/trueup.sock.
	Socket string `yaml:"socket"`
	// HTTP is host:port for the API, webhooks, health and metrics; empty is none.
	HTTP string `yaml:"http"`
	// TLSCert is a PEM file; give TLSKey as well, or neither.
	TLSCert string `yaml:"tlsCert"`
	TLSKey  string `yaml:"tlsKey"` // PEM file of the key
	// PublicURL is where people and forges reach the server, for links and webhooks.
	PublicURL string `yaml:"publicURL"`
}

// Limits bounds what the server does at once and how long it keeps things.
type Limits struct {
	Concurrency  int           `yaml:"concurrency" jsonschema:"default=8,minimum=1"`    // runs at once in this process
	FetchTimeout time.Duration `yaml:"fetchTimeout" jsonschema:"default=2m,minimum=1s"` // of one fetch from Git
	PlanTimeout  time.Duration `yaml:"planTimeout" jsonschema:"default=10m,minimum=1s"` // of one plan
	ApplyTimeout time.Duration `yaml:"applyTimeout" jsonschema:"default=1h,minimum=1s"` // of one apply, with its checks
	KeepRuns     int           `yaml:"keepRuns" jsonschema:"default=100,minimum=1"`     // runs kept of each target
	KeepDays     int           `yaml:"keepDays" jsonschema:"default=365,minimum=1"`     // days that events and logs are kept
	RetryMin     time.Duration `yaml:"retryMin" jsonschema:"default=5s,minimum=1ms"`    // wait before the first retry
	RetryMax     time.Duration `yaml:"retryMax" jsonschema:"default=10m,minimum=1ms"`   // longest wait between retries
	// Lease is how long a replica that died keeps its targets from the others,
	// beside the time its drivers take to stop. It holds from the next start.
	Lease time.Duration `yaml:"lease" jsonschema:"default=30s,minimum=1s"`
}

// Notify routes notifications.
type Notify struct {
	// On lists held, failed, stale, drift, recovered, flapping.
	On []string `yaml:"on" strict:"one" jsonschema:"required,enum=held,enum=failed,enum=stale,enum=drift,enum=recovered,enum=flapping"`
	// To is a shoutrrr URL or a reference to one.
	To secret.Ref `yaml:"to" jsonschema:"required"`
	// Environments are globs that narrow the route; empty is all.
	Environments []string `yaml:"environments"`
	// Targets are globs that narrow the route; empty is all.
	Targets []string `yaml:"targets"`
}

// Command is a program that the operator allows by name, for health checks
// and hooks. It is started from an argument list, never through a shell.
type Command struct {
	Args    []string              `yaml:"args" jsonschema:"required"`                  // program and arguments
	Env     map[string]secret.Ref `yaml:"env"`                                         // variables, by reference
	Dir     string                `yaml:"dir"`                                         // working directory
	Timeout time.Duration         `yaml:"timeout" jsonschema:"default=1m,minimum=1ms"` // after which it is killed
	// On is where it runs: server (default), or host, on the host that it is
	// called for. On the server {{ .host }} and {{ .target }} in args stand for
	// what it is called for; the variables TRUEUP_HOST, TRUEUP_TARGET and
	// TRUEUP_COMMIT say the same.
	On string `yaml:"on" jsonschema:"default=server,enum=server,enum=host"`
}

// Repository is a Git repository that is watched.
//
//house:exception the fields are those of the file
type Repository struct {
	Name           string        `yaml:"-"`
	URL            string        `yaml:"url" jsonschema:"required"`               // what git clones: https, ssh or a local path
	Branch         string        `yaml:"branch"`                                  // the branch to follow; default: the remote's own
	Tags           string        `yaml:"tags"`                                    // semver range or glob
	Commit         string        `yaml:"commit"`                                  // fixed commit
	Poll           time.Duration `yaml:"poll" jsonschema:"default=1m,minimum=1s"` // time between looks at the remote
	WebhookSecrets []secret.Ref  `yaml:"webhookSecrets"`                          // any of them may sign a webhook; none means no webhooks
	Credentials    Credentials   `yaml:"credentials"`                             // for Git
	Signatures     *Signatures   `yaml:"signatures"`                              // who must have signed what is applied
	// Rewind says what to do about a force push: refuse (default) or follow.
	Rewind       string       `yaml:"rewind" jsonschema:"default=refuse,enum=refuse,enum=follow"`
	Submodules   bool         `yaml:"submodules"`   // check submodules out as well
	LFS          bool         `yaml:"lfs"`          // fetch Git LFS files
	Forge        *Forge       `yaml:"forge"`        // the forge that hosts it, for pull requests and statuses
	PullRequests PullRequests `yaml:"pullRequests"` // what happens on pull requests
	// CommitAs is the author of the commits that trueup makes, NAME <ADDRESS>;
	// default: trueup <trueup@localhost>.
	CommitAs string      `yaml:"commitAs"`
	Source   plan.Source `yaml:"-"`
}

// Credentials for Git, all by reference.
type Credentials struct {
	Username   string     `yaml:"username"`   // for HTTPS with a password
	Password   secret.Ref `yaml:"password"`   // for HTTPS
	Token      secret.Ref `yaml:"token"`      // for HTTPS in place of a password
	SSHKey     secret.Ref `yaml:"sshKey"`     // private key for SSH
	KnownHosts string     `yaml:"knownHosts"` // file
	CA         string     `yaml:"ca"`         // PEM file
}

// Signatures says who must have signed commits or tags.
type Signatures struct {
	// Require is commits or tags.
	Require string `yaml:"require" jsonschema:"required,enum=commits,enum=tags"`
	// GPG lists files with the public keys that count.
	GPG []string `yaml:"gpg"`
	// SSH lists files of allowed signers.
	SSH []string `yaml:"ssh"`
}

// User is somebody, or a machine: with a token over TCP, by its account on the
// Unix socket, by its login on a forge.
type User struct {
	// TokenHash is the hex SHA-256 of the token, as `trueup token` prints it.
	TokenHash string `yaml:"tokenHash"`
	// Role is viewer, operator, approver or admin.
	Role string `yaml:"role" jsonschema:"required,enum=viewer,enum=operator,enum=approver,enum=admin"`
	// Teams are the names that policies use as team:NAME.
	Teams []string `yaml:"teams"`
	// Environments are globs; empty is all.
	Environments []string `yaml:"environments"`
	// Emails are the user's addresses, as files of code owners may name them.
	Emails []string `yaml:"emails" strict:"one"`
	Logins
}

// Control says that server.yaml itself lives in a repository.
type Control struct {
	Repository string `yaml:"repository" jsonschema:"required"` // its name under repositories
	Path       string `yaml:"path" jsonschema:"required"`       // of server.yaml in it
}

// Policy says what may happen in an environment, and when.
type Policy struct {
	Name    string           `yaml:"-"`
	Guard   map[string]Limit `yaml:"guard"`   // limits by kind of impact: create, update, replace, delete, disable; what is missing has its default
	Approve []Approval       `yaml:"approve"` // rules of approval; the first that matches counts
	Windows []Window         `yaml:"windows"` // when changes may be applied; none is always
	// Drift is correct (default) or report.
	Drift string `yaml:"drift" jsonschema:"default=correct,enum=correct,enum=report"`
	// DriftInterval is the time between drift checks; default 5m.
	DriftInterval time.Duration `yaml:"driftInterval" jsonschema:"default=5m,minimum=1s"`
	// Notice is on (default) or off: whether a change that an environment reports
	// by itself is looked at when it happens, instead of at the next drift check.
	Notice string `yaml:"notice" jsonschema:"default=on,enum=on,enum=off"`
	// Flapping is how many corrections of one object within an hour are
	// reported and held instead of being fought; default 5.
	Flapping int            `yaml:"flapping" jsonschema:"default=5,minimum=1"`
	Rollout  *RolloutLimits `yaml:"rollout"` // bounds of rollouts over many scopes (hosts)
	Freeze   string         `yaml:"freeze"`  // holds every run that would write, with the reason given
	// WriteBack is how far a target may go with its own writeBack: off, by pull
	// request (default), or commit to the branch itself.
	WriteBack    string      `yaml:"writeBack" jsonschema:"default=pullRequest,enum=off,enum=pullRequest,enum=commit"`
	PullRequests PolicyPulls `yaml:"pullRequests"` // narrows what may happen on pull requests
	Source       plan.Source `yaml:"-"`
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
	// By lists who may approve: user:NAME, team:NAME, team:ORG/TEAM on the
	// forge, codeowners; or it is auto.
	By    []string `yaml:"by" strict:"one"`
	Count int      `yaml:"count" jsonschema:"default=1,minimum=1"` // how many of them
	// All lists several kinds of approvers, each with its number, in place of by
	// and count; all of them are needed.
	All []Quorum `yaml:"all"`
	// NotAuthor leaves out approvals by whoever caused the run or proposed the
	// pull request.
	NotAuthor bool `yaml:"notAuthor"`
	// Reviews lets approving reviews on the forge count, as long as they stand
	// and were given to exactly this plan.
	Reviews bool `yaml:"reviews"`
}

// Quorum is a number of approvals by one kind of approvers.
type Quorum struct {
	// By lists who may approve, as in the rule.
	By    []string `yaml:"by" strict:"one" jsonschema:"required"`
	Count int      `yaml:"count" jsonschema:"default=1,minimum=1"` // how many of them
}

// Quorums gives the kinds of approvers that the rule asks for.
func (a Approval) Quorums() []Quorum {
	if len(a.All) > 0 {
		return a.All
	}
	return []Quorum{{a.By, a.Count}}
}

// Environment is a runtime environment.
type Environment struct {
	Name    string  `yaml:"-"`
	Driver  string  `yaml:"driver" jsonschema:"required"` // its kind
	Policy  string  `yaml:"policy"`                       // by name; without one the defaults hold
	Connect any     `yaml:"connect" strict:"late"`        // decoded by the driver's type
	Allow   []Grant `yaml:"allow"`                        // which repositories may use which part of it
	// Concurrency bounds runs at once in this environment; default 4.
	Concurrency int `yaml:"concurrency" jsonschema:"default=4,minimum=1"`
	// Retired environments are never written to.
	Retired bool        `yaml:"retired"`
	Source  plan.Source `yaml:"-"`
	// ConnectDigest stands for connect as it was written, without secrets.
	ConnectDigest string `yaml:"-"`
}

// Grant lets a repository use an environment, or a part of it.
type Grant struct {
	Repository string   `yaml:"repository" jsonschema:"required"` // by name
	Branch     string   `yaml:"branch"`                           // default: the one that is followed
	Paths      []string `yaml:"paths" strict:"one"`               // globs; empty is all
	// Scope narrows the grant inside the environment; decoded by the driver's type.
	Scope driver.ScopeSpec `yaml:"scope" strict:"late"`
}
