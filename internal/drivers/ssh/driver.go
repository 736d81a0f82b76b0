// Package ssh is the driver for hosts: files, directories, links, blocks in
// files of others, users, groups and more, brought to what a repository asks
// for over SSH. A host needs nothing but sshd, a POSIX shell and coreutils.
// See docs/drivers/ssh.md.
//
// # How to add a kind of resource
//
// A kind is one file. It has a type that implements kind (kind.go), a state
// that says what one object is, and a line in kinds(). The driver does the
// rest: it finds the kind's section in host.yaml, plans, journals and writes.
//
//   - info names the kind, its section of host.yaml, what guards count, and
//     its rank: lower ranks are written first, and removed last.
//   - parse reads one entry of the section. It reports mistakes through the
//     parser, at their line, and gives the objects that the entry asks for.
//   - look adds to the script that reads a host what it takes to see the
//     subjects: probe.path for anything that is a path, probe.script for a
//     piece of shell of your own. All of it is one round trip.
//   - observe makes objects of the answer. What the repository leaves open is
//     left out of the state, as subject.open shows: desired and observed are
//     compared by state.ident.
//   - write adds to the script that changes a host. Each step must be told
//     off by its number, with writer.try or with the shell functions ok, no
//     and stale of lib.sh; a step that is never told off counts as unknown.
//     Check first, on the host, that the old state still is what was planned
//     for.
//
// A state that needs the host's variables implements resolver. A desired
// state that acts on changes of others (handlers, restarts) implements waiter
// (due.go). A kind that marks its changes as simulated implements noter, and
// one that can write live state as desired state implements importer.
//
// Shell text never holds a value that was not quoted by quote, and no secret
// stands in an argument of a program: printf is built into the shell.
package ssh

import (
	"context"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/driver"
)

type sshDriver struct{}

// New makes the driver.
func New() driver.Driver { return sshDriver{} }

const version = "1"

// Info describes the driver.
func (sshDriver) Info() driver.Info {
	return driver.Info{
		Name:    "ssh",
		Summary: "hosts over SSH: files, users, and what else a host is made of",
		Version: version,
		Spec:    func() any { return &Spec{} },
		Scope:   func() driver.ScopeSpec { return &Scope{} },
		Connect: func() any { return &Connect{} },
		// What runs on a host gets a moment to end.
		StopGrace: 20 * time.Second,
	}
}

// Open reads the inventory and resolves the credentials. Hosts are connected
// to when there is something to ask.
func (sshDriver) Open(ctx context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("ssh: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	if _, err := c.inventory(env.Dir); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: %w", env.Name, err))
	}
	s := &session{env: env, connect: c, purpose: purpose, facts: map[string]*Facts{}}
	if c.onlyAgents() {
		return s, nil
	}
	d, err := newDialer(ctx, c, env)
	if err != nil {
		return nil, fmt.Errorf("environment %s: connect: %w", env.Name, err)
	}
	s.dial, s.close = d, d.pool.Close
	return s, nil
}
