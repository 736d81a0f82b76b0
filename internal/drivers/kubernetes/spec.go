package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// Spec is the spec of a kubernetes target.
type Spec struct {
	render.Spec `yaml:",inline" json:",inline"`
	// ServiceAccount is whom the target's requests impersonate: name, or
	// namespace/name. The operator lists those that are allowed.
	ServiceAccount string `yaml:"serviceAccount,omitempty" json:"serviceAccount,omitempty"`
	// CreateNamespace makes the target's namespace if it is not there. One that
	// is there already is left alone.
	CreateNamespace bool `yaml:"createNamespace,omitempty" json:"createNamespace,omitempty"`
	// IgnoreDifferences are fields of objects that are there which are left to
	// others: neither compared nor applied.
	IgnoreDifferences []ignore.Rule `yaml:"ignoreDifferences,omitempty" json:"ignoreDifferences,omitempty"`
	// Wait bounds what an apply waits for.
	Wait Wait `yaml:"wait,omitempty" json:"wait,omitzero"`
	// Outputs are values of live objects that other targets may use.
	Outputs map[string]Output `yaml:"outputs,omitempty" json:"outputs,omitempty"`
}

// Output is a value of a live object.
type Output struct {
	// Object is its address: Service/shop/web.
	Object string `yaml:"object" json:"object" jsonschema:"required"`
	// Path is a JSON pointer to the value: /status/loadBalancer/ingress/0/ip.
	Path string `yaml:"path" json:"path" jsonschema:"required"`
	// Sensitive masks the value; what comes from a Secret always is.
	Sensitive bool `yaml:"sensitive,omitempty" json:"sensitive,omitempty"`
}

// Validate reports mistakes.
func (s *Spec) Validate() plan.Diagnostics {
	d := s.Spec.Validate()
	at := plan.Source{}
	s.Wait.check(&d, "wait")
	if s.CreateNamespace && s.Namespace == "" {
		d.Errorf(at, "createNamespace", "set namespace, or put the namespace among the manifests", "it is not said which namespace")
	}
	if s.Helm != nil && s.Helm.Mode == render.Release && s.Namespace == "" {
		d.Errorf(at, "namespace", "write the namespace of the release", "a release needs one")
	}
	_, found := ignore.Compile(s.IgnoreDifferences)
	for i := range found {
		found[i].Field = "ignoreDifferences" + found[i].Field
	}
	d = append(d, found...)
	if s.ServiceAccount != "" {
		ns, n, full := strings.Cut(s.ServiceAccount, "/")
		switch {
		case !full && s.Namespace == "":
			d.Errorf(at, "serviceAccount", "write it as namespace/name, or set namespace", "%q does not say in which namespace it is", s.ServiceAccount)
		case full && (ns == "" || n == "" || strings.Contains(n, "/")):
			d.Errorf(at, "serviceAccount", "write it as name or namespace/name", "%q is no service account", s.ServiceAccount)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.Outputs)) {
		o, field := s.Outputs[n], "outputs."+n
		if _, err := manifest.ParseAddress(plan.Address(o.Object)); err != nil {
			d.Errorf(at, field+".object", "write it as Service/shop/web or Deployment.apps/shop/web", "%q names no object", o.Object)
		}
		if !strings.HasPrefix(o.Path, "/") {
			d.Errorf(at, field+".path", "write it as /status/loadBalancer/ingress/0/ip", "%q is no JSON pointer", o.Path)
		}
	}
	return d
}

// account gives whom the target's requests are made as; "" is nobody in
// particular.
func (s *Spec) account() (namespace, name string) {
	if s.ServiceAccount == "" {
		return "", ""
	}
	if ns, n, full := strings.Cut(s.ServiceAccount, "/"); full {
		return ns, n
	}
	return s.Namespace, s.ServiceAccount
}

// user is the name that the API server knows the target's service account by.
func (s *Spec) user() string {
	ns, n := s.account()
	if n == "" {
		return ""
	}
	return fmt.Sprintf("system:serviceaccount:%s:%s", ns, n)
}
