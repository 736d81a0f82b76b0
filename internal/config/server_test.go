package config_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
)

func parse(t testing.TB, body string) *config.Server {
	t.Helper()
	s, diags := config.ParseServer("server.yaml", []byte(body), "/etc/trueup", fakes(t))
	if s == nil {
		t.Fatal(diags)
	}
	return s
}

func TestDefaults(t *testing.T) {
	s := parse(t, "version: 1\nrepositories: { a: { url: x } }\npolicies: { p: { approve: [{ by: auto }] }, q: }\nenvironments: { e: { driver: people, connect: {} } }\ncommands: { c: { args: [x] } }\n")
	want := config.Limits{Concurrency: 8, FetchTimeout: 2 * time.Minute, PlanTimeout: 10 * time.Minute, ApplyTimeout: time.Hour,
		KeepRuns: 100, KeepDays: 365, RetryMin: 5 * time.Second, RetryMax: 10 * time.Minute, Lease: 30 * time.Second}
	if s.Limits != want {
		t.Errorf("limits are %+v", s.Limits)
	}
	if r := s.Repositories["a"]; r.Poll != time.Minute || r.Rewind != "refuse" || r.Name != "a" || r.Source.Line != 2 {
		t.Errorf("the repository is %+v", r)
	}
	for _, name := range []string{"p", "q"} {
		if p := s.Policies[name]; p.Drift != "correct" || p.DriftInterval != 5*time.Minute || p.Flapping != 5 || p.Name != name {
			t.Errorf("the policy is %+v", p)
		}
	}
	if a := s.Policies["p"].Approve[0]; a.Count != 1 || a.By[0] != "auto" {
		t.Errorf("the rule is %+v", a)
	}
	if e := s.Environments["e"]; e.Concurrency != 4 {
		t.Errorf("the environment is %+v", e)
	}
	if s.Commands["c"].Timeout != time.Minute || s.Dir != "/etc/trueup" || len(s.Digest) != 64 {
		t.Errorf("the server is %+v", s)
	}
}

func TestLimits(t *testing.T) {
	s := parse(t, "version: 1\npolicies: { p: { guard: { update: 20%, delete: 5, replace: { max: 3, share: 12.5 %, classes: { record: 50 } }, create: 0 } } }\n")
	g := s.Policies["p"].Guard
	if *g["update"].Share != 0.2 || g["update"].Max != nil || *g["delete"].Max != 5 || g["delete"].Share != nil || *g["create"].Max != 0 {
		t.Errorf("the guard is %+v", g)
	}
	if r := g["replace"]; *r.Max != 3 || *r.Share != 0.125 || r.Classes["record"] != 50 {
		t.Errorf("the long form is %+v", r)
	}
}

// The guards that hold by default hold 300 wrong updates, however much the
// target owns, and let a small inventory change.
func TestDefaultGuard(t *testing.T) {
	p := &plan.Plan{Mode: plan.Apply, Scopes: []plan.ScopePlan{{Owned: map[string]int{"record": 100_000}}}}
	for range 300 {
		p.Changes = append(p.Changes, plan.Change{Action: plan.Update, Impact: []plan.Impact{{Class: "record", Update: 1}}})
	}
	if len(policy.Guard(config.DefaultPolicy().Guard, p)) == 0 {
		t.Error("300 updates pass")
	}
	small := &plan.Plan{Mode: plan.Apply, Scopes: []plan.ScopePlan{{Owned: map[string]int{"record": 3}}},
		Changes: []plan.Change{{Action: plan.Delete, Impact: []plan.Impact{{Class: "record", Delete: 1}}}}}
	if v := policy.Guard(nil, small); len(v) > 0 {
		t.Errorf("one of three can't be deleted: %v", v)
	}
}

func TestConnectDigest(t *testing.T) {
	at := func(connect string) string {
		return parse(t, "version: 1\nenvironments: { e: { driver: dns, connect: "+connect+" } }\n").Environments["e"].ConnectDigest
	}
	a := at("{ server: a, zone: b }")
	if a != at("{ zone: b, server: a }") {
		t.Error("the order of fields counts")
	}
	if a == at("{ server: a, zone: c }") || a == at("{ server: a }") {
		t.Error("the content does not count")
	}
}

