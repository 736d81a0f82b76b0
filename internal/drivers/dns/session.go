package dns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// session is a connection to one server. It holds no state of its own between
// calls.
type session struct {
	connect *Connect
	backend backend
	// lookup finds the addresses of a name server, with port.
	lookup func(ctx context.Context, host string) ([]string, error)
}

// Close ends the session.
func (s *session) Close() error {
	if c, ok := s.backend.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// artefact is what Apply needs to know of the plan's reading.
type artefact struct {
	Serials map[plan.Scope]uint32 `json:"serials"`
}

// Plan compares the files with the server's zones.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := s.startReading(ctx, in)
	set, prep, err := s.newSet(ctx, in)
	if err != nil {
		return nil, err
	}
	set.ahead = ahead
	p, err := setplan.Plan(ctx, in, set)
	if err != nil {
		return nil, err
	}
	p.Driver, p.Version = "dns", dnsDriver{}.Info().Version
	if prep != nil {
		p.Warnings = append(p.Warnings, prep.Diagnostics.Warnings()...)
	}
	if err := set.finish(p); err != nil {
		return nil, err
	}
	set.besideCNAME(p)
	if err := set.delegations(ctx, p); err != nil {
		return nil, err
	}
	a := artefact{Serials: map[plan.Scope]uint32{}}
	for scope, l := range set.live {
		if l != nil && !l.missing && l.soa.Name != "" {
			a.Serials[scope] = l.soa.Serial
		}
	}
	p.Artefact, err = json.Marshal(a)
	return p, err
}

// Apply carries a plan out.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	set, _, err := s.newSet(ctx, in)
	if err != nil {
		return err
	}
	for i := range p.Changes {
		if c := &p.Changes[i]; len(c.Unknown) > 0 {
			return fmt.Errorf("%s waits for a value that is not known yet: %w", c.Key, driver.ErrStale)
		}
	}
	set.applying = p
	return setplan.Apply(ctx, in, p, set, report)
}

// newSet prepares the input, if that is still to be done, and finds the zones.
func (s *session) newSet(ctx context.Context, in driver.Input) (*zoneSet, *driver.Prepared, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := s.backend.(zoneMaker); spec.CreateZone && !ok {
		return nil, nil, driver.Permanent(errors.New("createZone: dynamic update (RFC 2136) can't create a zone: create it on the server and remove createZone"))
	}
	set := &zoneSet{session: s, spec: spec, live: map[plan.Scope]*live{}}
	if in.Mode == plan.Destroy {
		set.addOwned(in) // the files may be gone
		return set, nil, nil
	}
	prep, st, err := s.prepared(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return nil, nil, driver.Permanent(err)
	}
	set.state = st
	for _, z := range st.zones {
		if err := s.allowed(z.name); err != nil {
			return nil, nil, err
		}
		// The parsed state may serve other sessions: the view stays in the set.
		view := z.view
		if view == "" {
			view = s.connect.View
		}
		set.zones = append(set.zones, zoneRef{name: z.name, view: view, reverse: z.reverse})
	}
	set.addOwned(in)
	return set, prep, nil
}

// prepared gives the parsed files; the environment's zone takes the place of a
// name that was guessed.
func (s *session) prepared(ctx context.Context, in driver.Input) (*driver.Prepared, *desiredState, error) {
	prep := in.Prepared
	if prep == nil {
		var err error
		if prep, err = prepare(ctx, in, s.onlyZone()); err != nil {
			return nil, nil, err
		}
	}
	st, ok := prep.State.(*desiredState)
	if !ok || st.guessed && st.fallback == "" && s.onlyZone() != "" {
		var err error
		if prep, err = prepare(ctx, in, s.onlyZone()); err != nil {
			return nil, nil, err
		}
		st = prep.State.(*desiredState)
	}
	return prep, st, nil
}

// onlyZone is the environment's zone where it has just one.
func (s *session) onlyZone() string {
	if zones := s.connect.zones(); len(zones) == 1 {
		return zones[0]
	}
	return ""
}

func (s *session) allowed(zone string) error {
	zones := s.connect.zones()
	if len(zones) == 0 || slices.Contains(zones, zone) {
		return nil
	}
	return driver.Permanent(fmt.Errorf("the zone %s is not one of the environment's (%s)", zone, strings.Join(zones, ", ")))
}

// Fingerprint asks for the serials of the target's zones.
func (s *session) Fingerprint(ctx context.Context, in driver.Input) (map[plan.Scope]string, error) {
	zones, err := s.zonesOf(ctx, in)
	if err != nil {
		return nil, err
	}
	out := map[plan.Scope]string{}
	for _, z := range zones {
		print, err := s.backend.fingerprint(ctx, z.name, z.view)
		if err != nil {
			return nil, err
		}
		out[scopeName(z.name, z.view)] = print
	}
	return out, nil
}

// zonesOf finds the target's zones without parsing its files, or going over
// what it owns, where that can be avoided.
func (s *session) zonesOf(ctx context.Context, in driver.Input) ([]zoneRef, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, err
	}
	if ref, ok := s.knownZone(spec); ok && spec.PTR == nil {
		return []zoneRef{ref}, nil
	}
	set, _, err := s.newSet(ctx, in)
	if err != nil {
		return nil, err
	}
	return set.zones, nil
}

// knownZone gives the target's zone where spec or connect names it.
func (s *session) knownZone(spec *Spec) (zoneRef, bool) {
	name := s.onlyZone()
	if spec.Zone != "" {
		canonical, err := canonicalName(spec.Zone, ".")
		if err != nil || s.allowed(canonical) != nil {
			return zoneRef{}, false
		}
		name = canonical
	}
	view := spec.View
	if view == "" {
		view = s.connect.View
	}
	return zoneRef{name: name, view: view}, name != ""
}

// ahead is a zone that is being read while the files are parsed.
type ahead struct {
	ref   zoneRef
	done  chan struct{}
	live  *live
	scope setplan.Scope[*RRset]
	err   error
}

// startReading begins to read the zone, where it is known before the files
// are.
func (s *session) startReading(ctx context.Context, in driver.Input) *ahead {
	spec, err := specOf(in)
	if err != nil {
		return nil
	}
	ref, ok := s.knownZone(spec)
	if !ok {
		return nil
	}
	a := &ahead{ref: ref, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.live, a.scope, a.err = s.readScope(ctx, in, spec, ref)
	}()
	return a
}

func (s *session) readScope(ctx context.Context, in driver.Input, spec *Spec, ref zoneRef) (*live, setplan.Scope[*RRset], error) {
	l, err := s.backend.read(ctx, ref.name, ref.view, len(in.Inventory)+16)
	if err != nil {
		return nil, setplan.Scope[*RRset]{}, err
	}
	return l, spec.scopeOf(in, ref, l), nil
}

// readAhead gives a zone: the one that is being read already, or a new
// reading.
func (z *zoneSet) readAhead(ctx context.Context, in driver.Input, ref zoneRef) (*live, setplan.Scope[*RRset], error) {
	a := z.ahead
	if a == nil || a.ref != ref {
		return z.readScope(ctx, in, z.spec, ref)
	}
	z.ahead = nil // the next reading is a new one
	select {
	case <-a.done:
		return a.live, a.scope, a.err
	case <-ctx.Done():
		return nil, setplan.Scope[*RRset]{}, ctx.Err()
	}
}
