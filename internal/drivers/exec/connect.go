package exec

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says which commands an environment is made of. A command is a list
// of a program and its arguments; no shell sees it.
//
//house:exception one flat part of the configuration, read as it is written
type Connect struct {
	// Preset fills in the commands of a known tool and reads its own output:
	// ansible, pulumi or dnscontrol; jenkins runs a job in place of commands.
	Preset Preset `yaml:"preset,omitempty" json:"preset,omitempty" jsonschema:"enum=ansible,enum=pulumi,enum=dnscontrol,enum=jenkins"`
	// Plan prints what would change, as the JSON of the contract.
	Plan []string `yaml:"plan,omitempty" json:"plan,omitempty"`
	// Check tells whether all is in sync (status 0) or not (status 2), for
	// tools that can't say what would change.
	Check []string `yaml:"check,omitempty" json:"check,omitempty"`
	// Apply carries the changes out.
	Apply []string `yaml:"apply,omitempty" json:"apply,omitempty"`
	// Destroy removes what the target owns.
	Destroy []string `yaml:"destroy,omitempty" json:"destroy,omitempty"`
	// Outputs prints the values that other targets may use, as JSON.
	Outputs []string `yaml:"outputs,omitempty" json:"outputs,omitempty"`
	// Selective tells that apply does the changes of {changes} and no others.
	// Without it a plan is applied whole or not at all.
	Selective bool `yaml:"selective,omitempty" json:"selective,omitempty"`
	// Env gives variables of the commands' environment.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// Secrets gives variables whose values are references to secrets.
	Secrets map[string]secret.Ref `yaml:"secrets,omitempty" json:"secrets,omitempty"`
	// Timeout bounds each command; 30m by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// Realm names what the commands change, so that two environments for one
	// system are noticed. By default it is the environment's name.
	Realm string `yaml:"realm,omitempty" json:"realm,omitempty"`
	// User is the account that the commands run as; trueup must be root then.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Inventory is the ansible preset's inventory: a file with its absolute path,
	// {path}/hosts.ini for one of the repository, or "host," for one host.
	Inventory string `yaml:"inventory,omitempty" json:"inventory,omitempty"`
	// Stack is the pulumi preset's stack.
	Stack string `yaml:"stack,omitempty" json:"stack,omitempty"`
	// Jenkins is the jenkins preset's job.
	Jenkins *Jenkins `yaml:"jenkins,omitempty" json:"jenkins,omitempty"`
}

var (
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	placeholder = regexp.MustCompile(`\{[a-z]+\}`)
	known       = []string{"{actions}", "{changes}", "{entry}", "{owned}", "{path}", "{plan}", "{report}", "{root}", "{values}"}
)

// Validate checks the values.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	at := plan.Source{}
	c.validatePreset(&d)
	full := c.filled()
	if len(full.Apply) == 0 && c.Preset != jenkins {
		d.Errorf(at, "apply", "give a program and its arguments, for example [/usr/local/bin/tool, apply, \"{path}\"]", "is missing")
	}
	if len(c.Plan) > 0 && len(c.Check) > 0 {
		d.Errorf(at, "check", "a tool that plans needs no check; remove one of them", "stands beside plan")
	}
	for _, n := range []string{"plan", "check", "apply", "destroy", "outputs"} {
		checkCommand(&d, n, full.command(n))
	}
	for _, n := range append(sortedKeys(c.Env), sortedKeys(c.Secrets)...) {
		field := "env." + n
		if _, ok := c.Secrets[n]; ok {
			field = "secrets." + n
			if _, both := c.Env[n]; both {
				d.Errorf(at, field, "remove one of them", "stands under env too")
			}
		}
		if !variable.MatchString(n) {
			d.Errorf(at, field, "use letters, digits and _", "%q is no name of a variable", n)
		}
		if strings.HasPrefix(n, "TRUEUP_") || n == "HOME" || n == "TMPDIR" {
			d.Errorf(at, field, "choose another name", "trueup sets this variable itself")
		}
	}
	if c.Timeout < 0 {
		d.Errorf(at, "timeout", "write a time such as 30m", "is negative")
	}
	return d
}

func checkCommand(d *plan.Diagnostics, field string, args []string) {
	if len(args) == 0 {
		return
	}
	if !filepath.IsAbs(args[0]) {
		d.Errorf(plan.Source{}, field+"[0]", "write the program's absolute path: what runs must not depend on PATH or on the repository", "%q is not absolute", args[0])
	}
	for i, a := range args {
		for _, p := range placeholder.FindAllString(a, -1) {
			if !slices.Contains(known, p) {
				d.Errorf(plan.Source{}, fmt.Sprintf("%s[%d]", field, i), "use one of "+strings.Join(known, " "), "there is no placeholder %s", p)
			}
		}
		if strings.ContainsRune(a, 0) {
			d.Errorf(plan.Source{}, fmt.Sprintf("%s[%d]", field, i), "remove it", "holds a zero byte")
		}
	}
}

// filled gives the connect with what the preset and the defaults add.
func (c *Connect) filled() *Connect {
	out := *c
	out.Timeout = cmp.Or(c.Timeout, 30*time.Minute)
	if p, ok := presets[c.Preset]; ok {
		out.Env = map[string]string{}
		p.fill(&out)
		maps.Copy(out.Env, c.Env)
		for n, own := range map[string][]string{"plan": c.Plan, "apply": c.Apply, "destroy": c.Destroy, "outputs": c.Outputs} {
			if len(own) > 0 {
				*out.commandOf(n) = own
			}
		}
	}
	return &out
}

func (c *Connect) commandOf(n string) *[]string {
	switch n {
	case "plan":
		return &c.Plan
	case "check":
		return &c.Check
	case "apply":
		return &c.Apply
	case "destroy":
		return &c.Destroy
	}
	return &c.Outputs
}

func (c *Connect) command(n string) []string { return *c.commandOf(n) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
