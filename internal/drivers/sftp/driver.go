// Package sftp is the driver for servers that offer file transfer and no
// shell: files of a repository are brought to a directory there over SFTP.
// See docs/drivers/sftp.md.
package sftp

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	client "trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
)

type sftpDriver struct{}

// New makes the driver.
func New() driver.Driver { return sftpDriver{} }

const (
	name    = "sftp"
	version = "1"
	// exactEvery is how long size, time and record may stand in for a read.
	exactEvery = 6 * time.Hour
)

// Info describes the driver.
func (sftpDriver) Info() driver.Info {
	return driver.Info{Name: name, Summary: "a directory on a server that offers SFTP and no shell", Version: version,
		Spec: func() any { return &Spec{} }, Scope: func() driver.ScopeSpec { return &Scope{} }, Connect: func() any { return &Connect{} },
		StopGrace: 15 * time.Second,
		Fingerprint: "size, time (in whole seconds), mode and owner of every file concerned: an edit that keeps the size, within " +
			"the second of our own write or with the time set back, is not seen until the next whole read",
		ExactEvery: exactEvery}
}

// Open resolves the credentials. The server is connected to when there is
// something to ask.
func (sftpDriver) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("sftp: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	t, err := target(ctx, c, env)
	if err != nil {
		return nil, fmt.Errorf("environment %s: connect: %w", env.Name, err)
	}
	return &session{pool: client.NewPool(), target: t, root: c.Root, purpose: purpose, key: env.HashKey, whole: map[string]time.Time{}}, nil
}

func target(ctx context.Context, c *Connect, env driver.Environment) (*client.Target, error) {
	addr := c.Host
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(c.Host, "22")
	}
	t := &client.Target{Name: c.Host, Addr: addr, User: c.User, ConnectTimeout: cmp.Or(c.Timeout, 15*time.Second)}
	var files []string
	for _, f := range c.KnownHosts {
		if !filepath.IsAbs(f) {
			f = filepath.Join(env.Dir, f)
		}
		files = append(files, f)
	}
	var err error
	if t.KnownHosts, err = client.LoadKnownHosts(files...); err != nil {
		return nil, driver.Permanent(fmt.Errorf("knownHosts: %w", err))
	}
	t.Auth.Agent = c.Agent
	if c.Password != "" {
		if t.Auth.Password, err = env.Secret(ctx, c.Password); err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
	}
	if c.Key == "" {
		return t, nil
	}
	var k client.Key
	if k.Private, err = env.Secret(ctx, c.Key); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if c.KeyPassphrase != "" {
		if k.Passphrase, err = env.Secret(ctx, c.KeyPassphrase); err != nil {
			return nil, fmt.Errorf("keyPassphrase: %w", err)
		}
	}
	if c.Certificate != "" {
		cert, err := env.Secret(ctx, c.Certificate)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		k.Certificate = cert.Reveal()
	}
	if err := client.CheckKey(k); err != nil {
		return nil, driver.Permanent(fmt.Errorf("key: %w", err))
	}
	t.Auth.Keys = []client.Key{k}
	return t, nil
}
