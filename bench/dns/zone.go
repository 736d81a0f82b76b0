package main

import (
	"fmt"
	"strings"
)

const zoneName = "bench.example"

// zone is a made zone in which records come in the proportions of a company's:
// addresses above all, then aliases, texts and mail.
type zone struct{ records []record }

type record struct{ name, typ, data string }

func makeZone(n int) *zone {
	z := &zone{}
	for i := 0; len(z.records) < n; i++ {
		host := fmt.Sprintf("host%06d", i)
		z.add(host, "A", fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255))
		switch i % 10 {
		case 0, 1:
			z.add(host, "AAAA", fmt.Sprintf("2001:db8::%x:%x", i>>16, i&0xffff))
		case 2, 3:
			z.add(fmt.Sprintf("alias%06d", i), "CNAME", host)
		case 4:
			z.add(host, "TXT", fmt.Sprintf(`"owner=team-%d" "seen=%d"`, i%50, i))
		case 5:
			z.add(host, "MX", "10 host000000")
		}
	}
	z.records = z.records[:n]
	return z
}

func (z *zone) add(name, typ, data string) { z.records = append(z.records, record{name, typ, data}) }

const head = `$ORIGIN bench.example.
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 604800 300
@ IN NS ns1
ns1 IN A 127.0.0.1
`

func (z *zone) text() string {
	var b strings.Builder
	b.WriteString(head)
	for _, r := range z.records {
		fmt.Fprintf(&b, "%s IN %s %s\n", r.name, r.typ, r.data)
	}
	return b.String()
}

// script gives the nsupdate commands that add the records, in messages of as
// many as fit into 64 KiB with room to spare.
func (z *zone) script(remove bool) string {
	var b strings.Builder
	b.WriteString("zone " + zoneName + "\n")
	for i, r := range z.records {
		if remove {
			fmt.Fprintf(&b, "update delete %s.%s. %s\n", r.name, zoneName, r.typ)
		}
		data := r.data
		if r.typ == "CNAME" || r.typ == "MX" {
			data += "." + zoneName + "."
		}
		fmt.Fprintf(&b, "update add %s.%s. 300 %s %s\n", r.name, zoneName, r.typ, data)
		if i%1000 == 999 {
			b.WriteString("send\n")
		}
	}
	b.WriteString("send\n")
	return b.String()
}
