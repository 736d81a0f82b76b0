// Package exec is the driver for tools that have none of their own: commands
// that the operator declares plan and apply, a JSON contract says what they
// found. See docs/drivers/exec.md.
package exec

import (
	"context"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/driver"
)

const (
	name    = "exec"
	version = "1"
	// stopGrace is how long a cancelled apply may take; a program is
	// interrupted first and killed, with all it started, after killAfter.
	stopGrace = 30 * time.Second
	killAfter = 20 * time.Second
)

type execDriver struct{}

// New makes the driver.
func New() driver.Driver { return execDriver{} }

// Info describes the driver.
func (execDriver) Info() driver.Info {
	return driver.Info{Name: name, Summary: "any tool, by commands that the operator declares", Version: version,
		Spec: func() any { return &Spec{} }, Scope: func() driver.ScopeSpec { return &Scope{} }, Connect: func() any { return &Connect{} },
		RunsRepositoryCode: true, StopGrace: stopGrace}
}

// Open resolves the secrets and finds the user that the commands run as.
func (execDriver) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("exec: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	s := &session{connect: c.filled(), env: env, purpose: purpose, scrub: &scrubber{}, secrets: map[string]string{}}
	for _, n := range sortedKeys(c.Secrets) {
		v, err := env.Secret(ctx, c.Secrets[n])
		if err != nil {
			return nil, fmt.Errorf("environment %s: connect: secrets.%s: %w", env.Name, n, err)
		}
		s.secrets[n] = v.Reveal()
		s.scrub.add(v.Reveal())
	}
	if c.Preset == jenkins {
		v, err := env.Secret(ctx, c.Jenkins.Token)
		if err != nil {
			return nil, fmt.Errorf("environment %s: connect: jenkins.token: %w", env.Name, err)
		}
		s.secrets[jenkinsToken] = v.Reveal()
		s.scrub.add(v.Reveal())
	}
	var err error
	if s.owner, err = lookupOwner(c.User); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: user: %w", env.Name, err))
	}
	sweep()
	return s, nil
}
