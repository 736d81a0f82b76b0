//go:build real

package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

const playbook = `- name: site
  hosts: all
  gather_facts: false
  tasks:
    - name: the directory
      ansible.builtin.file: {path: "{{ dir }}/etc", state: directory, mode: "0755"}
    - name: the message
      ansible.builtin.copy: {dest: "{{ dir }}/etc/motd", content: "{{ text }}\n", mode: "0644"}
    - name: the password
      ansible.builtin.copy: {dest: "{{ dir }}/etc/secret", content: "{{ lookup('env', 'TOKEN') }}", mode: "0600"}
      no_log: true
`

// TestRealAnsible runs Debian's ansible-playbook on a directory of this
// machine.
func TestRealAnsible(t *testing.T) {
	dir := t.TempDir()
	c := &exec.Connect{Preset: "ansible", Inventory: "{path}/hosts.ini", Secrets: map[string]secret.Ref{"TOKEN": "mem:x"}}
	l := &life{t: t, s: open(t, c), in: input(nil)}
	tree := fstest.MapFS{"site/site.yml": {Data: []byte(playbook)}, "site/hosts.ini": {Data: []byte("here ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n")}}
	l.in.Tree, l.in.Path, l.in.Spec = tree, "site", &exec.Spec{Entry: "site.yml", Values: map[string]any{"dir": dir, "text": "hello"}}
	p := l.plan()
	if len(p.Changes) != 3 {
		t.Fatalf("%+v", p.Changes)
	}
	for _, ch := range p.Changes {
		if !ch.Simulated || ch.Source.File != "site/site.yml" || ch.Source.Line == 0 {
			t.Errorf("%+v", ch)
		}
		if strings.HasSuffix(string(ch.Address), "the password") && (len(ch.After) > 0 || ch.Note == "") {
			t.Errorf("no_log shows: %s", ch.After)
		}
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Fatal("planning wrote something")
	}
	l.apply(p)
	if b, _ := os.ReadFile(filepath.Join(dir, "etc/motd")); string(b) != "hello\n" {
		t.Fatalf("motd is %q", b)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "etc/secret")); string(b) != canary {
		t.Fatalf("the secret is %q", b)
	}
	if p = l.plan(); !p.Empty() {
		t.Fatalf("after apply: %+v", p.Changes)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/motd"), []byte("by hand\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p = l.plan()
	if len(p.Changes) != 1 || p.Changes[0].Address != "here/site/the message" || !strings.Contains(string(p.Changes[0].Before), "by hand") || !strings.Contains(string(p.Changes[0].After), "hello") {
		t.Fatalf("drift: %+v", p.Changes)
	}
	tree["site/site.yml"] = &fstest.MapFile{Data: []byte(strings.Replace(playbook, "/etc/motd", "/no/such/dir/motd", 1))}
	l.in.Inventory = l.own
	p = l.plan() // check mode does not see it
	if err := l.s.Apply(t.Context(), l.in, p, drivertest.NewJournal(l.own, p)); err == nil {
		t.Fatal("a failed playbook is a success")
	}
	tree["site/hosts.ini"] = &fstest.MapFile{Data: []byte("# nobody\n")}
	if p, err := l.s.Plan(t.Context(), l.in); err == nil {
		t.Fatalf("an inventory without hosts is planned for: %+v", p)
	}
	l.in.Mode = plan.Destroy
	if _, err := l.s.Plan(t.Context(), l.in); err == nil {
		t.Fatal("ansible has no destroy")
	}
}
