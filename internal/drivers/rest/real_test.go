//go:build real

package rest_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/rest"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/dnsserver"
	"trueup.dev/trueup/internal/servertest/gitea"
)

// labels is the labels of a repository on a real Gitea.
type labels struct {
	forge *gitea.Server
	repo  string
	down  bool
}

var repos atomic.Int32

func (l *labels) Environment() driver.Environment {
	base := l.forge.URL + "/api/v1"
	if l.down {
		base = "http://127.0.0.1:1"
	}
	path := "/repos/" + l.repo + "/labels"
	return driver.Environment{Name: "labels", HashKey: []byte("0123456789abcdef"), Connect: &rest.Connect{URL: base, Retries: -1, Realm: l.repo,
		Auth: rest.Auth{Header: &rest.Header{Name: "Authorization", Prefix: "token ", Value: "mem:token"}},
		Types: map[string]*rest.Type{"label": {Key: []string{"/name"}, ID: "/id", Update: &rest.Request{Method: "PATCH", Path: path + "/{id}"},
			List: rest.List{Path: path, Query: map[string]string{"limit": "20"}, Paging: rest.ByLink, Total: "X-Total-Count"}}}},
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(l.forge.Admin.Token), nil }}
}

type label struct {
	ID                int
	Name, Description string
}

func (l *labels) all(t testing.TB) []label {
	t.Helper()
	var out []label
	for page := 1; ; page++ {
		var list []label
		if err := l.forge.Admin.API("GET", fmt.Sprintf("/repos/%s/labels?limit=50&page=%d", l.repo, page), nil, &list); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return out
		}
		out = append(out, list...)
	}
}

func (l *labels) Set(t testing.TB, name, value string) {
	t.Helper()
	method, path := "POST", "/repos/"+l.repo+"/labels"
	for _, x := range l.all(t) {
		if x.Name == name {
			method, path = "PATCH", fmt.Sprintf("%s/%d", path, x.ID)
		}
	}
	if err := l.forge.Admin.API(method, path, map[string]string{"name": name, "description": value, "color": "00aabb"}, nil); err != nil {
		t.Fatal(err)
	}
}

