package tofu

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"trueup.dev/trueup/internal/driver"
)

// backendFile is the generated block for roots without one.
const backendFile = "trueup_backend.tf"

// writeSettings writes what the program reads beside the repository's files:
// its own configuration, credentials, backend and variables. All of it is for
// the program's user alone.
func (w *work) writeSettings() error {
	if err := w.write("secrets/cli.tfrc", w.cliConfig()); err != nil {
		return err
	}
	for name, v := range w.s.files {
		if err := w.write("secrets/"+name, []byte(v.Reveal())); err != nil {
			return err
		}
	}
	if err := w.writeLogins(); err != nil {
		return err
	}
	if err := w.writeVariables(); err != nil {
		return err
	}
	return w.writeBackend()
}

func (w *work) write(name string, body []byte) error {
	return os.WriteFile(w.path(filepath.FromSlash(name)), body, 0o600)
}

// cliConfig makes the program's configuration: where providers come from.
func (w *work) cliConfig() []byte {
	f := hclwrite.NewEmptyFile()
	b := f.Body()
	b.SetAttributeValue("disable_checkpoint", cty.True)
	inst := b.AppendNewBlock("provider_installation", nil).Body()
	m := w.s.c.Mirrors
	if m.Filesystem != "" {
		inst.AppendNewBlock("filesystem_mirror", nil).Body().SetAttributeValue("path", cty.StringVal(within(w.s.env.Dir, m.Filesystem)))
	}
	if m.Network != "" {
		url := strings.TrimSuffix(m.Network, "/") + "/"
		inst.AppendNewBlock("network_mirror", nil).Body().SetAttributeValue("url", cty.StringVal(url))
	}
	if m.Direct || m.Filesystem == "" && m.Network == "" {
		inst.AppendNewBlock("direct", nil)
	}
	for _, host := range sortedKeys(w.s.tokens) {
		b.AppendNewBlock("credentials", []string{host}).Body().SetAttributeValue("token", cty.StringVal(w.s.tokens[host].Reveal()))
	}
	return f.Bytes()
}

// writeLogins gives git its credentials, in the private home directory.
func (w *work) writeLogins() error {
	var netrc strings.Builder
	for _, host := range sortedKeys(w.s.logins) {
		l := w.s.logins[host]
		fmt.Fprintf(&netrc, "machine %s login %s password %s\n", host, l.user, l.password.Reveal())
	}
	if netrc.Len() > 0 {
		if err := w.write("home/.netrc", []byte(netrc.String())); err != nil {
			return err
		}
	}
	if w.s.sshKey.Empty() {
		return nil
	}
	return w.write("secrets/ssh-key", []byte(strings.TrimRight(w.s.sshKey.Reveal(), "\n")+"\n"))
}

// valuesFile is where values of other targets and of the spec stand.
const valuesFile = "secrets/values.tfvars.json"

// writeVariables gives values of other targets, which win over the spec's.
func (w *work) writeVariables() error {
	all := map[string]any{}
	for name, v := range w.spec.Variables {
		if _, ok := w.root.variables[name]; !ok {
			return driver.Permanent(fmt.Errorf("spec.variables[%q]: the root module declares no such variable", name))
		}
		all[name] = v
	}
	for name, o := range w.in.Values {
		if _, ok := w.root.variables[name]; !ok {
			continue // Prepare has said so
		}
		if o.Unknown {
			return fmt.Errorf("the value %s is not known yet: it is known after the target that gives it was applied", name)
		}
		all[name] = json.RawMessage(o.Value)
	}
	w.hasValues = len(all) > 0
	if !w.hasValues {
		return nil
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return w.write(valuesFile, body)
}

// writeBackend completes the backend, or makes one that keeps state where the
// operator said.
func (w *work) writeBackend() error {
	conf := map[string]string{}
	for k, v := range w.s.c.Backend.Config {
		conf[k] = strings.ReplaceAll(v, "{{target}}", w.key)
	}
	for k, v := range w.s.backend {
		conf[k] = v.Reveal()
	}
	if b := w.root.backend; b == "" || b == "local" {
		dir := within(w.s.env.Dir, w.s.c.Backend.LocalState)
		switch {
		case dir != "":
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			if err := w.s.owner.give(dir); err != nil {
				return err
			}
			conf["path"], conf["workspace_dir"] = filepath.Join(dir, w.key+".tfstate"), filepath.Join(dir, w.key+".d")
		case conf["path"] == "" || !filepath.IsAbs(conf["path"]):
			return driver.Permanent(fmt.Errorf("%s keeps its state beside the code, where it would be lost: "+
				"add a backend block to the root module, or set connect.backend.localState", w.in.Path))
		}
		if b == "" {
			block := "terraform {\n  backend \"local\" {}\n}\n"
			if err := os.WriteFile(filepath.Join(w.rootDir(), backendFile), []byte(block), 0o600); err != nil {
				return err
			}
		}
	}
	if len(conf) == 0 {
		return nil
	}
	f := hclwrite.NewEmptyFile()
	for _, k := range sortedKeys(conf) {
		f.Body().SetAttributeValue(k, cty.StringVal(conf[k]))
	}
	return w.write("secrets/backend.hcl", f.Bytes())
}

// environ is all that the program sees of an environment: what the operator
// named, and what makes it run without anybody at the keyboard.
func (w *work) environ() []string {
	env := map[string]string{
		"PATH": searchPath, "LANG": "C.UTF-8", "HOME": w.path("home"), "TMPDIR": w.tmp,
	}
	for k, v := range w.s.c.Env {
		env[k] = v
	}
	for k, v := range w.s.creds.env {
		env[k] = v.Reveal()
	}
	for k := range w.s.files {
		env[k] = w.path("secrets", k)
	}
	for k, v := range w.s.variables {
		if _, declared := w.root.variables[k]; declared {
			env["TF_VAR_"+k] = v.Reveal()
		}
	}
	if !w.s.sshKey.Empty() {
		hosts := within(w.s.env.Dir, w.s.c.Modules.KnownHosts)
		if hosts == "" {
			hosts = "/etc/ssh/ssh_known_hosts"
		}
		env["GIT_SSH_COMMAND"] = fmt.Sprintf("ssh -F /dev/null -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=%s -i %s",
			shellWord(hosts), shellWord(w.path("secrets", "ssh-key")))
	}
	env["GIT_TERMINAL_PROMPT"] = "0"
	env["CHECKPOINT_DISABLE"], env["TF_IN_AUTOMATION"], env["TF_INPUT"] = "1", "1", "0"
	env["TF_CLI_CONFIG_FILE"], env["TF_DATA_DIR"] = w.path("secrets", "cli.tfrc"), w.path("data")
	out := make([]string, 0, len(env))
	for _, k := range sortedKeys(env) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// shellWord quotes for GIT_SSH_COMMAND, which git gives to a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// varArgs name the variable files.
func (w *work) varArgs() []string {
	var args []string
	for _, f := range w.spec.VarFiles {
		args = append(args, "-var-file="+f)
	}
	if w.hasValues {
		args = append(args, "-var-file="+w.path(filepath.FromSlash(valuesFile)))
	}
	return args
}
