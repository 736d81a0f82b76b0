package dns

import (
	"context"
	"fmt"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func prepared(t testing.TB, in driver.Input) *driver.Prepared {
	t.Helper()
	p, err := New().Prepare(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// records gives what was parsed, one line a record.
func records(p *driver.Prepared) string {
	var out []string
	for _, z := range p.State.(*desiredState).zones {
		for i := range z.sets {
			s := &z.sets[i]
			if s.skip {
				continue
			}
			for _, d := range s.Data {
				out = append(out, fmt.Sprintf("%s %d %s %s @%s", s.Name, s.TTL, typeName(s.Type), s.text(d), s.at[0].source()))
			}
		}
	}
	return strings.Join(out, "\n")
}

const top = "$ORIGIN example.com.\n$TTL 300\n@ IN SOA ns1 h 1 2 3 4 5\n"

func TestZoneFile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"owner taken over, parentheses, comments", top + "www A 192.0.2.1 ; first\n    AAAA ( 2001:db8::1\n ) \n; nothing\n\n mx 60 IN MX 10 www\n",
			""},
		{"classes and TTLs in either order", top + "a 60 IN A 192.0.2.1\nb IN 1h A 192.0.2.2\nc A 192.0.2.3\n",
			"a.example.com. 60 A 192.0.2.1 @z:4\nb.example.com. 3600 A 192.0.2.2 @z:5\nc.example.com. 300 A 192.0.2.3 @z:6"},
		{"origin", top + "$ORIGIN sub\nwww A 192.0.2.1\n$ORIGIN other.example.com.\n@ TXT x\n",
			"www.sub.example.com. 300 A 192.0.2.1 @z:5\nother.example.com. 300 TXT \"x\" @z:7"},
		{"case", top + "WWW CNAME Mail.EXAMPLE.com.\nmail A 192.0.2.1\n",
			"www.example.com. 300 CNAME mail.example.com. @z:4\nmail.example.com. 300 A 192.0.2.1 @z:5"},
		{"generate", top + "$GENERATE 1-3/2 h${0,3,d} A 192.0.2.$\n$GENERATE 16-17 r${0,2,x}.$ 60 CNAME h\\$\n",
			"h001.example.com. 300 A 192.0.2.1 @z:4\nh003.example.com. 300 A 192.0.2.3 @z:4\nr10.16.example.com. 60 CNAME h$.example.com. @z:5\nr11.17.example.com. 60 CNAME h$.example.com. @z:5"},
		{"escapes", top + `a\.b TXT "x\"y\;z"` + "\n" + `c\097t A 192.0.2.1` + "\n",
			`a\.b.example.com. 300 TXT "x\"y;z" @z:4` + "\ncat.example.com. 300 A 192.0.2.1 @z:5"},
		{"include", top + "$INCLUDE inc/hosts sub\nafter A 192.0.2.9\n", "www.sub.example.com. 300 A 192.0.2.8 @inc/hosts:2\nafter.example.com. 300 A 192.0.2.9 @z:5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := prepared(t, input(&Spec{Format: "zonefile"}, nil, "z", c.text, "inc/hosts", "; hosts\nwww A 192.0.2.8\n"))
			if c.want == "" { // white space before "mx" makes it the type, which is a mistake
				if err := p.Diagnostics.Err(); err == nil || err.Error() != `z:9: www.example.com. MX: 5 fields where 2 belong` {
					t.Errorf("mistakes: %v", err)
				}
				return
			}
			if err := p.Diagnostics.Err(); err != nil {
				t.Fatal(err)
			}
			if got := records(p); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// Every mistake of a file is reported, each at its line, also in an included
// file and behind a syntax error.
func TestZoneFileMistakes(t *testing.T) {
	text := top + strings.Join([]string{ // line 4 on
		"alias CNAME www",
		"alias A 192.0.2.1",
		"mx MX 10 mail.example.com",
		"www 300 A 192.0.2.1",
		"www 60 A 192.0.2.2",
		"www A 192.0.2.1",
		"elsewhere.org. A 192.0.2.1",
		"bad A 192.0.2.300",
		`text TXT "never closed`,
		"open TXT ( a",
		"www.example.com A 192.0.2.1",
		"$INCLUDE ../../etc/passwd",
		"$INCLUDE /etc/passwd",
		"$INCLUDE inc/bad",
		"@ CNAME www",
		"x CH A 192.0.2.1",
		"key DNSKEY 257 3 8 AwEAAQ==",
		"$UNKNOWN x",
		"y FOO bar",
		"www SRV 1 2 x y",
	}, "\n") + "\n"
	p := prepared(t, input(&Spec{Zone: "example.com"}, nil, "dns/z", text, "dns/inc/bad", "\nok A 192.0.2.1\nno AAAA 192.0.2.1\n"))
	got := p.Diagnostics.Errors().Error()
	for _, want := range []string{
		`dns/z:4: a CNAME for alias.example.com. beside its A (dns/z:5)`,
		`dns/z:6: mx.example.com. MX: "mail.example.com" has no dot`,
		`dns/z:8: TTL 60 differs from 300`,
		`dns/z:9: the same A record of www.example.com. stands at dns/z:7`,
		`dns/z:10: elsewhere.org. is outside the zone`,
		`dns/z:11: bad.example.com. A: "192.0.2.300" is not an IP address`,
		`dns/z:12: a quote is never closed`,
		`dns/z:13: an opening parenthesis is never closed`,
		`dns/z:14: "www.example.com" has no dot`,
		`dns/z:15: $INCLUDE ../../etc/passwd: the path leaves the repository`,
		`dns/z:16: $INCLUDE /etc/passwd: an absolute path`,
		`dns/inc/bad:3: no.example.com. AAAA: 192.0.2.1 is not an IPv6 address`,
		`dns/z:18: a CNAME at the zone's own name`,
		`dns/z:19: class CH`,
		`dns/z:20: DNSKEY records can't be managed`,
		`dns/z:21: unknown directive $UNKNOWN`,
		`dns/z:22: "FOO" is not a record type`,
		`dns/z:23: www.example.com. SRV: "x" is not a number`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if n := len(p.Diagnostics.Errors()); n != 18 {
		t.Errorf("%d mistakes, want 18:\n%s", n, got)
	}
}

func TestWarnings(t *testing.T) {
	text := top + "@ MX 10 nowhere\n@ MX 20 alias\nalias CNAME gone\nsub NS ns.sub\n*.wild A 192.0.2.1\nok CNAME x.wild\nout CNAME x.sub\n"
	p := prepared(t, input(&Spec{}, nil, "example.com.zone", text))
	if err := p.Diagnostics.Err(); err != nil {
		t.Fatal(err)
	}
	got := p.Diagnostics.Warnings().Error()
	for _, want := range []string{":4: warning: the MX of example.com. points to nowhere", ":5: warning: the MX of example.com. points to alias.example.com., which is a CNAME",
		":6: warning: the CNAME of alias.example.com. points to gone"} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "wild") || strings.Contains(got, "x.sub") {
		t.Errorf("too much:\n%s", got)
	}
}

// Includes that multiply, and sets without end, are cut off.
func TestLimits(t *testing.T) {
	self := prepared(t, input(&Spec{Zone: "example.com", Format: "zonefile"}, nil, "z", top+strings.Repeat("$INCLUDE y\n", 20), "y", strings.Repeat("$INCLUDE x\n", 20), "x", strings.Repeat("$INCLUDE z\n$INCLUDE w\n", 20)))
	if err := self.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "includes itself") {
		t.Errorf("includes: %v", err)
	}
	big := prepared(t, input(&Spec{Zone: "example.com", Format: "zonefile"}, nil, "z", top+"$GENERATE 0-5000 www AAAA 2001:db8::${0,0,x}\n"))
	if err := big.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "more than 4096 AAAA records") || len(big.Diagnostics.Errors()) != 1 {
		t.Errorf("a large set: %v", err)
	}
	if err := prepared(t, input(&Spec{}, nil, "example.com.zone", top+"$GENERATE 0-100000000 www$ A 192.0.2.1\n")).Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "$GENERATE makes more than") {
		t.Errorf("$GENERATE: %v", err)
	}
}

func TestEmptyZoneIsAMistake(t *testing.T) {
	p := prepared(t, input(&Spec{}, nil, "example.com.zone", top+"@ NS ns1.other.\n"))
	if err := p.Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "example.com.zone: it declares no record") {
		t.Errorf("%v", err)
	}
}

func TestValues(t *testing.T) {
	in := input(&Spec{}, nil, "example.com.zone", top+"lb A {{ .lb }}\n{{ range .hosts }}h A {{ . }}\n{{ end }}later A {{ .later }}\n")
	in.Values = map[string]plan.Output{"lb": {Value: []byte(`"192.0.2.7"`)}, "hosts": {Value: []byte(`["192.0.2.1","192.0.2.2"]`)}, "later": {Unknown: true}, "spare": {Value: []byte("1")}}
	p := prepared(t, in)
	if err := p.Diagnostics.Err(); err != nil {
		t.Fatal(err)
	}
	if got := records(p); !strings.Contains(got, "lb.example.com. 300 A 192.0.2.7") || !strings.Contains(got, "h.example.com. 300 A 192.0.2.2") {
		t.Errorf("got:\n%s", got)
	}
	if fmt.Sprint(p.Values) != "[hosts later lb]" {
		t.Errorf("values used: %v", p.Values)
	}
	in.Values = map[string]plan.Output{"lb": {Value: []byte(`"x"`)}}
	if err := prepared(t, in).Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "hosts") {
		t.Errorf("a missing value: %v", err)
	}
	in.Values = map[string]plan.Output{"lb": {Value: []byte(`"192.0.2.1\nevil A 192.0.2.2"`)}, "hosts": {}, "later": {}}
	if err := prepared(t, in).Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "the value lb holds characters") {
		t.Errorf("a value that adds a line: %v", err)
	}
}

// The data read here and the data read by miekg/dns are the same bytes.
func TestCommonTypesAsTheLibrary(t *testing.T) {
	for _, rec := range []string{"A 192.0.2.1", "AAAA 2001:DB8::1", "AAAA ::ffff:192.0.2.1", "CNAME A.b", "NS x.", "PTR @", "MX 10 Mail", "SRV 1 2 3 t.u.", `TXT "a" b "c d"`, `DNAME a\.b.c`} {
		typ, text, _ := strings.Cut(rec, " ")
		fast, err := parseRdata(typeOf(typ), text, "example.com.")
		slow, err2 := parseOther(typeOf(typ), text, "example.com.")
		if err != nil || err2 != nil {
			if rec != "AAAA ::ffff:192.0.2.1" {
				t.Errorf("%s: %v %v", rec, err, err2)
			}
			continue
		}
		if fast != slow {
			t.Errorf("%s: %x %x", rec, fast, slow)
		}
	}
}

func FuzzZoneFile(f *testing.F) {
	f.Add(small)
	f.Add(top + "$GENERATE 1-3 h$ A 192.0.2.$\na TXT ( \"x\" ) ; c\n")
	f.Add(top + "$INCLUDE z\n\\065 A 192.0.2.1\n* CNAME @\n")
	f.Fuzz(func(t *testing.T, text string) {
		in := input(&Spec{Zone: "example.com", Format: "zonefile"}, nil, "z", text)
		p, err := New().Prepare(context.Background(), in)
		if err != nil || p.Diagnostics.Err() != nil {
			return
		}
		// What was accepted is shown, and read back as the same.
		for _, z := range p.State.(*desiredState).zones {
			for i := range z.sets {
				s := &z.sets[i].RRset
				doc, err := s.show()
				if err != nil {
					t.Fatal(err)
				}
				again, err := parseShown(doc)
				if err != nil {
					t.Fatalf("%s: %v", doc, err)
				}
				if !s.same(&again) || again.Name != s.Name {
					t.Fatalf("%s is read back as %+v", doc, again)
				}
				if !inZone(s.Name, z.name) {
					t.Fatalf("%s is outside %s", s.Name, z.name)
				}
			}
		}
	})
}

func FuzzMessage(f *testing.F) {
	m := new(mdns.Msg)
	m.SetAxfr("example.com.")
	rr, err := mdns.NewRR("www.example.com. 300 IN MX 10 mail.example.com.")
	if err != nil {
		f.Fatal(err)
	}
	m.Answer = append(m.Answer, rr)
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := readHeader(msg)
		if err != nil {
			return
		}
		_, _, _ = findTSIG(msg)
		_ = eachAnswer(msg, h, func(_ []byte, r wireRecord) error {
			_, err := appendRdata(nil, msg, r.data, r.size, r.typ)
			return err
		})
	})
}
