package dns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/dns/dnsfake"
	"trueup.dev/trueup/internal/plan"
)

func openFake(t testing.TB, zones ...string) (*dnsfake.Server, *session) {
	t.Helper()
	all := map[string]string{}
	for _, z := range append(zones, "example.com.") {
		all[z] = strings.ReplaceAll(emptyZone, "example.com.", z)
	}
	srv, err := dnsfake.Start(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	return srv, open(t, &Connect{Server: srv.Addr, TSIG: &TSIG{Ref: "env:K"}}, map[string]string{"env:K": srv.TSIG()})
}

// A set that changes between the reading and the write is noticed by the
// server, through the prerequisites, and nothing of the message is written.
func TestConcurrentChangeIsStale(t *testing.T) {
	srv, s := openFake(t)
	j := newJournal()
	in := input(&Spec{}, j.inv, "example.com.zone", top+"www A 192.0.2.1\nnew A 192.0.2.2\n")
	for _, c := range []struct{ name, add string }{
		{"the same set appeared", "www.example.com. 300 IN A 192.0.2.99"},
		{"a CNAME appeared", "www.example.com. 300 IN CNAME x.example.com."},
	} {
		if err := srv.Edit("example.com.", nil, []string{"www.example.com. A", "www.example.com. CNAME"}); err != nil {
			t.Fatal(err)
		}
		p := mustPlan(t, s, in)
		set, _, err := s.newSet(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		// The steps as they are right before the write; then somebody is faster.
		items, err := set.Desired(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		var steps []step
		for i := range items {
			steps = append(steps, step{Change: plan.Change{Key: items[i].Key, Kind: kindSet}, New: &items[i]})
		}
		if err := srv.Edit("example.com.", []string{c.add}, nil); err != nil {
			t.Fatal(err)
		}
		before := strings.Join(srv.Records("example.com."), "\n")
		for _, err := range set.Write(context.Background(), set.Batches(steps)[0]) {
			if !errors.Is(err, driver.ErrStale) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if after := strings.Join(srv.Records("example.com."), "\n"); after != before {
			t.Errorf("%s: written all the same:\n%s", c.name, after)
		}
		if err := s.Apply(context.Background(), in, p, j); !errors.Is(err, driver.ErrStale) {
			t.Errorf("%s: apply: %v", c.name, err)
		}
	}
}

// A server drops an A beside a CNAME in silence: what goes must go first, in
// the same message.
func TestCNAMEAndAddressChangePlaces(t *testing.T) {
	srv, s := openFake(t)
	j := newJournal()
	mustApply(t, s, input(&Spec{}, j.inv, "example.com.zone", top+"a CNAME x.example.org.\nb A 192.0.2.1\nz MX 1 b\n"), j)
	p := mustApply(t, s, input(&Spec{}, j.inv, "example.com.zone", top+"a A 192.0.2.2\nb CNAME x.example.org.\nz MX 1 a\n"), j)
	for _, c := range p.Changes {
		if c.Group != p.Changes[0].Group {
			t.Errorf("%s is written apart", c.Key)
		}
	}
	got := strings.Join(srv.Records("example.com."), "\n")
	for _, want := range []string{"a.example.com.\t300\tIN\tA\t192.0.2.2", "b.example.com.\t300\tIN\tCNAME\tx.example.org."} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}
}

// An answer that never comes leaves the outcome unknown; the next run settles
// it by reading.
func TestLostAnswerIsUnknown(t *testing.T) {
	srv, s := openFake(t)
	j := newJournal()
	in := input(&Spec{}, j.inv, "example.com.zone", top+"www A 192.0.2.1\n")
	p := mustPlan(t, s, in)
	srv.DropAnswer()
	_ = s.Apply(context.Background(), in, p, j)
	if len(j.all) != 1 || j.all[0].Outcome != plan.Unknown {
		t.Fatalf("results: %+v", j.all)
	}
	in.Inventory = j.inv
	p = mustPlan(t, s, in)
	if len(p.Changes) != 1 || p.Changes[0].Action != plan.Adopt {
		t.Errorf("the next plan: %+v", p.Changes)
	}
}

// Ten thousand records need several messages; the plan says where the cuts
// are, and each name is in one of them.
func TestManyRecordsAreCut(t *testing.T) {
	srv, s := openFake(t)
	var b strings.Builder
	b.WriteString(top)
	for i := range 3000 {
		fmt.Fprintf(&b, "host%d A 10.0.%d.%d\nhost%d AAAA 2001:db8::%x\n", i, i/256, i%256, i, i)
	}
	j := newJournal()
	in := input(&Spec{}, j.inv, "example.com.zone", b.String())
	p := mustApply(t, s, in, j)
	groups, names := map[string]bool{}, map[string]string{}
	for _, c := range p.Changes {
		groups[c.Group] = true
		name, _ := splitAddress(c.Address)
		if g := names[name]; g != "" && g != c.Group {
			t.Fatalf("%s is in %s and %s", name, g, c.Group)
		}
		names[name] = c.Group
	}
	if len(groups) < 3 {
		t.Errorf("%d messages", len(groups))
	}
	if n := len(srv.Records("example.com.")); n != 6002 {
		t.Errorf("the server holds %d records", n)
	}
	in.Inventory = j.inv
	if p := mustPlan(t, s, in); !p.Empty() {
		t.Errorf("%d changes after the apply", len(p.Changes))
	}
}

func TestUnknownValueIsShownAndNotApplied(t *testing.T) {
	_, s := openFake(t)
	in := input(&Spec{}, nil, "example.com.zone", top+"www A {{ .lb }}\nok A 192.0.2.1\n")
	in.Values = map[string]plan.Output{"lb": {Unknown: true}}
	p := mustPlan(t, s, in)
	if len(p.Changes) != 2 || len(p.Changes[1].Unknown) != 1 || !strings.Contains(string(p.Changes[1].After), `"after":["lb"]`) {
		t.Errorf("%+v", p.Changes)
	}
	if err := s.Apply(context.Background(), in, p, newJournal()); !errors.Is(err, driver.ErrStale) {
		t.Errorf("apply: %v", err)
	}
}

// Others' CNAME or records at a wanted name hold the change: a server would
// drop it in silence.
func TestCNAMEBesideOthersIsHeld(t *testing.T) {
	srv, s := openFake(t)
	if err := srv.Edit("example.com.", []string{"a.example.com. 60 IN CNAME x.example.org.", "b.example.com. 60 IN A 192.0.2.1"}, nil); err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, s, input(&Spec{}, nil, "example.com.zone", top+"a A 192.0.2.1\nb CNAME c.example.org.\nc A 192.0.2.1\n"))
	for _, c := range p.Changes {
		if held := c.Address != "c.example.com./A"; held != (c.Conflict != "") {
			t.Errorf("%s: conflict %q", c.Key, c.Conflict)
		}
	}
}

func TestScopeAndIgnoreAreLeftAlone(t *testing.T) {
	srv, s := openFake(t)
	if err := srv.Edit("example.com.", []string{"x.k8s.example.com. 60 IN A 192.0.2.1", "_acme-challenge.www.example.com. 60 IN TXT t", "stray.example.com. 60 IN A 192.0.2.2"}, nil); err != nil {
		t.Fatal(err)
	}
	in := input(&Spec{Ownership: OwnZone, Ignore: []string{"_acme-challenge.**"}}, nil, "example.com.zone", top+"www A 192.0.2.1\n")
	in.Scope = &Scope{Except: []string{"*.k8s"}}
	p := mustPlan(t, s, in)
	if len(p.Changes) != 2 || p.Changes[0].Key.Address != "stray.example.com./A" || p.Changes[0].Action != plan.Delete {
		t.Errorf("%+v", p.Changes)
	}
	if got := p.Scopes[0].Unmanaged; got != 4 { // SOA, NS, k8s, acme
		t.Errorf("unmanaged: %d", got)
	}
	in.Tree = tree("example.com.zone", top+"a.k8s A 192.0.2.1\n")
	if err := prepared(t, in).Diagnostics.Err(); err == nil || !strings.Contains(err.Error(), "outside the target's scope") {
		t.Errorf("a record outside: %v", err)
	}
}

func TestReverseRecords(t *testing.T) {
	in := input(&Spec{PTR: &PTRSpec{Zones: []string{"0.192.in-addr.arpa", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"}, Except: []string{"alias"}}}, nil,
		"example.com.zone", top+"www A 192.0.2.1\nalias A 192.0.2.1\nbeta A 192.0.2.1\nsix AAAA 2001:db8::1\nfar A 192.0.9.1\nout A 203.0.113.1\n*.w A 192.0.2.9\n")
	p := prepared(t, in)
	if err := p.Diagnostics.Err(); err != nil {
		t.Fatal(err)
	}
	got := records(p)
	for _, want := range []string{"1.2.0.192.in-addr.arpa. 300 PTR beta.example.com.", "1.9.0.192.in-addr.arpa. 300 PTR far", ".8.b.d.0.1.0.0.2.ip6.arpa. 300 PTR six"} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "PTR alias") || strings.Contains(got, "113.0.203") || strings.Contains(got, "PTR *") {
		t.Errorf("too much:\n%s", got)
	}
	if w := p.Diagnostics.Warnings().Error(); !strings.Contains(w, "www.example.com. has the address of another name") {
		t.Errorf("warnings: %s", w)
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"*.team-a", "www.team-a.example.com.", true}, {"*.team-a", "team-a.example.com.", false}, {"*.team-a", "a.b.team-a.example.com.", false},
		{"**.team-a", "team-a.example.com.", true}, {"**.team-a", "a.b.team-a.example.com.", true}, {"**.team-a", "xteam-a.example.com.", false},
		{"@", "example.com.", true}, {"@", "www.example.com.", false}, {"**", "example.com.", true}, {"*", "example.com.", false},
		{"_acme-challenge.**", "_acme-challenge.a.b.example.com.", true}, {"_acme-challenge.**", "_acme-challenge.example.com.", true},
		{"*.Example.com.", "www.example.com.", true}, {"www", "www.example.com.", true}, {"www.example.com", "www.example.com.", false},
		{"web*", "web12.example.com.", true}, {"web*", "web.x.example.com.", false}, {"*", `a\.b.example.com.`, true}, {"**.org.", "x.example.com.", false},
	} {
		if got := matchName(c.glob, c.name, "example.com."); got != c.want {
			t.Errorf("%s ~ %s: %v", c.glob, c.name, got)
		}
	}
	s := &Scope{Names: []string{"*.team-a"}, Types: []string{"A", "cname"}, Except: []string{"no.team-a"}}
	for addr, want := range map[plan.Address]bool{"x.team-a.example.com./A": true, "x.team-a.example.com./CNAME": true, "x.team-a.example.com./TXT": false,
		"no.team-a.example.com./A": false, "example.com./A": false} {
		if got := s.Contains(plan.Key{Scope: "example.com./inside", Address: addr}, kindSet); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if !(&Scope{}).Contains(plan.Key{Scope: "example.com.", Address: "x."}, kindZone) || s.Contains(plan.Key{Scope: "example.com.", Address: "example.com."}, kindZone) {
		t.Error("a narrowed scope does not hold the zone itself")
	}
}

func TestDelegation(t *testing.T) {
	child, _ := openFake(t, "sub.example.com.")
	_, s := openFake(t)
	s.lookup = func(_ context.Context, host string) ([]string, error) {
		if host == "ns.other." {
			return []string{child.Addr}, nil
		}
		return nil, errors.New("no such host")
	}
	ds := "sub DS 12345 13 2 " + strings.Repeat("ab", 32) + "\n"
	for _, c := range []struct{ mode, text, warn, conflict string }{
		{"warn", "sub NS ns.other.\n", "", ""},
		{"warn", "lame NS ns.other.\n", "not authoritative", ""},
		{"error", "sub NS nowhere.\n", "", "no such host"},
		{"error", "sub NS ns.other.\n" + ds, "", "no DNSKEY of sub.example.com. matches"},
		{"", "sub NS nowhere.\n", "", ""},
	} {
		p := mustPlan(t, s, input(&Spec{Delegation: c.mode}, nil, "example.com.zone", top+"@ NS ns.other.\n"+c.text))
		var warnings string
		for _, w := range p.Warnings {
			warnings += w.Error()
		}
		if conflict := p.Changes[0].Conflict; (c.warn == "") != (warnings == "") || !strings.Contains(warnings, c.warn) || (c.conflict == "") != (conflict == "") || !strings.Contains(conflict, c.conflict) {
			t.Errorf("%s %q: warnings %q, conflict %q", c.mode, c.text, warnings, conflict)
		}
	}
}
