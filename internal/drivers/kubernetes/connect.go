package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"k8s.io/client-go/rest"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says where a cluster is, and what targets may do there.
//
//house:exception the fields of one part of the configuration stand together
type Connect struct {
	// Kubeconfig is a reference to the text of a kubeconfig.
	Kubeconfig secret.Ref `yaml:"kubeconfig,omitempty" json:"kubeconfig,omitempty"`
	// Context names a context of the kubeconfig; its current one by default.
	Context string `yaml:"context,omitempty" json:"context,omitempty"`
	// InCluster uses the service account of the pod that trueup runs in.
	InCluster bool `yaml:"inCluster,omitempty" json:"inCluster,omitempty"`
	// AllowExec lets the kubeconfig run programs for credentials, and name files
	// of this machine.
	AllowExec bool `yaml:"allowExec,omitempty" json:"allowExec,omitempty"`
	// As is whom every request impersonates.
	As *As `yaml:"as,omitempty" json:"as,omitempty"`
	// ServiceAccounts are globs of namespace/name of the service accounts that
	// targets may name in spec.serviceAccount.
	ServiceAccounts []string `yaml:"serviceAccounts,omitempty" json:"serviceAccounts,omitempty" strict:"one"`
	// RequireServiceAccount refuses targets that name no service account.
	RequireServiceAccount bool `yaml:"requireServiceAccount,omitempty" json:"requireServiceAccount,omitempty"`
	// Conflicts says what happens to fields that other managers own with other
	// values: hold (the default) asks for an approval, force takes them over.
	Conflicts Conflicts `yaml:"conflicts,omitempty" json:"conflicts,omitempty" jsonschema:"enum=hold,enum=force"`
	// Managers are globs of field managers that stand for people and for tools
	// that trueup takes the place of: their fields are taken over when an object
	// is adopted, and what they change of an owned object is drift.
	Managers []string `yaml:"managers,omitempty" json:"managers,omitempty" strict:"one"`
	// Recreate are kinds that may be deleted and created anew where a field
	// can't be changed: Job.batch.
	Recreate []string `yaml:"recreate,omitempty" json:"recreate,omitempty" strict:"one"`
	// SOPS are the keys that open encrypted files.
	SOPS *SOPS `yaml:"sops,omitempty" json:"sops,omitempty"`
	// Sources are registries and chart repositories that artefacts may come
	// from, pinned by their digest.
	Sources []registry.Source `yaml:"sources,omitempty" json:"sources,omitempty"`
	// RemoteBases lets kustomizations name bases outside of Git, which have to
	// stand under spec.kustomize.remotes.
	RemoteBases bool `yaml:"remoteBases,omitempty" json:"remoteBases,omitempty"`
	Attention   `yaml:",inline" json:",inline"`
	// Helm says what charts that are installed as releases may do.
	Helm HelmPolicy `yaml:"helm,omitempty" json:"helm,omitzero"`
	// Timeout bounds a request; 30s by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// QPS is the most requests in a second; 0 leaves that to the server.
	QPS float32 `yaml:"qps,omitempty" json:"qps,omitempty"`
}

// HelmPolicy says what charts that are installed as releases may do.
type HelmPolicy struct {
	// Lookup lets templates read objects of the cluster, as far as the
	// credentials reach. What they read may end up in any object of the chart.
	Lookup bool `yaml:"lookup,omitempty" json:"lookup,omitempty"`
}

// Conflicts is a way of treating fields that others own.
type Conflicts string

// The ways.
const (
	Hold  Conflicts = "hold"
	Force Conflicts = "force"
)

// SOPS are the keys that open encrypted files.
type SOPS struct {
	// Age are references to age identities.
	Age []secret.Ref `yaml:"age,omitempty" json:"age,omitempty" strict:"one"`
	// Types are the kinds of keys that may be used; age alone by default. A file
	// names the key service that is asked, so allow the others for repositories
	// that are trusted.
	Types []string `yaml:"types,omitempty" json:"types,omitempty" strict:"one" jsonschema:"enum=age,enum=pgp,enum=kms,enum=gcp_kms,enum=azure_kv,enum=hc_vault"`
}

var sopsTypes = []string{"age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault"}

// As is somebody to impersonate.
type As struct {
	User   string   `yaml:"user" json:"user" jsonschema:"required"`
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty" strict:"one"`
}

