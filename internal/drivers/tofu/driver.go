// Package tofu is the driver for OpenTofu and Terraform. A target is one root
// module; the plan that was shown is the plan that is applied, the programs run
// in a private working copy with an environment of their own, and state is
// never lost to a cancelled run. See docs/drivers/tofu.md.
package tofu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// stopGrace is how long a cancelled apply has: an interrupt first, a second
// request near the end, then the process group is killed.
const stopGrace = 60 * time.Second

// New makes the driver.
func New() driver.Driver { return &tofuDriver{} }

type tofuDriver struct{}

// Info describes the driver.
func (*tofuDriver) Info() driver.Info {
	return driver.Info{
		Name:               "tofu",
		Summary:            "OpenTofu and Terraform root modules",
		Version:            "1",
		Spec:               func() any { return &Spec{} },
		Scope:              func() driver.ScopeSpec { return &Scope{} },
		Connect:            func() any { return &Connect{} },
		RunsRepositoryCode: true,
		DestroysFromTree:   true,
		StopGrace:          stopGrace,
	}
}

// Open looks for the program and resolves the environment's credentials. The
// cloud itself is reached by the providers alone.
func (*tofuDriver) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("tofu: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	s := &session{env: env, c: c, purpose: purpose}
	var err error
	if s.owner, err = lookupOwner(c.User); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: user: %w", env.Name, err))
	}
	if s.program, err = findProgram(c.Program, env.Dir); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: program: %w", env.Name, err))
	}
	if s.version, err = s.program.version(ctx); err != nil {
		return nil, fmt.Errorf("environment %s: %w", env.Name, err)
	}
	if s.cache, err = cacheDir(c.Cache, env.Dir); err != nil {
		return nil, fmt.Errorf("environment %s: connect: cache: %w", env.Name, err)
	}
	if err := s.credentials(ctx); err != nil {
		return nil, fmt.Errorf("environment %s: %w", env.Name, err)
	}
	return s, nil
}

// session runs the program for one environment.
type session struct {
	env     driver.Environment
	c       *Connect
	purpose driver.Purpose
	program program
	version programVersion
	cache   string
	owner   *owner
	creds
}

// creds are the environment's secrets, resolved.
type creds struct {
	env, files, variables, backend map[string]secret.Value
	tokens                         map[string]secret.Value
	logins                         map[string]login
	sshKey                         secret.Value
}

// login is a name and password for a host that modules come from.
type login struct {
	user     string
	password secret.Value
}

func (s *session) credentials(ctx context.Context) error {
	all := func(field string, refs map[string]secret.Ref) (map[string]secret.Value, error) {
		out := make(map[string]secret.Value, len(refs))
		for name, ref := range refs {
			v, err := s.resolve(ctx, ref)
			if err != nil {
				return nil, fmt.Errorf("connect: %s[%q]: %w", field, name, err)
			}
			out[name] = v
		}
		return out, nil
	}
	var err error
	if s.creds.env, err = all("secretEnv", s.c.SecretEnv); err != nil {
		return err
	}
	if s.files, err = all("files", s.c.Files); err != nil {
		return err
	}
	if s.variables, err = all("variables", s.c.Variables); err != nil {
		return err
	}
	if s.backend, err = all("backend.secrets", s.c.Backend.Secrets); err != nil {
		return err
	}
	if s.tokens, err = all("modules.tokens", s.c.Modules.Tokens); err != nil {
		return err
	}
	s.logins = map[string]login{}
	for host, l := range s.c.Modules.Logins {
		v, err := s.resolve(ctx, l.Password)
		if err != nil {
			return fmt.Errorf("connect: modules.logins[%q]: %w", host, err)
		}
		s.logins[host] = login{user: l.User, password: v}
	}
	if s.c.Modules.SSHKey != "" {
		if s.sshKey, err = s.resolve(ctx, s.c.Modules.SSHKey); err != nil {
			return fmt.Errorf("connect: modules.sshKey: %w", err)
		}
	}
	return nil
}

func (s *session) resolve(ctx context.Context, ref secret.Ref) (secret.Value, error) {
	if s.env.Secret == nil {
		return secret.Value{}, fmt.Errorf("%s: there are no secrets here", ref.Scheme())
	}
	return s.env.Secret(ctx, ref)
}

// Close releases nothing: every run of the program ends with its call.
func (s *session) Close() error { return nil }

// cacheDir makes the directory for working copies and providers, for nobody
// else to read.
func cacheDir(given, base string) (string, error) {
	dir := given
	switch {
	case dir == "":
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "trueup", "tofu")
	case !filepath.IsAbs(dir):
		dir = filepath.Join(base, dir)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
