package sftp

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says which server and directory an environment is.
//
//house:exception one flat part of the configuration, read as it is written
type Connect struct {
	// Host is the server, with or without a port: files.example.com:2222.
	Host string `yaml:"host" json:"host" jsonschema:"required"`
	// User logs in.
	User string `yaml:"user" json:"user" jsonschema:"required"`
	// Root is the directory on the server, absolute as the server shows it. It
	// must exist.
	Root string `yaml:"root" json:"root" jsonschema:"required"`
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
	// KnownHosts are the files with the keys that the server may show. There is
	// no way around them.
	KnownHosts []string `yaml:"knownHosts" json:"knownHosts" strict:"one" jsonschema:"required"`
	// Timeout bounds connecting; 15s by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
}

// Validate checks the values.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	at := plan.Source{}
	if c.Host == "" || strings.ContainsAny(c.Host, " /@") {
		d.Errorf(at, "host", "write the server's name or address, and a port if it is not 22", "%q is no host", c.Host)
	}
	if c.User == "" {
		d.Errorf(at, "user", "name the account", "is missing")
	}
	if !path.IsAbs(c.Root) || path.Clean(c.Root) != c.Root {
		d.Errorf(at, "root", "write an absolute path as the server shows it, for example /upload", "%q is not one", c.Root)
	}
	if len(c.KnownHosts) == 0 {
		d.Errorf(at, "knownHosts", "name a known_hosts file; ssh-keyscan makes one, compare its key with what the server's operator says", "is missing: host keys are always checked")
	}
	if c.Key == "" && c.Agent == "" && c.Password == "" {
		d.Errorf(at, "key", "give a reference such as file:/run/secrets/sftp_key, an agent or a password", "there is nothing to log in with")
	}
	return d
}

// Check says how it is found out whether a file changed.
type Check string

// The checks: by size, time and our own record, with a whole read now and
// then; or by reading every file each time.
const (
	CheckQuick Check = "quick"
	CheckFull  Check = "full"
)

// Spec is how a target's files are laid out.
type Spec struct {
	// Files maps paths on the server to files of the repository, relative to
	// the target's path. Without it the target's path is taken as it is.
	Files map[string]string `yaml:"files,omitempty" json:"files,omitempty"`
	// Modes gives the permissions of files by glob, in octal: "0640". Without
	// one a file has 0755 when Git marks it executable, 0644 otherwise. Of
	// several globs that match, the longest counts.
	Modes map[string]string `yaml:"modes,omitempty" json:"modes,omitempty"`
	// IgnoreModes is for servers that keep no permissions: they are neither set
	// nor compared.
	IgnoreModes bool `yaml:"ignoreModes,omitempty" json:"ignoreModes,omitempty"`
	// Owners gives "uid:gid" of files by glob, in numbers: the protocol knows no
	// names. The server must let the account change owners.
	Owners map[string]string `yaml:"owners,omitempty" json:"owners,omitempty"`
	// Ignore lists globs that are not taken from the repository.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty" strict:"one"`
	// DirMode is the mode of directories made on demand; the default is 0755.
	DirMode string `yaml:"dirMode,omitempty" json:"dirMode,omitempty"`
	// Sensitive lists globs of files whose content is masked in plans.
	Sensitive []string `yaml:"sensitive,omitempty" json:"sensitive,omitempty" strict:"one"`
	// Check is quick (the default: size, time and our own record decide, with a
	// whole read every six hours) or full (every file is read each time).
	Check Check `yaml:"check,omitempty" json:"check,omitempty" jsonschema:"enum=quick,enum=full"`
}

