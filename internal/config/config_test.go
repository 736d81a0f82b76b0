package config_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loaded(t testing.TB) *config.Server {
	t.Helper()
	s, diags := config.LoadServer("testdata/server.yaml", fakes(t))
	if s == nil || len(diags) > 0 {
		t.Fatalf("server.yaml: %v", diags)
	}
	return s
}

var apps = fstest.MapFS{
	"apps/shop/overlays/prod/kustomization.yaml": {},
	"apps/cart/overlays/prod/kustomization.yaml": {},
	"apps/README.md": {},
	"apps/.hidden/x": {},
}

func resolved(t testing.TB, s *config.Server, body string) ([]config.Resolved, plan.Diagnostics) {
	t.Helper()
	m, diags := config.ParseManifest("trueup.yaml", []byte(body))
	if diags.Err() != nil {
		return nil, diags
	}
	r, more := config.Resolve(config.Context{Repository: "infra", Server: s, Drivers: fakes(t), Tree: apps, Branch: "main"}, "trueup.yaml", m)
	return r, append(append(diags, more...), config.Check(r)...)
}

func TestTheWholeExample(t *testing.T) {
	s := loaded(t)
	all, diags := resolved(t, s, string(file(t, "testdata/trueup.yaml")))
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	var ids []string
	byID := map[string]config.Resolved{}
	for _, r := range all {
		ids = append(ids, r.ID)
		byID[r.ID] = r
	}
	want := []string{"infra/network", "infra/zone-example-com", "infra/web-hosts", "infra/shop-cart", "infra/shop-shop",
		"infra/people@ldap", "infra/people@gitea", "infra/people@slack", "infra/people@linux-accounts"}
	if !slices.Equal(ids, want) {
		t.Fatalf("ids are\n%s\nwant\n%s", strings.Join(ids, "\n"), strings.Join(want, "\n"))
	}
	if r := byID["infra/shop-cart"]; r.Path != "apps/cart/overlays/prod" || r.Inputs[0] != "apps/cart/base/**" || r.EachBase != "apps" || r.EachDir != "cart" {
		t.Errorf("each was expanded to %+v", r)
	}
	zone := byID["infra/zone-example-com"]
	if zone.Values["lb"] != (config.ValueRef{Target: "infra/network", Output: "lb_ip"}) || zone.Driver != "dns" {
		t.Errorf("the zone is %+v", zone)
	}
	if zone.Health[0].DNS.Ask != "every-nameserver" || string(zone.RawScope) != `{"except":["_acme-challenge.**","*.k8s"]}` {
		t.Errorf("the zone is %+v, scope %s", zone, zone.RawScope)
	}
	if all[3].Health[0].Driver["ready"] != "all" {
		t.Errorf("the driver's own check is lost: %+v", all[3].Health)
	}
	dns := s.Environments["dns-public"]
	if c := dns.Connect.(*zoneConnect); c.TSIG.Ref != "vault:kv/dns#tsig" || c.Server != "ns0.acme.net:53" {
		t.Errorf("connect is %+v", c)
	}
	if sc := dns.Allow[1].Scope.(*zoneScope); len(sc.Types) != 3 {
		t.Errorf("the grant's scope is %+v", sc)
	}
}
