package dns

import (
	"context"
	"errors"
	"fmt"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
)

// backend is a way to read and write zones.
type backend interface {
	// read gives a zone whole, or an error. room is about how many sets there
	// will be.
	read(ctx context.Context, zone, view string, room int) (*live, error)
	// serial gives a zone's SOA and realm cheaply; ok is false where they say
	// nothing about the zone's content.
	serial(ctx context.Context, zone, view string) (soa RRset, realm string, ok bool, err error)
	// fingerprint is a cheap value that changes with the zone's content, "" for
	// none.
	fingerprint(ctx context.Context, zone, view string) (string, error)
	// limit is how large a batch may be, as stepSize counts.
	limit() int
	// write carries out the steps of one batch in one zone: an error a step.
	write(ctx context.Context, zone string, steps []step) []error
}

// zoneMaker is a backend that can make and remove zones.
type zoneMaker interface {
	// createZone makes a zone with a SOA and its name servers.
	createZone(ctx context.Context, zone string, sets []RRset) error
	// removeZone removes a zone that holds nothing but SOA and NS any more.
	removeZone(ctx context.Context, zone string) error
}

func newBackend(ctx context.Context, c *Connect, env driver.Environment) (backend, error) {
	if c.PowerDNS != nil {
		return newPowerDNS(ctx, c, env)
	}
	key, err := c.key(ctx, env)
	if err != nil {
		return nil, err
	}
	return &rfc2136{client{addr: c.address(), key: key, timeout: c.timeout()}}, nil
}

// rfc2136 reads by transfer and writes by dynamic update.
type rfc2136 struct{ client }

func (b *rfc2136) read(ctx context.Context, zone, view string, room int) (*live, error) {
	return b.readZone(ctx, zone, view, room)
}

func (b *rfc2136) serial(ctx context.Context, zone, view string) (RRset, string, bool, error) {
	n, err := b.dial(ctx)
	if err != nil {
		return RRset{}, "", false, err
	}
	defer n.Close()
	soa, err := n.soa(ctx, zone)
	if err != nil {
		return RRset{}, "", false, err
	}
	id, err := n.identity(ctx)
	return soa, realm(zone, view, mname(soa), id), err == nil, err
}

func (b *rfc2136) fingerprint(ctx context.Context, zone, _ string) (string, error) {
	n, err := b.dial(ctx)
	if err != nil {
		return "", err
	}
	defer n.Close()
	soa, err := n.soa(ctx, zone)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d", mname(soa), soa.Serial), nil
}

func (b *rfc2136) limit() int { return maxUpdate }

// maxRefused bounds how many messages are spent on finding the steps that a
// server refuses.
const maxRefused = 40

func (b *rfc2136) write(ctx context.Context, zone string, steps []step) []error {
	n, err := b.dial(ctx)
	if err != nil {
		return all(steps, err)
	}
	defer n.Close()
	for i := range steps {
		// A server drops a SOA whose serial is not above its own (RFC 2136
		// section 3.4.2.2), and other messages may have raised it.
		if st := &steps[i]; st.New != nil && st.New.Value.Type == mdns.TypeSOA {
			soa, err := n.soa(ctx, zone)
			if err != nil {
				return all(steps, err)
			}
			raised, set := *st.New, *st.New.Value
			set.Serial = soa.Serial + 1
			raised.Value = &set
			st.New = &raised
		}
	}
	return search(ctx, steps, maxRefused, func(part []step) (bool, error) { return n.update(ctx, zone, part) })
}

// search sends a batch; when the server refuses it for another reason than a
// prerequisite, it looks for the names that are to blame, so that one bad
// record does not keep the others from being written. send tells whether the
// server may have carried out what failed.
func search(ctx context.Context, steps []step, budget int, send func([]step) (bool, error)) []error {
	var try func(steps []step) []error
	try = func(steps []step) []error {
		sent, err := send(steps)
		switch {
		case err == nil:
			return make([]error, len(steps))
		case sent:
			return all(steps, fmt.Errorf("%w: %w", setplan.ErrUnknown, err))
		case errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrUnreachable) || ctx.Err() != nil:
			return all(steps, err)
		}
		half := middle(steps)
		if budget--; budget < 0 || half == 0 {
			return all(steps, err)
		}
		return append(try(steps[:half]), try(steps[half:])...)
	}
	return try(steps)
}

// middle finds where to cut steps, grouped by name, without tearing a name
// apart; 0 when they are all of one name.
func middle(steps []step) int {
	for d := range len(steps) {
		for _, i := range []int{len(steps)/2 - d, len(steps)/2 + d} {
			if i > 0 && i < len(steps) && nameOf(&steps[i-1]) != nameOf(&steps[i]) {
				return i
			}
		}
	}
	return 0
}

func all(steps []step, err error) []error {
	errs := make([]error, len(steps))
	for i := range errs {
		errs[i] = err
	}
	return errs
}
