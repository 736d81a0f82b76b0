package handover

import "slices"

// Target is an entry of trueup.yaml.
//
//house:exception the fields are those of an entry of trueup.yaml
type Target struct {
	Name         string   `yaml:"name"`
	Each         string   `yaml:"each,omitempty"`
	Environment  string   `yaml:"environment,omitempty"`
	Environments []string `yaml:"environments,omitempty"`
	Path         string   `yaml:"path"`
	Inputs       []string `yaml:"inputs,omitempty"`
	DependsOn    []string `yaml:"dependsOn,omitempty"`
	Health       []Health `yaml:"health,omitempty"`
	OnFailure    string   `yaml:"onFailure,omitempty"`
	Mode         string   `yaml:"mode,omitempty"`
	Suspend      string   `yaml:"suspend,omitempty"`
	Spec         Spec     `yaml:"spec,omitempty"`
	Scope        *Scope   `yaml:"scope,omitempty"`

	Repository string    `yaml:"-"` // by name
	From       []*Object `yaml:"-"` // what it replaces
}

// Input adds globs of what else is read.
func (t *Target) Input(globs ...string) {
	for _, g := range globs {
		if !slices.Contains(t.Inputs, g) {
			t.Inputs = append(t.Inputs, g)
		}
	}
}

// Hold suspends the target until a person has seen to something; the reason
// of another hold is kept.
func (t *Target) Hold(reason string) {
	if t.Suspend != "" && t.Suspend != reason {
		reason = t.Suspend + "; " + reason
	}
	t.Suspend = reason
}

// Health is a check after an apply.
type Health struct {
	Ready       any      `yaml:"ready,omitempty"`
	Expressions []Rule   `yaml:"expressions,omitempty"`
	Within      Duration `yaml:"within,omitempty"`
}

// Rule says by expressions when objects of a kind are ready.
type Rule struct {
	Kind   string `yaml:"kind"`
	Ready  string `yaml:"ready"`
	Failed string `yaml:"failed,omitempty"`
}

// Connect says where a cluster is.
type Connect struct {
	Kubeconfig      string   `yaml:"kubeconfig,omitempty"`
	Context         string   `yaml:"context,omitempty"`
	InCluster       bool     `yaml:"inCluster,omitempty"`
	ServiceAccounts []string `yaml:"serviceAccounts,omitempty"`
	Managers        []string `yaml:"managers,omitempty"`
	SOPS            *SOPS    `yaml:"sops,omitempty"`
	Sources         []Source `yaml:"sources,omitempty"`
}

// SOPS has what opens encrypted files.
type SOPS struct {
	Age   []string `yaml:"age,omitempty"`
	Types []string `yaml:"types,omitempty"`
}

// Source is a registry or a chart repository that targets may read.
type Source struct {
	URL      string `yaml:"url"`
	Username string `yaml:"username,omitempty"`
	Password string `yaml:"password,omitempty"`
	CA       string `yaml:"ca,omitempty"`
	Insecure bool   `yaml:"insecure,omitempty"`
}

// AddSource allows a registry or chart repository.
func (c *Connect) AddSource(s Source) {
	if !slices.ContainsFunc(c.Sources, func(o Source) bool { return o.URL == s.URL }) {
		c.Sources = append(c.Sources, s)
	}
}

// Scope narrows a cluster.
type Scope struct {
	Namespaces []string `yaml:"namespaces,omitempty"`
	Kinds      []string `yaml:"kinds,omitempty"`
	Names      []string `yaml:"names,omitempty"`
}

func (s *Scope) equal(o *Scope) bool {
	if s == nil || o == nil {
		return s == o
	}
	return slices.Equal(s.Namespaces, o.Namespaces) && slices.Equal(s.Kinds, o.Kinds) && slices.Equal(s.Names, o.Names)
}

// Spec is what the kubernetes driver reads of a target.
type Spec struct {
	Render            string    `yaml:"render,omitempty"`
	Namespace         string    `yaml:"namespace,omitempty"`
	ServiceAccount    string    `yaml:"serviceAccount,omitempty"`
	CreateNamespace   bool      `yaml:"createNamespace,omitempty"`
	Include           []string  `yaml:"include,omitempty"`
	Exclude           []string  `yaml:"exclude,omitempty"`
	Source            *Artefact `yaml:"source,omitempty"`
	Helm              *Helm     `yaml:"helm,omitempty"`
	Jsonnet           *Jsonnet  `yaml:"jsonnet,omitempty"`
	IgnoreDifferences []Ignore  `yaml:"ignoreDifferences,omitempty"`
}

// Artefact is something outside of Git, pinned by digest.
type Artefact struct {
	URL     string `yaml:"url"`
	Name    string `yaml:"name,omitempty"`
	Version string `yaml:"version,omitempty"`
	Digest  string `yaml:"digest"`
	Path    string `yaml:"path,omitempty"` // inside of it
}

// NoDigest stands where a digest is to be filled in. Nothing has it, so that a
// target that is applied all the same fails instead of taking something else.
const NoDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// Helm says how a chart is rendered or installed.
type Helm struct {
	Chart       string    `yaml:"chart,omitempty"`
	Source      *Artefact `yaml:"source,omitempty"`
	Mode        string    `yaml:"mode,omitempty"`
	ReleaseName string    `yaml:"releaseName,omitempty"`
	ValuesFiles []string  `yaml:"valuesFiles,omitempty"`
	SkipCRDs    bool      `yaml:"skipCRDs,omitempty"`
	SkipTests   bool      `yaml:"skipTests,omitempty"`
	SkipSchema  bool      `yaml:"skipSchema,omitempty"`
	KubeVersion string    `yaml:"kubeVersion,omitempty"`
	APIVersions []string  `yaml:"apiVersions,omitempty"`
	Release     *Release  `yaml:"release,omitempty"`
}

// Release says how a release is installed and upgraded.
type Release struct {
	Timeout           Duration `yaml:"timeout,omitempty"`
	Wait              string   `yaml:"wait,omitempty"`
	WaitForJobs       bool     `yaml:"waitForJobs,omitempty"`
	DisableHooks      bool     `yaml:"disableHooks,omitempty"`
	RollbackOnFailure bool     `yaml:"rollbackOnFailure,omitempty"`
	MaxHistory        int64    `yaml:"maxHistory,omitempty"`
	KeepHistory       bool     `yaml:"keepHistory,omitempty"`
	CreateNamespace   bool     `yaml:"createNamespace,omitempty"`
	CRDs              string   `yaml:"crds,omitempty"`
	Test              bool     `yaml:"test,omitempty"`
	StorageNamespace  string   `yaml:"storageNamespace,omitempty"`
}

// Jsonnet says how a program is evaluated.
type Jsonnet struct {
	Libraries []string       `yaml:"libraries,omitempty"`
	ExtVars   map[string]any `yaml:"extVars,omitempty"`
	TLAs      map[string]any `yaml:"tlas,omitempty"`
}

// Ignore leaves parts of some objects to others.
type Ignore struct {
	Group       string   `yaml:"group,omitempty"`
	Kind        string   `yaml:"kind,omitempty"`
	Namespace   string   `yaml:"namespace,omitempty"`
	Name        string   `yaml:"name,omitempty"`
	Pointers    []string `yaml:"pointers,omitempty"`
	Expressions []string `yaml:"expressions,omitempty"`
	Managers    []string `yaml:"managers,omitempty"`
}
