package config

import (
	"time"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Manifest is one trueup.yaml of a repository.
type Manifest struct {
	Version int      `yaml:"version" jsonschema:"required,minimum=1,maximum=1"` // of the file format; 1
	Targets []Target `yaml:"targets"`                                           // what is applied where

	file string // as it was parsed
}

// Target is one entry of trueup.yaml as it is written, before `each` and
// `environments` are expanded. Paths are relative to the manifest's directory.
//
//house:exception the fields are those of the file, one for each key of a target
type Target struct {
	Name         string            `yaml:"name" jsonschema:"required"`              // unique in the repository; may hold {dir} with each
	ID           string            `yaml:"id"`                                      // default: name; keeps ownership through renames
	Previously   Previously        `yaml:"previously"`                              // earlier names, environments and addresses
	Each         string            `yaml:"each"`                                    // a glob such as apps/*: one target for each directory it matches
	Environment  string            `yaml:"environment"`                             // where it is applied
	Environments []string          `yaml:"environments" jsonschema:"maxItems=1000"` // where it is applied, when that is in several: one run for each
	Path         string            `yaml:"path" jsonschema:"required"`              // of the desired state, a file or directory
	Inputs       []string          `yaml:"inputs" jsonschema:"maxItems=1000"`       // globs of what else is read, and so decides what is due
	DependsOn    []string          `yaml:"dependsOn" jsonschema:"maxItems=1000"`    // targets that must be applied before
	Values       map[string]string `yaml:"values"`                                  // name: target.output
	Outputs      map[string]Export `yaml:"outputs"`                                 // values that other targets may use
	Health       []Health          `yaml:"health" jsonschema:"maxItems=50"`         // checks after every apply
	// OnFailure is hold (default) or rollback.
	OnFailure string `yaml:"onFailure" jsonschema:"default=hold,enum=hold,enum=rollback"`
	// OnRemove is orphan (default) or destroy.
	OnRemove string `yaml:"onRemove" jsonschema:"default=orphan,enum=orphan,enum=destroy"`
	// Mode is apply (default) or addOnly.
	Mode string `yaml:"mode" jsonschema:"default=apply,enum=apply,enum=addOnly"`
	// Promote says which versions come from which other target.
	Promote *Promotion `yaml:"promote"`
	// WriteBack declares fields that the environment may change by itself.
	WriteBack []WriteBack `yaml:"writeBack" jsonschema:"maxItems=100"`
	// Images are what is followed to its newest version.
	Images []Image `yaml:"images" jsonschema:"maxItems=100"`
	// Suspend stops reconciling, with the reason given.
	Suspend string   `yaml:"suspend"`
	Rollout *Rollout `yaml:"rollout"` // how a change goes over many scopes (hosts); without it, over all at once
	// Spec is decoded by the driver's type.
	Spec any `yaml:"spec" strict:"late"`
	// Scope narrows the target inside its environment; decoded by the driver's type.
	Scope any `yaml:"scope" strict:"late"`

	node *strict.Node // as it was written, for places and for the driver's parts
}

// Previously says what a target or its objects were called before.
type Previously struct {
	Names []string `yaml:"names" strict:"one" jsonschema:"maxItems=100"` // earlier names or ids
	// Environments maps an environment's earlier name to the one it has now,
	// for targets with environments.
	Environments map[string]string             `yaml:"environments"`
	Addresses    map[plan.Address]plan.Address `yaml:"addresses"` // old: new
}

// Export declares an output and who may read it; empty is every target of the
// same repository.
type Export struct {
	ReadableBy []string `yaml:"readableBy" strict:"one" jsonschema:"maxItems=1000"`
}

// Health is one check after apply. Exactly one of the kinds is set; drivers
// may add their own under Driver. {{ .host }} and other variables of a scope
// make it a check of each scope.
type Health struct {
	TCP     string         `yaml:"tcp"`                                         // host:port that must accept a connection
	HTTP    string         `yaml:"http"`                                        // URL that must answer
	Status  int            `yaml:"status" jsonschema:"minimum=100,maximum=599"` // with HTTP; default 200 to 299
	DNS     *DNSCheck      `yaml:"dns"`                                         // question that must be answered
	Command string         `yaml:"command"`                                     // a name from the operator's commands
	Driver  map[string]any `yaml:"driver"`                                      // a check of the driver itself; any other field stands for one of these
	Within  time.Duration  `yaml:"within" jsonschema:"default=1m,minimum=1s"`   // how long it may take
	For     time.Duration  `yaml:"for" jsonschema:"minimum=1s,maximum=1h"`      // how long it must then stay healthy
}

// DNSCheck asks a name server.
type DNSCheck struct {
	Name   string   `yaml:"name" jsonschema:"required"` // name to ask for
	Type   string   `yaml:"type" jsonschema:"default=A"`
	Server string   `yaml:"server"`                                 // host:port
	Ask    string   `yaml:"ask" jsonschema:"enum=every-nameserver"` // every-nameserver: each NS of the zone must answer
	Expect []string `yaml:"expect" strict:"one"`                    // answers that must be there; empty is any
}

// Resolved is a target after expansion and validation, ready for the engine.
//
//house:exception a target after expansion, one field for each of its keys
type Resolved struct {
	// ID is unique over all repositories: repository/id[@environment].
	ID          string `json:"id"`
	Repository  string `json:"repository"`
	Manifest    string `json:"manifest"` // path of the trueup.yaml
	Name        string `json:"name"`
	Environment string `json:"environment"`
	// Driver is the environment's driver when the target was resolved.
	Driver string `json:"driver"`
	// PreviousIDs are ids under which the target may own objects already.
	PreviousIDs []string                      `json:"previousIds,omitempty"`
	Addresses   map[plan.Address]plan.Address `json:"addresses,omitempty"`
	Path        string                        `json:"path"`   // relative to the repository root
	Inputs      []string                      `json:"inputs"` // globs, relative to the repository root
	// Followed are further files and directories that the driver found the
	// target to read (local modules), at the commit that it was taken in.
	Followed  []string            `json:"followed,omitempty"`
	DependsOn []string            `json:"dependsOn,omitempty"`
	Values    map[string]ValueRef `json:"values,omitempty"`
	Outputs   map[string]Export   `json:"outputs,omitempty"`
	Health    []Health            `json:"health,omitempty"`
	OnFailure string              `json:"onFailure,omitempty"`
	OnRemove  string              `json:"onRemove,omitempty"`
	Mode      plan.Mode           `json:"mode"`
	Suspend   string              `json:"suspend,omitempty"`
	Rollout   *Rollout            `json:"rollout,omitempty"`
	Promote   *Promotion          `json:"promote,omitempty"`
	WriteBack []WriteBack         `json:"writeBack,omitempty"`
	Images    []Image             `json:"images,omitempty"`
	// Raw is the spec and scope as JSON, for the store and the inputs digest.
	RawSpec  []byte           `json:"rawSpec,omitempty"`
	RawScope []byte           `json:"rawScope,omitempty"`
	Spec     any              `json:"-"`
	Scope    driver.ScopeSpec `json:"-"`
	Source   plan.Source      `json:"source,omitzero"`
	// EachBase and EachDir are the directory that `each` looks into and the sub
	// directory that this target was made for; empty without `each`.
	EachBase string `json:"eachBase,omitempty"`
	EachDir  string `json:"eachDir,omitempty"`
}

// ValueRef names another target's output.
type ValueRef struct {
	Target string `json:"target"` // its ID
	Output string `json:"output"`
}