func (l *labels) Unset(t testing.TB, name string) {
	t.Helper()
	for _, x := range l.all(t) {
		if x.Name == name {
			if err := l.forge.Admin.API("DELETE", fmt.Sprintf("/repos/%s/labels/%d", l.repo, x.ID), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (l *labels) List(t testing.TB) drivertest.Objects {
	t.Helper()
	out := drivertest.Objects{}
	for _, x := range l.all(t) {
		out[x.Name] = x.Description
	}
	return out
}

func (l *labels) MakeUnreadable(testing.TB) func() {
	l.down = true
	return func() { l.down = false }
}

func TestRealGitea(t *testing.T) {
	forge := gitea.Start(t)
	out := optOut()
	out["TruncatedReadPlansNoDelete"] = "a real Gitea can't be made to cut its answers; the fake does"
	out["PartialFailureKeepsOwnership"] = "a real Gitea refuses no single label; the fake does"
	drivertest.Run(t, drivertest.Harness{Driver: rest.New(), Key: key("label"), OptOut: out, Canaries: []string{forge.Admin.Token},
		Bad: []drivertest.BadInput{{Name: "no object", Input: file("- one\n"), File: "notes.yaml", Line: 1}},
		New: func(testing.TB) drivertest.World {
			return &labels{forge: forge, repo: forge.Repo(fmt.Sprintf("%s/r%d", forge.Admin.Name, repos.Add(1)), nil)}
		},
		Input: func(_ testing.TB, want drivertest.Objects) driver.Input {
			text := ""
			for _, name := range slices.Sorted(maps.Keys(want)) {
				text += fmt.Sprintf("- {name: %s, description: %q, color: 00aabb}\n", name, want[name])
			}
			in := file(text)
			in.Spec = &rest.Spec{Type: "label"}
			return in
		}})
}

// records is the TXT records of a zone, by PowerDNS' own API: one PATCH of the
// zone creates, changes or removes one set.
type records struct {
	srv  *dnsserver.Server
	zone string
	down bool
}

func (w *records) Environment() driver.Environment {
	base := w.srv.URL + "/api/v1/servers/localhost"
	if w.down {
		base = "http://127.0.0.1:1"
	}
	path := "/zones/" + w.zone
	put := &rest.Request{Method: "PATCH", Path: path, Body: map[string]any{"rrsets": []any{map[string]any{"{object}": nil, "changetype": "REPLACE"}}}}
	gone := &rest.Request{Method: "PATCH", Path: path, Body: map[string]any{"rrsets": []any{
		map[string]any{"name": "{/name}", "type": "{/type}", "changetype": "DELETE"}}}}
	return driver.Environment{Name: "rrsets", HashKey: []byte("0123456789abcdef"), Connect: &rest.Connect{URL: base, Retries: -1, Realm: w.zone,
		Auth: rest.Auth{Header: &rest.Header{Name: "X-API-Key", Value: "mem:key"}},
		Types: map[string]*rest.Type{"rrset": {Key: []string{"/name", "/type"}, List: rest.List{Path: path, Items: "/rrsets"},
			Create: put, Update: put, Delete: gone}}},
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(w.srv.APIKey), nil }}
}

func (w *records) patch(t testing.TB, name, change string, more map[string]any) {
	t.Helper()
	set := map[string]any{"name": name + "." + w.zone, "type": "TXT", "changetype": change}
	maps.Copy(set, more)
	if err := w.srv.API("PATCH", "/servers/localhost/zones/"+url.PathEscape(w.zone), map[string]any{"rrsets": []any{set}}, nil); err != nil {
		t.Fatal(err)
	}
}

func (w *records) Set(t testing.TB, name, value string) {
	t.Helper()
	w.patch(t, name, "REPLACE", map[string]any{"ttl": 60, "records": []any{map[string]any{"content": `"` + value + `"`, "disabled": false}}})
}

func (w *records) Unset(t testing.TB, name string) { t.Helper(); w.patch(t, name, "DELETE", nil) }

func (w *records) List(t testing.TB) drivertest.Objects {
	t.Helper()
	var zone struct {
		RRsets []struct {
			Name, Type string
			Records    []struct{ Content string }
		}
	}
	if err := w.srv.API("GET", "/servers/localhost/zones/"+url.PathEscape(w.zone), nil, &zone); err != nil {
		t.Fatal(err)
	}
	out := drivertest.Objects{}
	for _, s := range zone.RRsets {
		if s.Type == "TXT" {
			out[strings.TrimSuffix(s.Name, "."+w.zone)] = strings.Trim(s.Records[0].Content, `"`)
		}
	}
	return out
}

func (w *records) MakeUnreadable(testing.TB) func() {
	w.down = true
	return func() { w.down = false }
}

func TestRealPowerDNS(t *testing.T) {
	srv := dnsserver.PowerDNS(t)
	out := optOut()
	out["TruncatedReadPlansNoDelete"] = "a real server can't be made to cut its answers; the fake does"
	out["PartialFailureKeepsOwnership"] = "a real server refuses no single set; the fake does"
	zone := ""
	drivertest.Run(t, drivertest.Harness{Driver: rest.New(), OptOut: out, Canaries: []string{srv.APIKey},
		Key: func(name string) plan.Key {
			return plan.Key{Address: plan.Address("rrset/" + name + "." + zone + "/TXT")}
		},
		Bad: []drivertest.BadInput{{Name: "no object", Input: file("- one\n"), File: "notes.yaml", Line: 1}},
		New: func(t testing.TB) drivertest.World {
			zone = fmt.Sprintf("z%d.test.", repos.Add(1))
			if err := srv.API("POST", "/servers/localhost/zones", map[string]any{"name": zone, "kind": "Native", "nameservers": []string{"ns." + zone}}, nil); err != nil {
				t.Fatal(err)
			}
			return &records{srv: srv, zone: zone}
		},
		Input: func(_ testing.TB, want drivertest.Objects) driver.Input {
			text := ""
			for _, name := range slices.Sorted(maps.Keys(want)) {
				text += fmt.Sprintf("- {name: %s.%s, type: TXT, ttl: 60, records: [{content: '\"%s\"', disabled: false}]}\n", name, zone, want[name])
			}
			in := file(text)
			in.Spec = &rest.Spec{Type: "rrset"}
			return in
		}})
}
