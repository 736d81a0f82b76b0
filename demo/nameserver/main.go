// Command nameserver is what the demo uses where BIND can't be installed: the
// small DNS server of trueup's tests, with just enough of dig and nsupdate.
//
//	nameserver serve DIR ZONE         writes DIR/address and DIR/tsig
//	nameserver ask ADDRESS NAME TYPE
//	nameserver update ADDRESS TSIG ZONE 'update add|delete …'
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"trueup.dev/trueup/internal/drivers/dns/dnsfake"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nameserver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	case len(args) == 4 && args[0] == "ask":
		return ask(args[1], args[2], args[3])
	case len(args) == 5 && args[0] == "update":
		return update(args[1], args[2], args[3], args[4])
	}
	return errors.New("use serve, ask or update")
}

func serve(dir, zone string) error {
	text := "$ORIGIN " + dns.Fqdn(zone) + "\n$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 300\n@ NS ns1\nns1 A 127.0.0.1\n"
	s, err := dnsfake.Start(map[string]string{dns.Fqdn(zone): text})
	if err != nil {
		return err
	}
	defer s.Stop()
	for name, body := range map[string]string{"tsig": s.TSIG(), "address": s.Addr} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body+"\n"), 0o600); err != nil {
			return err
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return nil
}

func ask(address, name, typ string) error {
	t, ok := dns.StringToType[typ]
	if !ok {
		return fmt.Errorf("%s is not a record type", typ)
	}
	r, err := dns.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), t), address)
	if err != nil {
		return err
	}
	for _, rr := range r.Answer {
		fmt.Println(strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return nil
}

// update carries out one line of nsupdate.
func update(address, tsig, zone, line string) error {
	parts, f := strings.SplitN(tsig, ":", 3), strings.Fields(line)
	if len(parts) != 3 || len(f) < 3 || f[0] != "update" {
		return errors.New("want a key and an update line")
	}
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	switch f[1] {
	case "add":
		rr, err := dns.NewRR(strings.Join(f[2:], " "))
		if err != nil {
			return err
		}
		m.Insert([]dns.RR{rr})
	case "delete":
		rr := &dns.ANY{Hdr: dns.RR_Header{Name: f[2], Rrtype: dns.StringToType[f[len(f)-1]]}}
		m.RemoveRRset([]dns.RR{rr})
	}
	key := dns.Fqdn(parts[0])
	m.SetTsig(key, dns.Fqdn(parts[1]), 300, time.Now().Unix())
	c := &dns.Client{Net: "tcp", TsigSecret: map[string]string{key: parts[2]}}
	r, _, err := c.Exchange(m, address)
	if err == nil && r.Rcode != dns.RcodeSuccess {
		err = errors.New(dns.RcodeToString[r.Rcode])
	}
	return err
}
