package inventory_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/client/inventory"
)

const iniText = `# the park
alone ansible_host=192.0.2.9
mail.example.com:2222 # a comment
[web]
web[01:03].example.com ansible_user=deploy weight=5 # trailing
[db]
db-[a:c] role="primary node" ok=True

[prod:children]
web
db
[prod:vars]
dc = ams  # with a comment
weight=1
tag="a # b"
[all:vars]
dc=none
region=eu
`

const yamlText = `all:
  hosts:
    alone: { ansible_host: 192.0.2.9 }
    mail.example.com: { ansible_port: 2222 }
  vars: { dc: none, region: eu }
  children:
    prod:
      vars: { dc: ams, weight: 1, tag: "a # b" }
      children:
        web:
          hosts:
            web[01:03].example.com: { ansible_user: deploy, weight: 5 }
        db:
          hosts:
            db-[a:c]: { role: primary node, ok: true }
`

const ownText = `vars: { dc: none, region: eu }
hosts:
  alone: { address: 192.0.2.9 }
  mail.example.com: { port: 2222 }
  web[01:03].example.com: { user: deploy, groups: [web], vars: { weight: 5 } }
  db-[a:c]: { groups: [db], vars: { role: primary node, ok: true } }
groups:
  prod: { children: [web, db], vars: { dc: ams, weight: 1, tag: "a # b" } }
`

func parse(t *testing.T, file, text string) *inventory.Inventory {
	t.Helper()
	inv, diags := inventory.Parse(file, []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return inv
}

// TestThreeForms: the same park in three forms gives the same inventory.
func TestThreeForms(t *testing.T) {
	for file, text := range map[string]string{"hosts.ini": iniText, "hosts.yml": yamlText, "own.yaml": ownText} {
		inv := parse(t, file, text)
		if len(inv.Hosts) != 8 {
			t.Fatalf("%s: %d hosts", file, len(inv.Hosts))
		}
		web := inv.Host("web02.example.com")
		if web == nil || web.User != "deploy" || web.Address != "web02.example.com" || !slices.Equal(web.Groups, []string{"prod", "web"}) {
			t.Fatalf("%s: %+v", file, web)
		}
		for k, want := range map[string]any{"weight": int64(5), "dc": "ams", "region": "eu", "tag": "a # b"} {
			if web.Vars[k] != want {
				t.Errorf("%s: %s is %v (%T), not %v", file, k, web.Vars[k], web.Vars[k], want)
			}
		}
		db := inv.Host("db-c")
		if db == nil || db.Vars["role"] != "primary node" || db.Vars["ok"] != true || db.Vars["weight"] != int64(1) {
			t.Errorf("%s: %+v", file, db)
		}
		if h := inv.Host("alone"); h.Address != "192.0.2.9" || len(h.Groups) != 0 || h.Vars["dc"] != "none" {
			t.Errorf("%s: %+v", file, h)
		}
		if h := inv.Host("mail.example.com"); h.Port != 2222 {
			t.Errorf("%s: %+v", file, h)
		}
		if g := inv.Group("prod"); g.Depth != 1 || len(g.Hosts) != 6 || inv.Group("web").Depth != 2 || len(inv.Group("all").Hosts) != 8 {
			t.Errorf("%s: %+v", file, g)
		}
		if !web.Matches([]string{"db", "web"}, nil) || web.Matches([]string{"db"}, nil) || web.Matches([]string{"web"}, []string{"web01*"}) ||
			!web.Matches([]string{"all"}, []string{"web*"}) || !web.Matches(nil, nil) {
			t.Errorf("%s: groups and globs", file)
		}
	}
}

func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"section":       {"h", "a\n[web\nb\n", "h:2: "},
		"kind":          {"h", "[web:hosts2]\n", "h:1: "},
		"range":         {"h", "\nweb[1:2\n", "h:2: "},
		"backwards":     {"h", "web[5:2]\n", "runs backwards"},
		"huge":          {"h", "web[0:9][0:99][0:99]\n", "more than"},
		"digits":        {"h", "web[01:100]\n", "same number of digits"},
		"step":          {"h", "web[1:9:0]\n", "step"},
		"variable":      {"h", "web port\n", "h:1: "},
		"port":          {"h", "web ansible_port=x\n", "no port"},
		"colon port":    {"h", "web:99999\n", "valid port"},
		"quote":         {"h", "web a='b\n", "not closed"},
		"loop":          {"h", "[a:children]\nb\n[b:children]\na\n", "contain each other"},
		"name":          {"h", "we$b\n", "no name of a host"},
		"option":        {"h", "-oProxyCommand=x\n", "no name of a host"},
		"local":         {"h", "web ansible_connection=local\n", "only ssh"},
		"yaml":          {"h.yml", "all:\n  hosts: [\n", "h.yml:"},
		"yaml field":    {"h.yml", "all:\n  hots: {}\n", "h.yml:2:3"},
		"yaml group":    {"h.yml", "all: 5\n", "h.yml:1"},
		"own field":     {"h.yml", "hosts:\n  web: { adress: x }\n", "h.yml:2:"},
		"own port":      {"h.yml", "hosts:\n  web: { port: http }\n", "h.yml:2:"},
		"twice":         {"h.yml", "hosts:\n  web: {}\n  web: {}\n", "h.yml:3:"},
		"children word": {"h", "[a:children]\nb c\n", "h:2: "},
	} {
		inv, diags := inventory.Parse(c.file, []byte(c.text))
		if err := diags.Err(); err == nil || !strings.Contains(err.Error(), c.want) || inv != nil {
			t.Errorf("%s: %v does not say %q", name, err, c.want)
		}
	}
}

