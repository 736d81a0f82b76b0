package config_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

const imagesServer = `version: 1
repositories: {infra: {url: /srv/infra}, team: {url: /srv/team}}
environments:
  test: {driver: ssh, connect: {host: a}, allow: [{repository: infra}, {repository: team}]}
registries:
  acme: {url: "oci://registry.example.com/acme", username: robot, password: "env:TOKEN", poll: 5m, allow: infra}
  shared: {url: "oci://registry.example.com/shared", allow: [infra, team]}
  hub: {url: "oci://docker.io/library", hosts: [auth.docker.io], allow: infra}
  charts: {url: "https://charts.example.com/stable", allow: infra}
`

func imagesOf(t *testing.T, repository, images string) ([]config.Resolved, string) {
	t.Helper()
	s, diags := config.ParseServer("server.yaml", []byte(imagesServer), ".", fakes(t))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	m, diags := config.ParseManifest("trueup.yaml", []byte("version: 1\ntargets:\n  - {name: t, environment: test, path: a, images: ["+images+"]}\n"))
	if err := diags.Err(); err != nil {
		return nil, err.Error()
	}
	all, diags := config.Resolve(config.Context{Repository: repository, Server: s, Drivers: fakes(t)}, "trueup.yaml", m)
	if err := diags.Err(); err != nil {
		return all, err.Error()
	}
	return all, ""
}

func TestImages(t *testing.T) {
	all, msg := imagesOf(t, "infra", `
      {image: registry.example.com/acme/shop, follow: {semver: ">=1.2 <2"}, exclude: "*-debug", fields: [{file: values.yaml, path: $.image.tag}]},
      {image: "oci://registry.example.com/shared/base", follow: {tag: stable}, group: weekly, fields: [{file: ../base.yaml, pointer: /ref, as: image:tag@digest}]},
      {image: docker.io/nginx, follow: {regexp: 'b(\d+)', order: numeric}, fields: [{path: $.a}, {path: $.b, as: digest}]},
      {chart: {repository: "https://charts.example.com/stable/", name: shop}, follow: {semver: 1.x, prerelease: true}, fields: [{file: c.yaml, path: $.version}, {file: c.yaml, path: $.digest, as: digest}]}`)
	if msg != "" || len(all) != 1 || len(all[0].Images) != 4 {
		t.Fatal(msg)
	}
	im := all[0].Images
	if im[0].URL() != "oci://registry.example.com/acme/shop" || im[0].Name() != "registry.example.com/acme/shop" || im[0].Fields[0].Form() != "tag" || im[0].Exclude[0] != "*-debug" ||
		im[1].URL() != "oci://registry.example.com/shared/base" || im[3].Name() != "https://charts.example.com/stable shop" || !im[3].Rule().Prerelease {
		t.Errorf("%+v", im)
	}
	if _, msg := imagesOf(t, "team", `{image: registry.example.com/shared/base, follow: {semver: "*"}, fields: [{path: $.a}]}`); msg != "" {
		t.Error(msg)
	}
	s, diags := config.ParseServer("server.yaml", []byte(imagesServer), ".", fakes(t))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if r := s.RegistriesFor("team"); len(r) != 1 || r["shared"] == nil || r["shared"].Poll.Minutes() != 10 || s.Registries["acme"].Poll.Minutes() != 5 {
		t.Errorf("%+v", r)
	}
}

func TestImageMistakes(t *testing.T) {
	const rest = `follow: {semver: 1.x}, fields: [{path: $.a}]`
	for images, want := range map[string]string{
		`{image: registry.example.com/other/shop, ` + rest + `}`:          `may not follow registry.example.com/other/shop`,
		`{image: registry.example.com/acme-evil/shop, ` + rest + `}`:      `may not follow`,
		`{image: nginx, ` + rest + `}`:                                    `names no registry`,
		`{image: acme/shop, ` + rest + `}`:                                `names no registry`,
		`{image: "registry.example.com/acme/shop:1.2", ` + rest + `}`:     `without a tag`,
		`{image: registry.example.com/acme/../other/shop, ` + rest + `}`:  `empty parts or dots for parts`,
		`{image: "https://registry.example.com/acme/shop", ` + rest + `}`: `with its registry`,
		`{` + rest + `}`: `give image or chart`,
		`{image: registry.example.com/acme/shop, chart: {repository: "https://charts.example.com/stable", name: x}, ` + rest + `}`:         `give image or chart`,
		`{chart: {repository: "oci://registry.example.com/acme", name: x}, ` + rest + `}`:                                                  `followed as images`,
		`{chart: {repository: "https://charts.example.com", name: x}, ` + rest + `}`:                                                       `may not follow`,
		`{chart: {repository: "https://charts.example.com/stable", name: x}, follow: {tag: a}, fields: [{path: $.a, as: digest}]}`:         `has no tags that move`,
		`{chart: {repository: "https://charts.example.com/stable", name: x}, follow: {semver: 1.x}, fields: [{path: $.a, as: image:tag}]}`: `is not referred to as image:tag`,
		`{image: registry.example.com/acme/shop, follow: {semver: newest}, fields: [{path: $.a}]}`:                                         `is no range of versions`,
		`{image: registry.example.com/acme/shop, follow: {}, fields: [{path: $.a}]}`:                                                       `give semver, regexp or tag`,
		`{image: registry.example.com/acme/shop, follow: {regexp: 'a(\d+)'}, fields: [{path: $.a}]}`:                                       `how the tags are ordered`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, fields: [{path: $.a, as: digest}]}`:                                `no field holds the tag`,
		`{image: registry.example.com/acme/shop, follow: {tag: stable}, fields: [{path: $.a}]}`:                                            `has to stand with its digest`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, fields: [{path: $.a}, {path: $.a, as: digest}]}`:                   `stands twice`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, fields: [{path: $.a, file: ../../x}]}`:                             `leaves the repository`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, fields: [{path: a}]}`:                                              `a path begins with $`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, fields: []}`:                                                       `there are no fields`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, group: "a/b", fields: [{path: $.a}]}`:                              `can't be the name of a group`,
		`{image: registry.example.com/acme/shop, follow: {semver: 1.x}, exclude: "[", fields: [{path: $.a}]}`:                              `is no glob`,
	} {
		if _, msg := imagesOf(t, "infra", images); !strings.Contains(msg, want) || strings.Contains(msg, "\n") && !strings.Contains(msg, want) {
			t.Errorf("%s\n%q, want %q", images, msg, want)
		}
	}
	for registries, want := range map[string]string{
		`a: {url: "oci://r.example.com/x"}`:                                                                               `registries.a.allow`,
		`a: {url: "http://r.example.com/x", allow: infra}`:                                                                `registries.a.url: plain HTTP`,
		`a: {url: "oci://r.example.com/x", allow: infr}`:                                                                  `no repository "infr"`,
		`a: {url: "oci://r.example.com/x", allow: infra, username: u, password: hunter2}`:                                 `registries.a.password`,
		`a: {url: "oci://r.example.com/x", allow: infra, username: u, password: "vault:x"}`:                               `registries.a.password`,
		`{a: {url: "oci://r.example.com/x", allow: infra}, b: {url: "oci://r.example.com/x/", allow: infra}}`:             `same URL`,
		`a: {url: "oci://r.example.com/x", allow: infra, poll: 1s}`:                                                       `registries.a.poll`,
		`"a/b": {url: "oci://r.example.com/x", allow: infra}`:                                                             `can't be a name`,
		`a: {url: "oci://r.example.com/x", allow: infra, hosts: "*"}`:                                                     `registries.a.hosts[0]`,
		`a: {url: "oci://user:hunter2@r.example.com/x", allow: infra}`:                                                    `user name and password`,
		`a: {url: "https://r.example.com/x", allow: infra, insecure: true}`:                                               `registries.a.insecure`,
		`a: {url: "oci://r.example.com/x", allow: infra, insecure: true, ca: ca.pem, username: u, password: "env:TOKEN"}`: `registries.a.ca`,
	} {
		body := "version: 1\nrepositories: {infra: {url: /srv/infra}}\nregistries:\n  " + registries + "\n"
		_, diags := config.ParseServer("server.yaml", []byte(body), ".", fakes(t))
		if err := diags.Err(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\n%v, want %q", registries, err, want)
		}
	}
}
