package ssh

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says which hosts an environment is made of and how to reach them.
//
//house:exception one flat part of the configuration, read as it is written
type Connect struct {
	// Inventory is a file with the hosts: in trueup's own form (hosts, groups,
	// vars), or an Ansible inventory in INI or YAML. Relative to the
	// configuration's directory.
	Inventory string `yaml:"inventory,omitempty" json:"inventory,omitempty"`
	// Hosts are hosts by name, beside those of the inventory. A name may be a
	// range such as web[01:50].
	Hosts map[string]inventory.HostSpec `yaml:"hosts,omitempty" json:"hosts,omitempty"`
	// Groups are groups of hosts by name.
	Groups map[string]inventory.GroupSpec `yaml:"groups,omitempty" json:"groups,omitempty"`
	// Vars are variables of all hosts, for templates.
	Vars map[string]any `yaml:"vars,omitempty" json:"vars,omitempty"`
	// User logs in where a host names no other; root by default.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Port is 22 by default.
	Port int `yaml:"port,omitempty" json:"port,omitempty" jsonschema:"minimum=1,maximum=65535"`
	// Key is a reference to the private key that logs in.
	Key secret.Ref `yaml:"key,omitempty" json:"key,omitempty"`
	// KeyPassphrase is a reference to the key's passphrase.
	KeyPassphrase secret.Ref `yaml:"keyPassphrase,omitempty" json:"keyPassphrase,omitempty"`
	// Certificate is a reference to the key's OpenSSH user certificate.
	Certificate secret.Ref `yaml:"certificate,omitempty" json:"certificate,omitempty"`
	// Agent is the socket of an ssh-agent to log in with.
	Agent string `yaml:"agent,omitempty" json:"agent,omitempty"`
	// Password is a reference to a password to log in with.
	Password secret.Ref `yaml:"password,omitempty" json:"password,omitempty"`
	// KnownHosts are the files with the keys that hosts may show, in OpenSSH's
	// form, also hashed and with @cert-authority. There is no way around them,
	// except where all hosts have agents and nobody connects to any.
	KnownHosts []string `yaml:"knownHosts,omitempty" json:"knownHosts,omitempty" strict:"one"`
	// Jump lists hosts on the way to all others, nearest first, as
	// user@host:port.
	Jump []string `yaml:"jump,omitempty" json:"jump,omitempty" strict:"one"`
	// Sudo becomes root on the hosts: true where sudo does not ask, or
	// {user, password}.
	Sudo *Sudo `yaml:"sudo,omitempty" json:"sudo,omitempty"`
	// Timeout bounds connecting to a host; 15s by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// Concurrency is how many hosts are worked on at a time; 50 by default.
	Concurrency int `yaml:"concurrency,omitempty" json:"concurrency,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Compress is auto (the default: what is larger is compressed where the host
	// has gzip and is more than 3 ms away) or never.
	Compress string `yaml:"compress,omitempty" json:"compress,omitempty" jsonschema:"enum=auto,enum=never"`
	// Commands are programs that repositories may have run on the hosts, by
	// name: under commands and handlers of host.yaml, and around rollouts.
	Commands map[string]HostCommand `yaml:"commands,omitempty" json:"commands,omitempty"`
	// Reboot says whether repositories may restart hosts, and how.
	Reboot *Reboot `yaml:"reboot,omitempty" json:"reboot,omitempty"`
	// Compose is the program for Compose projects, for example
	// [/usr/bin/docker, compose] or [/usr/bin/podman-compose]. Without it
	// repositories can't have any.
	Compose []string `yaml:"compose,omitempty" json:"compose,omitempty" strict:"one"`
	// Artefacts lists prefixes of what artefacts may be fetched from, such as
	// https://releases.example.com/ or oci://ghcr.io/acme/. Without any,
	// repositories can't have artefacts.
	Artefacts []string `yaml:"artefacts,omitempty" json:"artefacts,omitempty" strict:"one"`
	// Retired lists hosts that are gone for good: what targets own there is
	// given up.
	Retired []string `yaml:"retired,omitempty" json:"retired,omitempty" strict:"one"`
}

// Sudo is how to become another user on a host.
type Sudo struct {
	// User is who to become; root by default.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Password is a reference to the password that sudo asks for.
	Password secret.Ref `yaml:"password,omitempty" json:"password,omitempty"`
	off      bool
}

// UnmarshalYAML takes true, false or a mapping.
func (s *Sudo) UnmarshalYAML(decode func(any) error) error {
	var on bool
	if decode(&on) == nil {
		*s = Sudo{off: !on}
		return nil
	}
	type parts Sudo
	return decode((*parts)(s))
}

// JSONSchema says that either form is allowed.
func (Sudo) JSONSchema() *jsonschema.Schema {
	props := jsonschema.NewProperties()
	props.Set("user", &jsonschema.Schema{Type: "string", Description: "root by default"})
	props.Set("password", &jsonschema.Schema{Type: "string", Description: "reference to the password that sudo asks for"})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "boolean"},
		{Type: "object", Properties: props, AdditionalProperties: jsonschema.FalseSchema}}}
}

const (
	defaultConcurrency = 50
	compressNever      = "never"
)

// Validate checks the values. The inventory file is read when a session opens.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	at := plan.Source{}
	if c.Inventory == "" && len(c.Hosts) == 0 {
		d.Errorf(at, "inventory", "name an inventory file, or hosts", "no host is named")
	}
	if c.onlyAgents() {
		return c.validateRest(d)
	}
	if len(c.KnownHosts) == 0 {
		d.Errorf(at, "knownHosts", "name a known_hosts file; ssh-keyscan makes one, compare its keys with the hosts' consoles", "is missing: host keys are always checked")
	}
	if c.Key == "" && c.Agent == "" && c.Password == "" {
		d.Errorf(at, "key", "give a reference such as file:/run/secrets/ssh_key, an agent or a password", "there is nothing to log in with")
	}
	if c.Key == "" && (c.KeyPassphrase != "" || c.Certificate != "") {
		d.Errorf(at, "key", "", "keyPassphrase and certificate belong to a key, which is missing")
	}
	return c.validateRest(d)
}

// onlyAgents tells that nobody has to be connected to: all hosts call in.
func (c *Connect) onlyAgents() bool {
	if c.KnownHosts != nil || c.Key != "" || c.Agent != "" || c.Password != "" || c.Inventory == "" && len(c.Hosts) == 0 {
		return false
	}
	for _, h := range c.Hosts {
		if !h.Agent {
			return false
		}
	}
	return true
}

func (c *Connect) validateRest(d plan.Diagnostics) plan.Diagnostics {
	at := plan.Source{}
	for i, j := range c.Jump {
		if _, _, err := parseJump(j, "x", 22); err != nil {
			d.Errorf(at, fmt.Sprintf("jump[%d]", i), "write user@host:port", "%v", err)
		}
	}
	if c.Concurrency < 0 || c.Concurrency > 1000 {
		d.Errorf(at, "concurrency", "", "%d is not between 1 and 1000", c.Concurrency)
	}
	switch c.Compress {
	case "", "auto", compressNever:
	default:
		d.Errorf(at, "compress", "write auto or never", "%q is unknown", c.Compress)
	}
	for _, name := range sortedKeys(c.Commands) {
		cmd := c.Commands[name]
		cmd.validate(&d, "commands."+name)
	}
	return d
}

// inventory reads the hosts.
func (c *Connect) inventory(dir string) (*inventory.Inventory, error) {
	path := c.Inventory
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	inv, diags := inventory.Load(path, &inventory.Spec{Hosts: c.Hosts, Groups: c.Groups, Vars: c.Vars})
	return inv, diags.Err()
}

func (c *Connect) concurrency() int { return cmp.Or(c.Concurrency, defaultConcurrency) }

// parseJump reads user@host:port.
func parseJump(s, user string, port int) (who, addr string, err error) {
	rest := s
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		user, rest = s[:at], s[at+1:]
	}
	if user == "" || rest == "" || strings.ContainsAny(s, " \t\n") {
		return "", "", fmt.Errorf("%q is no jump host", s)
	}
	host, p, err := net.SplitHostPort(rest)
	if err != nil {
		return user, net.JoinHostPort(strings.Trim(rest, "[]"), strconv.Itoa(port)), nil
	}
	if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 || host == "" {
		return "", "", fmt.Errorf("%q has no valid port", s)
	}
	return user, rest, nil
}
