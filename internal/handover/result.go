package handover

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Result is what an import makes of the other tool's objects.
type Result struct {
	Repositories []*Repository
	Policies     []*Policy
	Environments []*Environment
	Notify       []Notify
	Users        []User
	Notes        []Note
}

// Note is something that a person has to know.
type Note struct {
	Kind   string `json:"kind"` // Lost, Fill or Differs
	Object string `json:"object"`
	Field  string `json:"field,omitempty"`
	Why    string `json:"why"`
	Do     string `json:"do"`
}

// The kinds of notes.
const (
	Lost    = "not carried over"
	Fill    = "to fill in"
	Differs = "works differently"
)

// Lost notes what could not be carried over.
func (r *Result) Lost(o *Object, field, why, do string) { r.note(Lost, o.String(), field, why, do) }

// Differs notes what was carried over, but works differently.
func (r *Result) Differs(o *Object, field, why, do string) {
	r.note(Differs, o.String(), field, why, do)
}

// Fill notes what has to be filled in before the configuration is used.
func (r *Result) Fill(object, field, why, do string) { r.note(Fill, object, field, why, do) }

func (r *Result) note(kind, object, field, why, do string) {
	n := Note{kind, object, field, why, do}
	if !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// Finish puts everything into its order.
func (r *Result) Finish() {
	order := map[string]int{Fill: 0, Lost: 1, Differs: 2}
	slices.SortStableFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field))
	})
	slices.SortStableFunc(r.Repositories, func(a, b *Repository) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(r.Policies, func(a, b *Policy) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(r.Environments, func(a, b *Environment) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(r.Users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range r.Repositories {
		slices.SortStableFunc(p.Targets, func(a, b *Target) int { return cmp.Compare(a.Name, b.Name) })
	}
	for _, e := range r.Environments {
		e.order()
	}
}

// Targets gives all targets.
func (r *Result) Targets() []*Target {
	var out []*Target
	for _, p := range r.Repositories {
		out = append(out, p.Targets...)
	}
	return out
}

// Repository is one that is watched.
//
//house:exception the fields are those of an entry of server.yaml, and what its trueup.yaml gets
type Repository struct {
	Name           string         `yaml:"-"`
	URL            string         `yaml:"url"`
	Branch         string         `yaml:"branch,omitempty"`
	Tags           string         `yaml:"tags,omitempty"`
	Commit         string         `yaml:"commit,omitempty"`
	Poll           Duration       `yaml:"poll,omitempty"`
	WebhookSecrets []string       `yaml:"webhookSecrets,omitempty"`
	Credentials    *Credentials   `yaml:"credentials,omitempty"`
	Signatures     *Signatures    `yaml:"signatures,omitempty"`
	Submodules     bool           `yaml:"submodules,omitempty"`
	Forge          map[string]any `yaml:"forge,omitempty"`
	CommitAs       string         `yaml:"commitAs,omitempty"`

	Targets []*Target         `yaml:"-"`
	Files   map[string]string `yaml:"-"` // path -> content, to be committed with trueup.yaml
}

// Credentials are references, with a placeholder where the secret is to come.
type Credentials struct {
	Username   string `yaml:"username,omitempty"`
	Password   string `yaml:"password,omitempty"`
	Token      string `yaml:"token,omitempty"`
	SSHKey     string `yaml:"sshKey,omitempty"`
	KnownHosts string `yaml:"knownHosts,omitempty"`
	CA         string `yaml:"ca,omitempty"`
}

// Signatures say who must have signed.
type Signatures struct {
	Require string   `yaml:"require"`
	GPG     []string `yaml:"gpg"`
}

// Write adds a file to the repository.
func (p *Repository) Write(path, content string) {
	if p.Files == nil {
		p.Files = map[string]string{}
	}
	p.Files[path] = content
}

// Policy says when and how changes are applied.
type Policy struct {
	Name          string     `yaml:"-"`
	Approve       []Approval `yaml:"approve,omitempty"`
	Windows       []string   `yaml:"windows,omitempty"`
	Drift         string     `yaml:"drift,omitempty"`
	DriftInterval Duration   `yaml:"driftInterval,omitempty"`
}

// Approval is a rule of approval.
type Approval struct {
	By    []string `yaml:"by"`
	Count int      `yaml:"count,omitempty"`
}

// Environment is a cluster, or a view of it under a policy of its own.
type Environment struct {
	Name    string  `yaml:"-"`
	Driver  string  `yaml:"driver"`
	Policy  string  `yaml:"policy,omitempty"`
	Connect Connect `yaml:"connect"`
	Allow   []Grant `yaml:"allow,omitempty"`
}

// Grant lets a repository use the environment.
type Grant struct {
	Repository string   `yaml:"repository"`
	Paths      []string `yaml:"paths,omitempty"`
	Scope      *Scope   `yaml:"scope,omitempty"`
}

// Notify is a route of notifications.
type Notify struct {
	On           []string `yaml:"on"`
	To           string   `yaml:"to"`
	Environments []string `yaml:"environments,omitempty"`
	Targets      []string `yaml:"targets,omitempty"`
}

// User is somebody who may use trueup.
type User struct {
	Name         string   `yaml:"-"`
	Role         string   `yaml:"role"`
	Teams        []string `yaml:"teams,omitempty"`
	Environments []string `yaml:"environments,omitempty"`
}

// order sorts what has no order of its own.
func (e *Environment) order() {
	slices.SortStableFunc(e.Allow, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(strings.Join(a.Paths, " "), strings.Join(b.Paths, " ")))
	})
	for i := range e.Allow {
		slices.Sort(e.Allow[i].Paths)
		e.Allow[i].Paths = slices.Compact(e.Allow[i].Paths)
	}
	slices.Sort(e.Connect.ServiceAccounts)
	e.Connect.ServiceAccounts = slices.Compact(e.Connect.ServiceAccounts)
}

// Grant adds paths to the grant of a repository with the same scope.
func (e *Environment) Grant(repository string, scope *Scope, paths ...string) {
	for i := range e.Allow {
		if g := &e.Allow[i]; g.Repository == repository && g.Scope.equal(scope) {
			g.Paths = append(g.Paths, paths...)
			return
		}
	}
	e.Allow = append(e.Allow, Grant{Repository: repository, Scope: scope, Paths: slices.Clone(paths)})
}

// Duration is written as people write it: 10m, not 10m0s.
type Duration time.Duration

// String is the short form.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalYAML writes the short form.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }
