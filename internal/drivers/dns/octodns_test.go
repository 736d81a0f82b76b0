package dns

import (
	"context"
	"strings"
	"testing"
)

func TestOctoDNS(t *testing.T) {
	text := `---
? ''
: - type: A
    value: 192.0.2.1
    ttl: 60
  - type: MX
    values:
      - {preference: 10, exchange: mail.example.com.}
      - priority: 20
        value: mail2.example.com.
  - type: CAA
    value: {flags: 0, tag: issue, value: ca.example}
www:
  type: CNAME
  value: example.com.
multi:
  type: TXT
  values: ['a\; b', "c d"]
_sip._tcp:
  type: SRV
  value: {priority: 1, weight: 2, port: 443, target: example.com.}
skip:
  octodns: {ignored: true}
  type: ALIAS
  value: x.
svc:
  type: HTTPS
  value: {svcpriority: 1, targetname: ., svcparams: {alpn: [h2, h3], port: 8443}}
loc:
  type: LOC
  value: {lat_degrees: 52, lat_minutes: 22, lat_seconds: 23.0, lat_direction: N, long_degrees: 4, long_minutes: 53, long_seconds: 32, long_direction: E, altitude: -2, size: 1, precision_horz: 10000, precision_vert: 10}
ds:
  - {type: DS, value: {key_tag: 1, algorithm: 13, digest_type: 2, digest: ABAB}}
  - {type: NS, values: [ns1.example.org.]}
naptr:
  type: NAPTR
  value: {order: 1, preference: 2, flags: S, service: SIP+D2U, regexp: '', replacement: x.example.com.}
`
	p := prepared(t, input(&Spec{}, nil, "example.com.yaml", text))
	if err := p.Diagnostics.Err(); err != nil {
		t.Fatal(err)
	}
	got := records(p)
	for _, want := range []string{
		"example.com. 60 A 192.0.2.1 @example.com.yaml:3", "example.com. 3600 MX 10 mail.example.com.", "example.com. 3600 MX 20 mail2",
		`example.com. 3600 CAA 0 issue "ca.example"`, "www.example.com. 3600 CNAME example.com. @example.com.yaml:14", `multi.example.com. 3600 TXT "a; b"`,
		"_sip._tcp.example.com. 3600 SRV 1 2 443 example.com.", `svc.example.com. 3600 HTTPS 1 . alpn="h2,h3" port="8443"`, "loc.example.com. 3600 LOC 52 22 23.000 N",
		"ds.example.com. 3600 DS 1 13 2 ABAB", `naptr.example.com. 3600 NAPTR 1 2 "S" "SIP+D2U" "" x.example.com.`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "skip") {
		t.Error("an ignored record is there")
	}
}

func TestOctoDNSMistakes(t *testing.T) {
	text := `www:
  type: CNAME
  value: example.com
alias:
  type: ALIAS
  value: x.
fwd: {type: URLFWD, value: {}}
geo:
  type: A
  value: 192.0.2.1
  geo: {}
odd:
  type: A
  valu: 192.0.2.1
bad:
  type: A
  values: [192.0.2.1, 192.0.2.400]
mx: {type: MX, value: {preference: 10}}
more: {type: MX, value: {preference: 10, exchange: x., weight: 1}}
x.example.com: {type: A, value: 192.0.2.1}
none: {type: A}
inject: {type: CAA, value: {flags: "0 issue x", tag: y, value: z}}
`
	got := prepared(t, input(&Spec{}, nil, "example.com.yaml", text)).Diagnostics.Errors()
	all := got.Error()
	for _, want := range []string{
		`:2: www.example.com. CNAME: "example.com" has no dot`, `:5: alias.example.com.: ALIAS is no record`, `fwd.example.com.: URLFWD`, `geo.example.com.: A records depend on who asks`,
		`odd.example.com.: unknown field "valu"`, `:17: bad.example.com. A: "192.0.2.400"`, `mx.example.com. MX: exchange is missing`, `more.example.com. MX: unknown field "weight"`,
		`:20: "x.example.com" repeats the zone's name`, `none.example.com.: A has no value`, `inject.example.com. CAA: "0 issue x" is not a value`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("missing %s in\n%s", want, all)
		}
	}
	if len(got) != 11 {
		t.Errorf("%d mistakes:\n%s", len(got), all)
	}
	if d := prepared(t, input(&Spec{}, nil, "example.com.yaml", "a: {type: A\nb: [")).Diagnostics; d.Err() == nil || d[0].Line == 0 {
		t.Errorf("a syntax error has a line: %v", d)
	}
}

func FuzzOctoDNS(f *testing.F) {
	f.Add("a: {type: A, value: 192.0.2.1}\n'': [{type: MX, values: [{preference: 1, exchange: a.}]}]\n")
	f.Add("x: &a {type: TXT, value: 'b'}\ny: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = New().Prepare(context.Background(), input(&Spec{}, nil, "example.com.yaml", text))
	})
}
