package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// sshArgs are the options that every peer's ssh gets.
func (b *bench) sshArgs() string {
	return fmt.Sprintf("-F none -i %s -o BatchMode=yes -o UserKnownHostsFile=%s -o StrictHostKeyChecking=yes", b.lab.Key, b.lab.KnownHosts)
}

// rsync brings a directory to hosts as people do it: one rsync a host, all at
// the same time.
func (b *bench) rsync(hosts []*sshhosts.Host, from, to string, flags ...string) (cost, error) {
	var list strings.Builder
	for _, h := range hosts {
		list.WriteString(h.Addr + "\n")
	}
	file := filepath.Join(b.dir, "rsync-hosts")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		return cost{}, err
	}
	args := []string{"xargs", "-a", file, "-P", "50", "-I", "{}", "rsync", "-a", "-q", "--rsync-path=mkdir -p " + filepath.Dir(to) + " && rsync"}
	args = append(append(args, flags...), from, "root@{}:"+to)
	return command([]string{"RSYNC_RSH=ssh " + b.sshArgs()}, "", args...)
}

// playbook copies a directory with Ansible's copy module.
const playbook = `- hosts: all
  gather_facts: false
  tasks:
    - copy: {src: "{{ from }}", dest: /srv/ansible/}
`

// copyWithAnsible brings a directory to hosts with pipelining and 50 forks.
func (b *bench) copyWithAnsible(hosts []*sshhosts.Host, from string) (cost, error) {
	var inventory strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&inventory, "%s ansible_host=%s ansible_user=root ansible_python_interpreter=/usr/bin/python3\n", h.Name, h.Addr)
	}
	for name, text := range map[string]string{
		"hosts.ini": inventory.String(), "copy.yaml": playbook,
		"ansible.cfg": "[defaults]\nforks = 50\ninventory = hosts.ini\n[ssh_connection]\npipelining = True\nssh_args = " +
			b.sshArgs() + " -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir = " + b.dir + "\n",
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return cost{}, err
		}
	}
	return command([]string{"ANSIBLE_CONFIG=" + filepath.Join(b.dir, "ansible.cfg"), "ANSIBLE_HOME=" + b.dir},
		b.dir, "ansible-playbook", "copy.yaml", "-e", "from="+from+"/")
}
