// Package rest is the http driver: resources of a REST API as desired state,
// by requests that the operator declares. See docs/drivers/http.md.
package rest

import (
	"context"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/driver"
)

const (
	name    = "http"
	version = "1"
)

type restDriver struct{}

// New makes the driver.
func New() driver.Driver { return restDriver{} }

// Info describes the driver.
func (restDriver) Info() driver.Info {
	return driver.Info{Name: name, Summary: "resources of a REST API, by requests that the operator declares", Version: version,
		Spec: func() any { return &Spec{} }, Scope: func() driver.ScopeSpec { return &Scope{} }, Connect: func() any { return &Connect{} },
		StopGrace: 15 * time.Second}
}

// Open resolves the credentials; nothing is asked yet.
func (restDriver) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("http: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	cl, err := newClient(ctx, c, env)
	if err != nil {
		return nil, fmt.Errorf("environment %s: connect: %w", env.Name, err)
	}
	return &session{connect: c, client: cl, purpose: purpose, key: env.HashKey}, nil
}
