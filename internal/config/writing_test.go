package config_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

const writingServer = `version: 1
repositories: {infra: {url: /srv/infra}}
policies:
  open: {writeBack: commit}
  closed: {writeBack: "off"}
environments:
  test: {driver: ssh, policy: open, connect: {host: a}, allow: [{repository: infra}]}
  prod: {driver: ssh, connect: {host: b}, allow: [{repository: infra}]}
  vault: {driver: ssh, policy: closed, connect: {host: c}, allow: [{repository: infra}]}
`

func writingOf(t *testing.T, manifest string) ([]config.Resolved, string) {
	t.Helper()
	s, diags := config.ParseServer("server.yaml", []byte(writingServer), ".", fakes(t))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	m, diags := config.ParseManifest("trueup.yaml", []byte(manifest))
	if err := diags.Err(); err != nil {
		return nil, err.Error()
	}
	all, diags := config.Resolve(config.Context{Repository: "infra", Server: s, Drivers: fakes(t)}, "trueup.yaml", m)
	diags = append(diags, config.Check(all)...)
	if err := diags.Err(); err != nil {
		return all, err.Error()
	}
	return all, ""
}

func TestWritings(t *testing.T) {
	all, msg := writingOf(t, `version: 1
targets:
  - {name: shop-test, environment: test, path: test/shop, writeBack: [{address: web, field: /spec/replicas, file: values.yaml, path: $.replicas, via: commit}]}
  - name: shop
    environment: prod
    path: prod/shop
    promote:
      from: shop-test
      after: 24h
      fields:
        - {file: values.yaml, path: $.image.tag}
        - {name: chart, file: Chart.yaml, pointer: /version, source: {file: Chart.lock}}
    writeBack: [{address: web, field: /spec/replicas, file: values.yaml, path: $.replicas}]
`)
	if msg != "" || len(all) != 2 {
		t.Fatal(msg)
	}
	p := all[1].Promote
	if p == nil || p.From != "infra/shop-test" || p.After.Hours() != 24 || len(p.Fields) != 2 || p.Fields[0].Label() != "values.yaml $.image.tag" || p.Fields[1].Origin().File != "Chart.lock" || p.Fields[1].Origin().Pointer != "/version" {
		t.Errorf("%+v", p)
	}
	if all[0].WriteBack[0].Via != "commit" || all[1].WriteBack[0].Via != "pullRequest" {
		t.Errorf("%+v %+v", all[0].WriteBack, all[1].WriteBack)
	}
}

func TestWritingMistakes(t *testing.T) {
	for name, c := range map[string]struct{ fields, want string }{
		"commit where it is not allowed": {`environment: prod, path: a, writeBack: [{address: x, field: /a, path: $.a, via: commit}]`, "allows no commits without a pull request"},
		"where it is off":                {`environment: vault, path: a, writeBack: [{address: x, field: /a, path: $.a}]`, "allows no writing back"},
		"no place":                       {`environment: prod, path: a, writeBack: [{address: x, field: /a}]`, "give one of path, pointer and regexp"},
		"a field that is no pointer":     {`environment: prod, path: a, writeBack: [{address: x, field: a, path: $.a}]`, "is no JSON pointer"},
		"twice":                          {`environment: prod, path: a, writeBack: [{address: x, field: /a, path: $.a}, {address: x, field: /a, path: $.b}]`, "declared twice"},
		"a file outside":                 {`environment: prod, path: a, writeBack: [{address: x, field: /a, path: $.a, file: ../../x}]`, "leaves the repository"},
		"a file inside .git":             {`environment: prod, path: a, writeBack: [{address: x, field: /a, path: $.a, file: ../.git/config}]`, "is inside .git"},
		"from nothing":                   {`environment: prod, path: a, promote: {from: nobody, fields: [{path: $.a}]}`, "there is no target"},
		"from itself":                    {`environment: prod, path: a, promote: {from: t, fields: [{path: $.a}]}`, "promotes from itself"},
		"from another repository":        {`environment: prod, path: a, promote: {from: other/t, fields: [{path: $.a}]}`, "another repository"},
		"no fields":                      {`environment: prod, path: a, promote: {from: t, fields: []}`, "there are no fields"},
		"a regexp without a group":       {`environment: prod, path: a, promote: {from: t, fields: [{regexp: a}]}`, "has 0 groups"},
	} {
		if _, msg := writingOf(t, "version: 1\ntargets:\n  - {name: t, "+c.fields+"}\n"); !strings.Contains(msg, c.want) {
			t.Errorf("%s: %q, want %q", name, msg, c.want)
		}
	}
}
