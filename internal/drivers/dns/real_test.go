//go:build real

package dns

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/dnsserver"
)

func openServer(t testing.TB, srv *dnsserver.Server) *session {
	return open(t, &Connect{Server: srv.Addr, TSIG: &TSIG{Ref: "env:K"}}, map[string]string{"env:K": srv.Key.String()})
}

func dig(t testing.TB, srv *dnsserver.Server, args ...string) string {
	t.Helper()
	out, err := srv.Dig(append([]string{"+short", "+norec"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestBINDSlice(t *testing.T) {
	srv := dnsserver.BIND(t, dnsserver.Zone{Name: "example.com"})
	s := openServer(t, srv)
	j := newJournal()
	in := input(&Spec{}, j.inv, "dns/example.com.zone", small)
	mustApply(t, s, in, j)
	if got := dig(t, srv, "ftp.example.com", "A"); got != "www.example.com.\n192.0.2.2\n192.0.2.3" && got != "www.example.com.\n192.0.2.3\n192.0.2.2" {
		t.Errorf("ftp: %q", got)
	}
	if got := dig(t, srv, "txt.example.com", "TXT"); got != `"a b" "c;d"` {
		t.Errorf("txt: %q", got)
	}
	if p := mustPlan(t, s, in); !p.Empty() {
		t.Errorf("plan after apply: %+v", p.Changes)
	}
	in = input(&Spec{}, j.inv, "dns/example.com.zone", strings.Replace(small, "ftp IN CNAME www", "ftp IN A 192.0.2.9", 1))
	mustApply(t, s, in, j)
	if got := dig(t, srv, "ftp.example.com", "A"); got != "192.0.2.9" {
		t.Errorf("a CNAME that became an A: %q", got)
	}
}
