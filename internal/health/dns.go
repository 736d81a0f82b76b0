package health

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
)

func typeOf(c config.DNSCheck) string { return strings.ToUpper(cmp.Or(c.Type, "A")) }

// askDNS asks one server, over UDP and, when the answer is too large, over
// TCP. Answers that are expected must be there; others may be.
func askDNS(ctx context.Context, c config.DNSCheck) error {
	qtype, ok := dns.StringToType[typeOf(c)]
	if !ok {
		return driver.Permanent(fmt.Errorf("%q is no type of DNS record", c.Type))
	}
	if _, ok := dns.IsDomainName(c.Name); !ok || c.Name == "" {
		return driver.Permanent(fmt.Errorf("%q is no DNS name", c.Name))
	}
	server, err := serverOf(c.Server)
	if err != nil {
		return err
	}
	servers := []string{server}
	if c.Ask == everyNameserver {
		if servers, err = nameservers(ctx, c.Name, server); err != nil {
			return err
		}
	}
	for _, one := range servers {
		if err := askOne(ctx, c, qtype, one); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	return nil
}

func askOne(ctx context.Context, c config.DNSCheck, qtype uint16, server string) error {
	answer, err := query(ctx, c.Name, qtype, server)
	if err != nil {
		return err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("answered %s", dns.RcodeToString[answer.Rcode])
	}
	return compare(answer.Answer, qtype, c.Expect)
}

func query(ctx context.Context, name string, qtype uint16, server string) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	return exchange(ctx, q, server)
}

// resolvConf names the machine's own resolvers.
const resolvConf = "/etc/resolv.conf"

// serverOf gives the server to ask as host:port; without one it is the
// machine's resolver.
func serverOf(s string) (string, error) {
	if s == "" {
		conf, err := dns.ClientConfigFromFile(resolvConf)
		if err != nil || len(conf.Servers) == 0 {
			return "", driver.Permanent(fmt.Errorf("the dns check names no server and %s names none: write server: host:port", resolvConf))
		}
		return net.JoinHostPort(conf.Servers[0], conf.Port), nil
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s, nil
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), "53"), nil
}

func exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	udp := dns.Client{Net: "udp", UDPSize: 1232, Dialer: dialer(), Timeout: attemptTime / 4}
	answer, _, err := udp.ExchangeContext(ctx, q, server)
	if err == nil && !answer.Truncated {
		return answer, nil
	}
	if ctx.Err() != nil {
		return nil, cmp.Or(err, ctx.Err())
	}
	tcp := dns.Client{Net: "tcp", Dialer: dialer(), Timeout: attemptTime / 4}
	overTCP, _, tcpErr := tcp.ExchangeContext(ctx, q, server)
	switch {
	case tcpErr == nil:
		return overTCP, nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("the answer is cut short over UDP, and over TCP: %w", tcpErr)
}

func compare(answers []dns.RR, qtype uint16, expect []string) error {
	var have []string
	for _, rr := range answers {
		if rr.Header().Rrtype == qtype {
			have = append(have, normal(qtype, data(rr)))
		}
	}
	if len(have) == 0 {
		return fmt.Errorf("answered without a %s record", dns.TypeToString[qtype])
	}
	var missing []string
	for _, e := range expect {
		if !slices.Contains(have, normal(qtype, e)) {
			missing = append(missing, e)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("answered %s, without %s", strings.Join(have, ", "), strings.Join(missing, ", "))
	}
	return nil
}

// data is a record's value without the header; of a TXT record the joined
// strings.
func data(rr dns.RR) string {
	if t, ok := rr.(*dns.TXT); ok {
		return strings.Join(t.Txt, "")
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// normal gives two spellings of one value the same form.
func normal(qtype uint16, v string) string {
	switch qtype {
	case dns.TypeA, dns.TypeAAAA:
		if a, err := netip.ParseAddr(v); err == nil {
			return a.String()
		}
	case dns.TypeTXT:
		if strings.HasPrefix(v, `"`) {
			if rr, err := dns.NewRR("x. 0 IN TXT " + v); err == nil && rr != nil {
				return data(rr)
			}
		}
	default:
		// Parsed as a record, names are made absolute and numbers written plainly.
		if rr, err := dns.NewRR("x. 0 IN " + dns.TypeToString[qtype] + " " + v); err == nil && rr != nil {
			return strings.ToLower(data(rr))
		}
	}
	return v
}
