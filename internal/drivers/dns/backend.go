package dns

import (
	"context"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
)

// backend is a way to read and write zones.
type backend interface {
	// read gives a zone whole, or an error.
	read(ctx context.Context, zone, view string) (*live, error)
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
	// createZone makes a zone.
	createZone(ctx context.Context, zone string) error
}

func newBackend(ctx context.Context, c *Connect, env driver.Environment) (backend, error) {
	key, err := c.key(ctx, env)
	if err != nil {
		return nil, err
	}
	return &rfc2136{client{addr: c.address(), key: key, timeout: c.timeout()}}, nil
}

// rfc2136 reads by transfer and writes by dynamic update.
type rfc2136 struct{ client }

func (b *rfc2136) read(ctx context.Context, zone, view string) (*live, error) {
	return b.readZone(ctx, zone, view)
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

func (b *rfc2136) createZone(context.Context, string) error {
	return driver.Permanent(errors.New("dynamic update (RFC 2136) can't create a zone: create it on the server first"))
}

// maxRefused bounds how many messages are spent on finding the steps that a
// server refuses.
const maxRefused = 40

func (b *rfc2136) write(ctx context.Context, zone string, steps []step) []error {
	n, err := b.dial(ctx)
	if err != nil {
		return all(steps, err)
	}
	defer n.Close()
	w := &updateWriter{conn: n, zone: zone, refused: maxRefused}
	return w.write(ctx, steps)
}

// updateWriter sends a batch; when the server refuses it for another reason
// than a prerequisite, it looks for the names that are to blame, so that one
// bad record does not keep the others from being written.
type updateWriter struct {
	*conn
	zone    string
	refused int
}

func (w *updateWriter) write(ctx context.Context, steps []step) []error {
	sent, err := w.update(ctx, w.zone, steps)
	switch {
	case err == nil:
		return make([]error, len(steps))
	case sent:
		return all(steps, fmt.Errorf("%w: %w", setplan.ErrUnknown, err))
	case errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrUnreachable) || ctx.Err() != nil:
		return all(steps, err)
	}
	half := middle(steps)
	if w.refused--; w.refused < 0 || half == 0 {
		return all(steps, err)
	}
	return append(w.write(ctx, steps[:half]), w.write(ctx, steps[half:])...)
}

// middle finds where to cut steps, sorted by name, without tearing a name
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
