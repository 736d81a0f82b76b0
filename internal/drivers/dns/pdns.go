package dns

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/client/powerdns"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
)

// pdnsAPI reads and writes through PowerDNS' HTTP API. A PATCH is one
// transaction but has no prerequisites: the zone is read whole right before
// the first, and read back by the engine after the last.
type pdnsAPI struct{ *powerdns.Client }

func newPowerDNS(ctx context.Context, c *Connect, env driver.Environment) (backend, error) {
	key, err := env.Secret(ctx, c.PowerDNS.APIKey)
	if err != nil {
		return nil, fmt.Errorf("powerdns.apiKey: %w", err)
	}
	o := powerdns.Options{URL: c.PowerDNS.URL, ServerID: c.PowerDNS.ServerID, APIKey: key, Timeout: c.timeout()}
	if file := c.PowerDNS.CA; file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(env.Dir, file)
		}
		if o.CA, err = os.ReadFile(file); err != nil {
			return nil, driver.Permanent(fmt.Errorf("powerdns.ca: %w", err))
		}
	}
	client, err := powerdns.New(o)
	if err != nil {
		return nil, err
	}
	return &pdnsAPI{client}, nil
}

// Close gives idle connections back.
func (b *pdnsAPI) Close() error { b.Client.Close(); return nil }

func (b *pdnsAPI) read(ctx context.Context, zone, view string, _ int) (*live, error) {
	id, err := b.Identity(ctx)
	if err != nil {
		return nil, err
	}
	got, err := b.Zone(ctx, zone)
	if errors.Is(err, powerdns.ErrNotFound) {
		return &live{missing: true, identity: id}, nil
	}
	if err != nil {
		return nil, err
	}
	l := newLive(len(got.RRsets))
	for i := range got.RRsets {
		if err := l.addPDNS(zone, &got.RRsets[i]); err != nil {
			return nil, fmt.Errorf("zone %s: %w", zone, err)
		}
	}
	if l.soa.Name == "" {
		return nil, fmt.Errorf("zone %s: the answer holds no SOA", zone)
	}
	l.sort()
	l.realm = realm(zone, view, mname(l.soa), id)
	return l, nil
}

// addPDNS takes in one RRset. What PowerDNS alone knows (ALIAS, LUA) is kept
// with its text, so that it is seen and never mistaken for something else.
func (l *live) addPDNS(zone string, s *powerdns.RRset) error {
	name, err := canonicalName(s.Name, ".")
	if err != nil {
		return err
	}
	if !inZone(name, zone) {
		return fmt.Errorf("%s is outside the zone", name)
	}
	r := RRset{Name: name, TTL: s.TTL}
	var known bool
	if r.Type, known = typeCode(s.Type); !known {
		r.Type = privateType(s.Type)
	}
	for _, rec := range s.Records {
		if rec.Disabled {
			r.Disabled = append(r.Disabled, rec.Content)
			continue
		}
		data := rec.Content
		if known {
			if data, err = parseRdata(r.Type, rec.Content, "."); err != nil {
				return fmt.Errorf("%s/%s: %w", name, s.Type, err)
			}
		}
		r.Data = append(r.Data, data)
	}
	if r.Type == mdns.TypeSOA && name == zone && len(r.Data) == 1 {
		serial, data := takeSerial([]byte(r.Data[0]))
		r.Serial, r.Data = serial, []string{string(data)}
		l.soa = r
		return nil
	}
	l.index.put(hashSet(name, r.Type), int32(len(l.sets)))
	l.sets = append(l.sets, r)
	return nil
}

// privateType gives PowerDNS' own types a number from the private range of
// RFC 6895; they are never managed.
func privateType(name string) uint16 {
	switch name {
	case "ALIAS":
		return typeALIAS
	case "LUA":
		return typeLUA
	}
	return typeOther
}

const (
	typeOther = 65280
	typeALIAS = 65401
	typeLUA   = 65402
)

func (b *pdnsAPI) serial(context.Context, string, string) (RRset, string, bool, error) {
	return RRset{}, "", false, nil
}

func (b *pdnsAPI) fingerprint(context.Context, string, string) (string, error) { return "", nil }

// limit keeps a PATCH under the server's default limit of 2 MB for a body.
func (b *pdnsAPI) limit() int { return 800_000 }