func TestVarsBeside(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hosts": "[web]\na x=inventory y=inventory\nb\n", "group_vars/all.yml": "x: all\nz: all\n", "group_vars/web/one.yml": "z: web\n",
		"host_vars/a.yaml": "x: host\n", "host_vars/unknown.yml": "broken: [",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inv, diags := inventory.Load(filepath.Join(dir, "hosts"), &inventory.Spec{Hosts: map[string]inventory.HostSpec{"c": {Groups: []string{"web"}}}})
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string][3]any{"a": {"host", "inventory", "web"}, "b": {"all", nil, "web"}, "c": {"all", nil, "web"}} {
		v := inv.Host(host).Vars
		if got := [3]any{v["x"], v["y"], v["z"]}; got != want {
			t.Errorf("%s: %v, not %v", host, got, want)
		}
	}
	secret := filepath.Join(dir, "host_vars", "b.yml")
	if err := os.WriteFile(secret, []byte("$ANSIBLE_VAULT;1.1\n00\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, diags := inventory.Load(filepath.Join(dir, "hosts"), nil); diags.Err() == nil || !strings.Contains(diags.Err().Error(), "b.yml") {
		t.Errorf("%v", diags)
	}
	if _, diags := inventory.Load(filepath.Join(dir, "none"), nil); diags.Err() == nil {
		t.Error("a missing inventory is no error")
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, diags := inventory.Load(program, nil); diags.Err() == nil || !strings.Contains(diags.Err().Error(), "program") {
		t.Errorf("%v", diags)
	}
}

// FuzzParse: whatever is read, every host has a name, an address and groups
// that exist, and every finding names its file.
func FuzzParse(f *testing.F) {
	for _, s := range []string{iniText, yamlText, ownText, "[a:children]\na\n", "x[1:2]y[a:c]:22 a=\"b\\\"\n", "all:\n  children: {a: {children: {b: }}}"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, yaml bool) {
		file := "hosts"
		if yaml {
			file = "hosts.yaml"
		}
		inv, diags := inventory.Parse(file, []byte(text))
		for _, d := range diags.Errors() {
			if d.File != file || d.Message == "" {
				t.Errorf("a finding without its place: %+v", d)
			}
		}
		if (inv == nil) != (diags.Err() != nil) {
			t.Fatalf("inventory %v with findings %v", inv, diags)
		}
		if inv == nil {
			return
		}
		for _, h := range inv.Hosts {
			if h.Name == "" || h.Address == "" || inv.Host(h.Name) != h || strings.HasPrefix(h.Name, "-") {
				t.Errorf("%+v", h)
			}
			for _, g := range h.Groups {
				if inv.Group(g) == nil || !slices.Contains(inv.Group(g).Hosts, h.Name) {
					t.Errorf("%s is in %s, which does not know it", h.Name, g)
				}
			}
		}
	})
}