// defaultManagers are people with kubectl, and what is usually moved away from.
var defaultManagers = []string{"kubectl*", "helm", "helm-controller", "kustomize-controller", "argocd-controller",
	"argocd-application-controller", "before-first-apply"}

// Validate reports mistakes.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	at := plan.Source{}
	switch {
	case c.Kubeconfig == "" && !c.InCluster:
		d.Errorf(at, "kubeconfig", "give a reference such as file:/etc/trueup/kubeconfig, or inCluster: true", "no cluster is named")
	case c.Kubeconfig != "" && c.InCluster:
		d.Errorf(at, "inCluster", "use one of them", "kubeconfig and inCluster are both given")
	}
	if c.InCluster && (c.Context != "" || c.AllowExec) {
		d.Errorf(at, "inCluster", "remove context and allowExec", "context and allowExec are about a kubeconfig")
	}
	if c.As != nil && c.As.User == "" {
		d.Errorf(at, "as.user", "name a user, for example system:serviceaccount:trueup:deployer", "is missing")
	}
	for i, g := range c.ServiceAccounts {
		if strings.Count(g, "/") != 1 || !doublestar.ValidatePattern(g) {
			d.Errorf(at, fmt.Sprintf("serviceAccounts[%d]", i), "write it as shop/*", "%q is no glob of namespace/name", g)
		}
	}
	if c.RequireServiceAccount && len(c.ServiceAccounts) == 0 {
		d.Errorf(at, "requireServiceAccount", "list those that targets may use in serviceAccounts", "no service account is allowed")
	}
	if c.As != nil && len(c.ServiceAccounts) > 0 {
		d.Errorf(at, "as", "use one of them", "as and serviceAccounts both say whom requests impersonate")
	}
	if c.Conflicts != "" && c.Conflicts != Hold && c.Conflicts != Force {
		d.Errorf(at, "conflicts", "write hold or force", "%q is unknown", c.Conflicts)
	}
	if c.SOPS != nil {
		for i, t := range c.SOPS.Types {
			if !slices.Contains(sopsTypes, t) {
				d.Errorf(at, fmt.Sprintf("sops.types[%d]", i), "write "+strings.Join(sopsTypes, ", "), "%q is unknown", t)
			}
		}
	}
	d = append(d, registry.Check("sources", c.Sources)...)
	checkGlobs(&d, "managers", c.Managers, "kubectl*")
	checkGlobs(&d, "recreate", c.Recreate, "Job.batch")
	c.validate(&d)
	if c.Timeout < 0 {
		d.Errorf(at, "timeout", "write a time such as 30s", "is negative")
	}
	if c.QPS < 0 {
		d.Errorf(at, "qps", "write a number from 0 up", "is negative")
	}
	return d
}

func checkGlobs(d *plan.Diagnostics, field string, globs []string, example string) {
	for i, g := range globs {
		if g == "" || !doublestar.ValidatePattern(g) {
			d.Errorf(plan.Source{}, fmt.Sprintf("%s[%d]", field, i), "write it as "+example, "%q is no glob", g)
		}
	}
}

func matches(globs []string, text string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { return doublestar.MatchUnvalidated(g, text) })
}

// ours tells that what a field manager changed is drift, and its fields may be
// taken over.
func (c *Connect) ours(m string) bool {
	if c.Managers == nil {
		return matches(defaultManagers, m)
	}
	return matches(c.Managers, m)
}

// userAgent is what servers know trueup as.
const userAgent = "trueup"

// cluster makes the connection.
func (c *Connect) cluster(ctx context.Context, env driver.Environment) (*kube.Cluster, error) {
	o := kube.Options{Context: c.Context, AllowExec: c.AllowExec, Timeout: c.Timeout, QPS: c.QPS, Burst: int(c.QPS) * 2, UserAgent: userAgent}
	if c.Kubeconfig != "" {
		v, err := env.Secret(ctx, c.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		if o.Kubeconfig = []byte(v.Reveal()); len(o.Kubeconfig) == 0 {
			return nil, driver.Permanent(fmt.Errorf("kubeconfig: %s is empty", c.Kubeconfig))
		}
	}
	config, err := kube.Config(o)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	if c.As != nil {
		config.Impersonate = rest.ImpersonationConfig{UserName: c.As.User, Groups: c.As.Groups}
	}
	cl, err := kube.New(config)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	return cl, nil
}
