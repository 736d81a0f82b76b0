package health

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/miekg/dns"
)

// everyNameserver is the value of ask with which each name server of the zone
// must give the answer.
const everyNameserver = "every-nameserver"

// maxNameservers bounds the servers that one check asks.
const maxNameservers = 20

// nameservers finds the addresses of the name servers of the zone that a name
// is in, by asking start, on the port that start has.
func nameservers(ctx context.Context, name, start string) ([]string, error) {
	_, port, err := net.SplitHostPort(start)
	if err != nil {
		return nil, err
	}
	hosts, err := zoneServers(ctx, name, start)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, host := range hosts {
		found := false
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			answer, err := query(ctx, host, qtype, start)
			if err != nil {
				return nil, fmt.Errorf("the address of the name server %s: %w", host, err)
			}
			for _, rr := range answer.Answer {
				if rr.Header().Rrtype == qtype {
					found = true
					out = append(out, net.JoinHostPort(data(rr), port))
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("the name server %s has no address", host)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxNameservers {
		return nil, fmt.Errorf("there are %d name servers, more than %d", len(out), maxNameservers)
	}
	return out, nil
}

// zoneServers walks up from a name to the zone that it is in.
func zoneServers(ctx context.Context, name, start string) ([]string, error) {
	fqdn := dns.Fqdn(name)
	for _, at := range dns.Split(fqdn) {
		answer, err := query(ctx, fqdn[at:], dns.TypeNS, start)
		if err != nil {
			return nil, err
		}
		var hosts []string
		for _, rr := range answer.Answer {
			if ns, ok := rr.(*dns.NS); ok && dns.CanonicalName(ns.Hdr.Name) == dns.CanonicalName(fqdn[at:]) {
				hosts = append(hosts, ns.Ns)
			}
		}
		if len(hosts) > 0 {
			return hosts, nil
		}
	}
	return nil, fmt.Errorf("no zone of %s names its servers", fqdn)
}
