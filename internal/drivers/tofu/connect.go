package tofu

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says which program runs, with which credentials, and where state is
// kept. None of it can come from a repository.
//
//house:exception the published configuration of an environment, flat so that it reads well
type Connect struct {
	// Program is tofu (the default), terraform, or a path.
	Program string `yaml:"program,omitempty" json:"program,omitempty"`
	// Cache is a directory for working copies and providers; the default is
	// trueup/tofu in the user's cache directory. It has to be on a file system
	// that allows programs to run.
	Cache string `yaml:"cache,omitempty" json:"cache,omitempty"`
	// User is the name or number of a user that the program runs as. trueup
	// must be root for it.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Env are plain variables of the program's environment: AWS_REGION.
	// Nothing else of trueup's own environment gets there.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// SecretEnv are variables whose values are secrets.
	SecretEnv map[string]secret.Ref `yaml:"secretEnv,omitempty" json:"secretEnv,omitempty"`
	// Files are secrets that a provider wants in a file: the variable gets the
	// path of a private file that is there while the program runs
	// (AWS_WEB_IDENTITY_TOKEN_FILE, GOOGLE_APPLICATION_CREDENTIALS).
	Files map[string]secret.Ref `yaml:"files,omitempty" json:"files,omitempty"`
	// Variables are the operator's values for input variables of root modules.
	// A root module that does not declare one of them does not get it.
	Variables map[string]secret.Ref `yaml:"variables,omitempty" json:"variables,omitempty"`
	// Backend completes the backend block of the root modules.
	Backend Backend `yaml:"backend,omitempty" json:"backend,omitempty"`
	// Mirrors say where providers come from; empty means the registry.
	Mirrors Mirrors `yaml:"mirrors,omitempty" json:"mirrors,omitempty"`
	// Modules are the credentials for private module sources.
	Modules Modules `yaml:"modules,omitempty" json:"modules,omitempty"`
	// LockFile says what becomes of .terraform.lock.hcl: readonly (the
	// default: a provider that it does not list is an error, where there is
	// one) or update (it is completed in the working copy).
	LockFile string `yaml:"lockFile,omitempty" json:"lockFile,omitempty" jsonschema:"enum=readonly,enum=update"`
	// LockTimeout is how long a state that somebody else has locked is waited
	// for; the default is 1m.
	LockTimeout time.Duration `yaml:"lockTimeout,omitempty" json:"lockTimeout,omitempty"`
	// Parallelism is how many resources are worked on at once; 0 is the
	// program's own default.
	Parallelism int `yaml:"parallelism,omitempty" json:"parallelism,omitempty"`
	// Checks are commands that get the plan as JSON on standard input and may
	// refuse it: policy and cost.
	Checks []Check `yaml:"checks,omitempty" json:"checks,omitempty"`
	// Rescue is a directory for states that could not be written to their
	// backend, encrypted; the default is rescue below cache.
	Rescue string `yaml:"rescue,omitempty" json:"rescue,omitempty"`
}

// Backend is where state lives.
type Backend struct {
	// Config are settings for the backend block (-backend-config).
	// {{target}} stands for the target's id, made fit for a file name.
	Config map[string]string `yaml:"config,omitempty" json:"config,omitempty"`
	// Secrets are settings whose values are secrets. Where the backend reads
	// environment variables, secretEnv is better: these settings stand in
	// clear text in the program's working data while it runs.
	Secrets map[string]secret.Ref `yaml:"secrets,omitempty" json:"secrets,omitempty"`
	// LocalState is a directory for the states of root modules without a
	// backend. Without it such a root is refused, because its state would be
	// lost with the working copy.
	LocalState string `yaml:"localState,omitempty" json:"localState,omitempty"`
}

// Mirrors are sources of providers.
type Mirrors struct {
	// Filesystem is a directory laid out as a filesystem_mirror.
	Filesystem string `yaml:"filesystem,omitempty" json:"filesystem,omitempty"`
	// Network is the URL of a network_mirror.
	Network string `yaml:"network,omitempty" json:"network,omitempty"`
	// Direct allows the registry beside the mirrors.
	Direct bool `yaml:"direct,omitempty" json:"direct,omitempty"`
}