func (b *pdnsAPI) write(ctx context.Context, zone string, steps []step) []error {
	return search(ctx, steps, maxRefused, func(part []step) (bool, error) {
		err := b.Patch(ctx, zone, patch(part))
		return errors.Is(err, powerdns.ErrSent), err
	})
}

// patch gives the RRsets of a PATCH, removals first: the server checks a CNAME
// against what stands before it in the same request.
func patch(steps []step) []powerdns.RRset {
	steps = expand(steps)
	out := make([]powerdns.RRset, 0, len(steps))
	for i := range steps {
		if s := &steps[i]; s.New == nil {
			out = append(out, powerdns.RRset{Name: s.Old.Value.Name, Type: typeName(s.Old.Value.Type), ChangeType: "DELETE"})
		}
	}
	for i := range steps {
		if s := &steps[i]; s.New != nil {
			set := apiSet(s.New.Value)
			if s.New.Value.Type == mdns.TypeSOA && s.Old != nil {
				soa := *s.New.Value
				soa.Data = []string{withSerial(soa.Data[0], s.Old.Value.Serial+1)}
				set = apiSet(&soa)
			}
			set.ChangeType = "REPLACE"
			out = append(out, set)
		}
	}
	return out
}

func apiSet(r *RRset) powerdns.RRset {
	set := powerdns.RRset{Name: r.Name, Type: typeName(r.Type), TTL: r.TTL}
	for _, d := range r.Data {
		set.Records = append(set.Records, powerdns.Record{Content: apiText(r, d)})
	}
	return set
}

var quotedParam = regexp.MustCompile(`="([^"\s\\]*)"`)

// apiText writes a record the way PowerDNS writes it: the API refuses text that
// it would spell otherwise.
func apiText(r *RRset, d string) string {
	switch {
	case r.Type == mdns.TypeLOC && len(d) == 16:
		return locText([]byte(d))
	case r.Type == mdns.TypeCERT && len(d) > 5:
		b := []byte(d)
		return fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[4], base64.StdEncoding.EncodeToString(b[5:]))
	case r.Type == mdns.TypeSVCB || r.Type == mdns.TypeHTTPS:
		return quotedParam.ReplaceAllString(r.text(d), "=$1")
	}
	return r.text(d)
}

// locText writes a LOC (RFC 1876) with the two decimals that PowerDNS insists
// on.
func locText(d []byte) string {
	angle := func(v uint32, plus, minus string) string {
		side, n := plus, int64(v)-1<<31
		if n < 0 {
			side, n = minus, -n
		}
		return fmt.Sprintf("%d %d %d.%03d %s", n/3600000, n/60000%60, n/1000%60, n%1000, side)
	}
	size := func(b byte) string {
		cm := int64(b >> 4)
		for range b & 15 {
			cm *= 10
		}
		return fmt.Sprintf("%d.%02dm", cm/100, cm%100)
	}
	alt, sign := int64(binary.BigEndian.Uint32(d[12:]))-10000000, ""
	if alt < 0 {
		sign, alt = "-", -alt
	}
	return fmt.Sprintf("%s %s %s%d.%02dm %s %s %s", angle(binary.BigEndian.Uint32(d[4:]), "N", "S"), angle(binary.BigEndian.Uint32(d[8:]), "E", "W"),
		sign, alt/100, alt%100, size(d[1]), size(d[2]), size(d[3]))
}

func (b *pdnsAPI) createZone(ctx context.Context, zone string, sets []RRset) error {
	z := powerdns.Zone{Name: zone, Kind: "Native", SOAEditAPI: "INCREASE"}
	for i := range sets {
		z.RRsets = append(z.RRsets, apiSet(&sets[i]))
	}
	if err := b.Create(ctx, z); err != nil {
		if errors.Is(err, powerdns.ErrSent) {
			return fmt.Errorf("%w: %w", setplan.ErrUnknown, err)
		}
		return err
	}
	return nil
}

func (b *pdnsAPI) removeZone(ctx context.Context, zone string) error {
	l, err := b.read(ctx, zone, "", 0)
	if err != nil || l.missing {
		return err
	}
	for i := range l.sets {
		if s := &l.sets[i]; (s.Type != mdns.TypeNS || s.Name != zone) && !serverMade[s.Type] {
			return driver.Permanent(fmt.Errorf("the zone still holds %s, which the target does not own: it is not removed", s.address()))
		}
	}
	return b.Delete(ctx, zone)
}