func TestGrants(t *testing.T) {
	s := parse(t, `version: 1
repositories: { a: { url: x, branch: main }, b: { url: y } }
environments:
  e:
    driver: dns
    connect: { server: x }
    allow:
      - { repository: a, paths: [dns/**, web] }
      - { repository: a, paths: ["dns/*.zone"], branch: "release/*", scope: { names: [x] } }
      - { repository: b }
`)
	for _, c := range []struct{ repo, branch, path, want string }{
		{"a", "main", "dns/x/y", ""},
		{"a", "refs/heads/main", "dns", ""},
		{"a", "", "web/x", ""},
		{"a", "main", "webshop", `the environment "e" is granted to the repository "a" for dns/**, web, not for "webshop"`},
		{"a", "release/1", "dns/a.zone", ""},
		{"a", "release/1", "dns/x/a.zone", `the environment "e" is granted to the repository "a" for dns/*.zone, not for "dns/x/a.zone"`},
		{"a", "feature", "dns/x", `the environment "e" is not granted to the branch "feature" of the repository "a"`},
		{"b", "anything", "anywhere", ""},
		{"c", "main", "dns/x", `the environment "e" is not granted to the repository "c"`},
	} {
		if _, err := config.GrantsFor(s, c.repo, c.branch, "e", c.path); errText(err) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	g, err := config.GrantsFor(s, "a", "release/7", "e", "dns/a.zone")
	if err != nil || len(g) != 1 || g[0].Scope.(*zoneScope).Names[0] != "x" {
		t.Errorf("grants are %+v, %v", g, err)
	}
}

func TestIDs(t *testing.T) {
	for _, c := range []struct{ body, id, previous string }{
		{"environment: ldap", "infra/t", "infra/t@ldap"},
		{"environment: ldap, id: fixed", "infra/fixed", "infra/fixed@ldap"},
		{"environment: ldap, previously: { names: [old] }", "infra/t", "infra/t@ldap infra/old infra/old@ldap"},
		{"environments: [ldap]", "infra/t@ldap", "infra/t"},
		{"environments: [ldap], previously: { environments: { openldap: ldap }, names: old }", "infra/t@ldap", "infra/t@openldap infra/old@ldap infra/t infra/old"},
	} {
		all, diags := resolved(t, loaded(t), "version: 1\ntargets: [{ name: t, path: x, "+c.body+" }]\n")
		if diags.Err() != nil {
			t.Fatal(diags)
		}
		if all[0].ID != c.id || strings.Join(all[0].PreviousIDs, " ") != c.previous {
			t.Errorf("%s: %s, before %v", c.body, all[0].ID, all[0].PreviousIDs)
		}
	}
}

func TestPathsStartAtTheManifest(t *testing.T) {
	m, diags := config.ParseManifest("teams/a/trueup.yaml", []byte("version: 1\ntargets: [{ name: t, path: x, inputs: [../shared/**, y], environment: k8s-prod }]\n"))
	if m == nil {
		t.Fatal(diags)
	}
	all, diags := config.Resolve(config.Context{Repository: "infra", Server: loaded(t), Drivers: fakes(t)}, "teams/a/trueup.yaml", m)
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	if r := all[0]; r.Path != "teams/a/x" || strings.Join(r.Inputs, " ") != "teams/shared/** teams/a/y" || r.Source.String() != "teams/a/trueup.yaml:2:11" {
		t.Errorf("%+v", r)
	}
}

// A target that was stored as JSON is the same target.
func TestDecodeAfterTheStore(t *testing.T) {
	all, diags := resolved(t, loaded(t), `version: 1
targets: [{ name: t, path: dns/x, environment: dns-public, spec: { ttl: 300, ptr: true, cut: { after: [1] } }, scope: { names: ["*.x", "long`+strings.Repeat("x", 2000)+`"] } }]
`)
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	body, err := json.Marshal(all[0])
	if err != nil {
		t.Fatal(err)
	}
	var back config.Resolved
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if err := back.Decode(fakes(t)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, all[0]) {
		t.Errorf("got %+v, want %+v", back, all[0])
	}
	back.Driver = "gone"
	if err := back.Decode(fakes(t)); err == nil {
		t.Error("a driver that is not there was no error")
	}
}

// What is wrong with a rule is reported where it stands.
func TestCheckRules(t *testing.T) {
	s := parse(t, "version: 1\npolicies:\n  p:\n    approve:\n      - by: auto\n      - when: plan.delets == 0\n        by: auto\n  q: { approve: [{ by: auto }] }\n")
	diags := s.CheckRules(func(rules []config.Approval) error { _, err := policy.Compile(rules); return err })
	if len(diags) != 1 || !strings.HasPrefix(diags.Error(), "server.yaml:6:15: policies.p.approve[1].when: 1:5: ") {
		t.Errorf("found %v", diags)
	}
	diags = s.CheckRules(func([]config.Approval) error { return errors.New("no") })
	if len(diags) != 2 || diags[1].Source.Line != 8 {
		t.Errorf("found %v", diags)
	}
}

func TestMergesAndAliases(t *testing.T) {
	all, diags := resolved(t, loaded(t), `version: 1
targets:
  - &base
    name: a
    path: dns/a
    environment: dns-public
    spec: &spec { ttl: 5 }
  - <<: *base
    name: b
    path: dns/b
    spec: { <<: *spec, ptr: true }
`)
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	if b := all[1]; b.Name != "b" || b.Environment != "dns-public" || string(b.RawSpec) != `{"ptr":true,"ttl":5}` {
		t.Errorf("%+v %s", b, b.RawSpec)
	}
}

// Healthy targets are given beside those with mistakes.
func TestHealthyTargetsAreGiven(t *testing.T) {
	m, diags := config.ParseManifest("trueup.yaml", []byte("version: 1\ntargets: [{ name: a, path: dns/a, environment: dns-public }, { name: b, path: b, environment: dns-public }]\n"))
	if m == nil {
		t.Fatal(diags)
	}
	all, diags := config.Resolve(config.Context{Repository: "infra", Server: loaded(t), Drivers: fakes(t)}, "trueup.yaml", m)
	if diags.Err() == nil || len(all) != 1 || all[0].Name != "a" {
		t.Errorf("%v, %v", all, diags)
	}
}