// Modules are the credentials for private module sources.
type Modules struct {
	// Tokens are API tokens of registries, by host.
	Tokens map[string]secret.Ref `yaml:"tokens,omitempty" json:"tokens,omitempty"`
	// Logins are names and passwords for modules from Git or HTTP, by host.
	Logins map[string]Login `yaml:"logins,omitempty" json:"logins,omitempty"`
	// SSHKey is a private key for modules from Git over SSH.
	SSHKey secret.Ref `yaml:"sshKey,omitempty" json:"sshKey,omitempty"`
	// KnownHosts is the file with the host keys of those servers.
	KnownHosts string `yaml:"knownHosts,omitempty" json:"knownHosts,omitempty"`
}

// Login is a name with a password.
type Login struct {
	User     string     `yaml:"user" json:"user" jsonschema:"required"`
	Password secret.Ref `yaml:"password" json:"password" jsonschema:"required"`
}

// Check is a command that judges plans. It has no credentials.
type Check struct {
	Name string `yaml:"name" json:"name" jsonschema:"required"`
	// Run is the program with its arguments. Exit status 0 accepts, any other
	// refuses with what was printed as the reason. What an accepting check
	// prints is shown with the plan.
	Run []string `yaml:"run" json:"run" jsonschema:"required"`
	// Timeout ends it; the default is 1m.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reserved are variables that the driver sets itself.
var reserved = map[string]string{
	"TF_DATA_DIR": "it is a directory of trueup's own", "TF_CLI_CONFIG_FILE": "use mirrors and modules",
	"TF_PLUGIN_CACHE_DIR": "use cache", "TF_WORKSPACE": "use workspace in the target's spec",
	"TF_CLI_ARGS": "arguments are the driver's", "TF_INPUT": "nobody is there to answer", "HOME": "it is a private directory",
	"TF_LOG": "logs hold secrets", "TF_LOG_PATH": "logs hold secrets", "TF_REATTACH_PROVIDERS": "it bypasses the lock file",
}

// Validate checks the values.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	seen := map[string]string{}
	check := func(field, name string) {
		at := fmt.Sprintf("%s[%q]", field, name)
		switch {
		case !envName.MatchString(name):
			d.Errorf(plan.Source{}, at, "use letters, digits and _", "%q can't be a variable's name", name)
		case reserved[name] != "" || strings.HasPrefix(name, "TF_CLI_ARGS"):
			why := reserved[name]
			if why == "" {
				why = reserved["TF_CLI_ARGS"]
			}
			d.Errorf(plan.Source{}, at, why, "the variable %s belongs to the driver", name)
		case seen[name] != "":
			d.Errorf(plan.Source{}, at, "remove one of the two", "the variable %s is also under %s", name, seen[name])
		}
		seen[name] = field
	}
	for _, name := range sortedKeys(c.Env) {
		check("env", name)
	}
	for _, name := range sortedKeys(c.SecretEnv) {
		check("secretEnv", name)
	}
	for _, name := range sortedKeys(c.Files) {
		check("files", name)
	}
	if c.LockFile != "" && c.LockFile != "readonly" && c.LockFile != "update" {
		d.Errorf(plan.Source{}, "lockFile", "write readonly or update", "%q is unknown", c.LockFile)
	}
	if c.LockTimeout < 0 {
		d.Errorf(plan.Source{}, "lockTimeout", "write a duration, for example 5m", "is negative")
	}
	if c.Parallelism < 0 {
		d.Errorf(plan.Source{}, "parallelism", "write a number above 0", "is negative")
	}
	for i, ck := range c.Checks {
		if ck.Name == "" || len(ck.Run) == 0 || ck.Run[0] == "" {
			d.Errorf(plan.Source{}, fmt.Sprintf("checks[%d]", i), "give it a name and a program", "is incomplete")
		}
	}
	if m := c.Mirrors.Network; m != "" && !strings.HasPrefix(m, "https://") {
		d.Errorf(plan.Source{}, "mirrors.network", "the program takes mirrors over https alone", "%q is no https URL", m)
	}
	for _, host := range sortedKeys(c.Modules.Logins) {
		if l := c.Modules.Logins[host]; strings.ContainsAny(host+l.User, " \t\n") {
			d.Errorf(plan.Source{}, fmt.Sprintf("modules.logins[%q]", host), "remove the space", "host and user hold no spaces")
		}
	}
	return d
}

func (c *Connect) lockTimeout() time.Duration {
	if c.LockTimeout == 0 {
		return time.Minute
	}
	return c.LockTimeout
}

// within makes a path of the configuration absolute.
func within(base, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(base, p)
}
