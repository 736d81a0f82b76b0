// Package kubernetes is the kubernetes driver: objects of a Kubernetes cluster
// from manifests, planned by dry runs and written by server-side apply. See
// docs/drivers/kubernetes.md.
package kubernetes

import (
	"context"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

const (
	name    = "kubernetes"
	version = "1"
	// manager is the field manager that everything is written as.
	manager = "trueup"
)

// exactEvery is how long fingerprints, and what a session remembers, may stand
// in for a dry run: admission and defaults may change meanwhile.
const exactEvery = time.Hour

// kubeDriver remembers renderings that need no environment.
type kubeDriver struct{ cache *render.Cache }

// New makes the driver.
func New() driver.Driver { return &kubeDriver{cache: render.NewCache(render.DefaultCache)} }

// Info describes the driver.
func (*kubeDriver) Info() driver.Info {
	return driver.Info{Name: name, Summary: "objects of a Kubernetes cluster, by server-side apply", Version: version,
		Spec: func() any { return &Spec{} }, Scope: func() driver.ScopeSpec { return &Scope{} }, Connect: func() any { return &Connect{} },
		StopGrace: 15 * time.Second, Fingerprint: fingerprint, ExactEvery: exactEvery}
}

// Open resolves the credentials; nothing is asked yet.
func (d *kubeDriver) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("kubernetes: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	open, err := c.opener(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("environment %s: connect: %w", env.Name, err)
	}
	cl, err := c.cluster(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("environment %s: connect: %w", env.Name, err)
	}
	s := newSession(c, cl, env, purpose)
	s.renderer = renderer{driver: d, opener: open, cache: render.NewCache(render.DefaultCache)}
	return s, nil
}
