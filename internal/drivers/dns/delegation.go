package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/plan"
)

// maxDelegations bounds how many children one plan asks.
const maxDelegations = 50

func lookupHost(ctx context.Context, host string) ([]string, error) {
	addrs, err := net.DefaultResolver.LookupHost(ctx, strings.TrimSuffix(host, "."))
	for i := range addrs {
		addrs[i] = net.JoinHostPort(addrs[i], "53")
	}
	return addrs, err
}

// delegations asks the child's name servers wherever the plan writes its NS or
// DS, so that a child is not cut off by a delegation that leads nowhere or by
// a DS that no key matches.
func (z *zoneSet) delegations(ctx context.Context, p *plan.Plan) error {
	if z.state == nil || z.spec.Delegation != "warn" && z.spec.Delegation != "error" {
		return nil
	}
	asked := map[string]string{}
	for i := range p.Changes {
		c := &p.Changes[i]
		zo, child := z.childOf(c)
		if zo == nil || len(asked) >= maxDelegations {
			continue
		}
		finding, done := asked[child]
		if !done {
			finding = z.askChild(ctx, zo, child)
			asked[child] = finding
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case finding == "":
		case z.spec.Delegation == "error":
			c.Conflict = finding
		case !done:
			p.Warnings = append(p.Warnings, plan.Diagnostic{Severity: plan.Warning, Source: c.Source, Message: finding})
		}
	}
	return nil
}

// childOf gives the zone and child that a change delegates, or nil.
func (z *zoneSet) childOf(c *plan.Change) (*zone, string) {
	name, typ := splitAddress(c.Address)
	if typ != "NS" && typ != "DS" || !c.Action.Writes() || c.Action == plan.Delete {
		return nil, ""
	}
	for i, zo := range z.state.zones {
		if scopeName(zo.name, z.zones[i].view) == c.Scope && name != zo.name && zo.get(name, mdns.TypeNS) != nil {
			return zo, name
		}
	}
	return nil, ""
}

// askChild gives what is wrong with a delegation, or "".
func (z *zoneSet) askChild(ctx context.Context, zo *zone, child string) string {
	var lame []string
	var keys []*mdns.DNSKEY
	answered := false
	for _, data := range zo.get(child, mdns.TypeNS).Data {
		for _, host := range targets(mdns.TypeNS, data) {
			got, err := z.askServer(ctx, zo, host, child)
			if err != nil {
				lame = append(lame, fmt.Sprintf("%s: %v", host, err))
				continue
			}
			answered = true
			keys = append(keys, got...)
		}
	}
	switch ds := zo.get(child, mdns.TypeDS); {
	case len(lame) > 0:
		return fmt.Sprintf("the delegation of %s is lame: %s", child, strings.Join(lame, "; "))
	case ds != nil && answered && !dsMatches(ds, keys):
		return fmt.Sprintf("no DNSKEY of %s matches its DS: validating resolvers would lose it", child)
	}
	return ""
}

// askServer asks one name server for the child's SOA and keys. Addresses come
// from the zone's own glue, or from the resolver.
func (z *zoneSet) askServer(ctx context.Context, zo *zone, host, child string) ([]*mdns.DNSKEY, error) {
	var addrs []string
	for _, typ := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		if s := zo.get(host, typ); s != nil {
			for _, d := range s.Data {
				addrs = append(addrs, net.JoinHostPort(s.text(d), "53"))
			}
		}
	}
	if len(addrs) == 0 {
		var err error
		if addrs, err = z.lookup(ctx, host); err != nil {
			return nil, err
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("it has no address")
	}
	c := mdns.Client{Net: "tcp", Timeout: min(z.connect.timeout(), 5*time.Second)}
	q := new(mdns.Msg)
	q.SetQuestion(child, mdns.TypeSOA)
	q.RecursionDesired = false
	r, _, err := c.ExchangeContext(ctx, q, addrs[0])
	if err != nil {
		return nil, err
	}
	if r.Rcode != mdns.RcodeSuccess || !r.Authoritative || len(r.Answer) == 0 {
		return nil, fmt.Errorf("it is not authoritative for %s", child)
	}
	q.SetQuestion(child, mdns.TypeDNSKEY)
	q.RecursionDesired = false
	if r, _, err = c.ExchangeContext(ctx, q, addrs[0]); err != nil {
		return nil, err
	}
	var keys []*mdns.DNSKEY
	for _, rr := range r.Answer {
		if k, ok := rr.(*mdns.DNSKEY); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// dsMatches tells whether one of the DS records belongs to one of the keys.
func dsMatches(ds *desiredSet, keys []*mdns.DNSKEY) bool {
	return slices.ContainsFunc(ds.Data, func(data string) bool {
		rr, err := ds.record(data)
		want, ok := rr.(*mdns.DS)
		if err != nil || !ok {
			return false
		}
		return slices.ContainsFunc(keys, func(k *mdns.DNSKEY) bool {
			got := k.ToDS(want.DigestType)
			return got != nil && got.KeyTag == want.KeyTag && strings.EqualFold(got.Digest, want.Digest)
		})
	})
}

// besideCNAME holds changes that a server would drop in silence: a CNAME where
// another owner's records stand, and the other way round.
func (z *zoneSet) besideCNAME(p *plan.Plan) {
	creates := false
	gone := map[plan.Key]bool{}
	for i := range p.Changes {
		creates = creates || p.Changes[i].Action == plan.Create
		gone[p.Changes[i].Key] = p.Changes[i].Action == plan.Delete
	}
	if !creates {
		return
	}
	beside := map[plan.Scope]map[string][]plan.Address{}
	for scope, l := range z.live {
		names := map[string][]plan.Address{}
		for i := range l.sets {
			if r := &l.sets[i]; !serverMade[r.Type] && !gone[plan.Key{Scope: scope, Address: r.address()}] {
				names[r.Name] = append(names[r.Name], r.address())
			}
		}
		beside[scope] = names
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Action != plan.Create || c.Kind != kindSet {
			continue
		}
		name, typ := splitAddress(c.Address)
		for _, other := range beside[c.Scope][name] {
			if (typ == "CNAME") != strings.HasSuffix(string(other), "/CNAME") && !serverMade[typeOf(typ)] {
				c.Conflict = fmt.Sprintf("%s stands there and is not the target's: a CNAME can't stand beside other records", other)
			}
		}
	}
}

func typeOf(name string) uint16 {
	t, _ := typeCode(name)
	return t
}