// Validate checks the values.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	at := plan.Source{}
	for _, remote := range sorted(s.Files) {
		if !fs.ValidPath(remote) || remote == "." {
			d.Errorf(at, "files."+remote, "write a path below the root without a slash in front", "%q is no path on the server", remote)
		}
		if !fs.ValidPath(s.Files[remote]) {
			d.Errorf(at, "files."+remote, "name a file below the target's path", "%q is no path in the repository", s.Files[remote])
		}
	}
	for _, g := range sorted(s.Modes) {
		globs(&d, fmt.Sprintf("modes[%q]", g), g)
		if _, err := parseMode(s.Modes[g]); err != nil {
			d.Errorf(at, fmt.Sprintf("modes[%q]", g), `write it in octal, for example "0640"`, "%v", err)
		}
	}
	for _, g := range sorted(s.Owners) {
		globs(&d, fmt.Sprintf("owners[%q]", g), g)
		if _, _, err := parseOwner(s.Owners[g]); err != nil {
			d.Errorf(at, fmt.Sprintf("owners[%q]", g), `write "uid:gid" in numbers`, "%v", err)
		}
	}
	globs(&d, "ignore", s.Ignore...)
	globs(&d, "sensitive", s.Sensitive...)
	if _, err := parseMode(s.DirMode); s.DirMode != "" && err != nil {
		d.Errorf(at, "dirMode", `write it in octal, for example "0755"`, "%v", err)
	}
	switch s.Check {
	case "", CheckQuick, CheckFull:
	default:
		d.Errorf(at, "check", "write quick or full", "%q is unknown", s.Check)
	}
	return d
}

// Scope narrows an environment to some of its paths.
type Scope struct {
	// Files lists globs of paths below the root; empty means all.
	Files []string `yaml:"files,omitempty" json:"files,omitempty" strict:"one"`
}

// Validate checks the values.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	globs(&d, "files", s.Files...)
	return d
}

// Contains tells whether a path lies inside. A directory lies inside as well
// when a path below it may: directories are made on demand.
func (s *Scope) Contains(k plan.Key, kind string) bool {
	if s == nil || len(s.Files) == 0 {
		return true
	}
	name := string(k.Address)
	for _, g := range s.Files {
		if match(g, name) || kind == kindDir && above(g, name) {
			return true
		}
	}
	return false
}

// above tells whether a glob may match something below a directory.
func above(glob, dir string) bool {
	parts := strings.Split(glob, "/")
	for i, name := range strings.Split(dir, "/") {
		if i >= len(parts) {
			return false
		}
		if parts[i] == "**" {
			return true
		}
		if ok, err := path.Match(parts[i], name); err != nil || !ok {
			return false
		}
	}
	return strings.Count(dir, "/")+1 < len(parts)
}

func globs(d *plan.Diagnostics, field string, list ...string) {
	for i, g := range list {
		if len(list) > 1 || !strings.Contains(field, "[") {
			field := fmt.Sprintf("%s[%d]", field, i)
			checkGlob(d, field, g)
			continue
		}
		checkGlob(d, field, g)
	}
}

func checkGlob(d *plan.Diagnostics, field, g string) {
	if g == "" || strings.HasPrefix(g, "/") || !doublestar.ValidatePattern(g) || slices.Contains(strings.Split(g, "/"), "..") {
		d.Errorf(plan.Source{}, field, "globs are matched against the path below the root: *.html, img/**", "%q is no glob", g)
	}
}

func match(glob, name string) bool {
	ok, err := doublestar.Match(glob, name)
	return err == nil && ok
}

func matchAny(list []string, name string) bool {
	return slices.ContainsFunc(list, func(g string) bool { return match(g, name) })
}

// longest gives the value of the longest glob that matches.
func longest(m map[string]string, name string) (string, bool) {
	best, found := "", false
	for _, g := range sorted(m) {
		if len(g) > len(best) && match(g, name) {
			best, found = g, true
		}
	}
	return m[best], found
}

// parseMode reads octal permission bits; a repository can't hand out setuid.
func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an octal mode", s)
	}
	if n > 0o777 {
		return 0, fmt.Errorf("%q has bits beyond 0777: setuid, setgid and sticky are not allowed", s)
	}
	return fs.FileMode(n), nil
}

func parseOwner(s string) (uid, gid uint32, err error) {
	u, g, ok := strings.Cut(s, ":")
	if !ok {
		return 0, 0, fmt.Errorf("%q is not an owner", s)
	}
	a, err := strconv.ParseUint(u, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is not a number", u)
	}
	b, err := strconv.ParseUint(g, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is not a number", g)
	}
	return uint32(a), uint32(b), nil
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
