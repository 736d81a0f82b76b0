// Package dns applies zone files and octoDNS files to DNS servers: any that
// speaks dynamic update (RFC 2136) and transfer (RFC 5936), and PowerDNS
// through its HTTP API. See docs/drivers/dns.md.
package dns

import (
	"context"
	"errors"
	"time"

	"trueup.dev/trueup/internal/driver"
)

// Kinds of objects, and the class that guards count.
const (
	kindSet  = "rrset"
	kindZone = "zone"
	class    = "record"
)

type dnsDriver struct{}

// New gives the dns driver.
func New() driver.Driver { return dnsDriver{} }

// Info describes the driver.
func (dnsDriver) Info() driver.Info {
	return driver.Info{
		Name:      "dns",
		Summary:   "DNS zones from zone files or octoDNS files, by dynamic update or the PowerDNS API",
		Version:   "1",
		Spec:      func() any { return &Spec{} },
		Scope:     func() driver.ScopeSpec { return &Scope{} },
		Connect:   func() any { return &Connect{} },
		StopGrace: 10 * time.Second,
		Fingerprint: "the zone's SOA primary and serial: every update and reload of a zone raises it on BIND and Knot; " +
			"none on the PowerDNS API, where edits in its database leave the serial as it is",
		ExactEvery: time.Hour,
	}
}

// Prepare reads the snapshot alone.
func (dnsDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	prep, err := prepare(ctx, in, "")
	if err == nil {
		prep.Desired = prep.State.(*desiredState).desired()
	}
	return prep, err
}

// Open makes a session. The server is first spoken to when there is something
// to ask.
func (dnsDriver) Open(ctx context.Context, env driver.Environment, _ driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(errors.New("connect is not that of the dns driver"))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	b, err := newBackend(ctx, c, env)
	if err != nil {
		return nil, err
	}
	return &session{connect: c, backend: b, lookup: lookupHost}, nil
}
