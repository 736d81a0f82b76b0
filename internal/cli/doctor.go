package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

// finding is what doctor says about one thing.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warning or failed
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Check Git, the store, environments, clocks, permissions and secrets", Args: cobra.NoArgs,
		Long:    "Check what trueup stands on, and say how to mend what is found: the version of\nGit, the configuration, the data directory and keys, the store and its clock,\nevery secret and webhook secret, and the connection to every environment. It\nwrites nothing to any environment.",
		Example: "  trueup doctor --config /etc/trueup/server.yaml\n  trueup doctor -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a, cmd: cmd, p: newProgress(cmd.ErrOrStderr())}
			defer d.p.stop()
			d.all(cmd.Context())
			d.p.stop()
			return d.report()
		}}
}

type doctor struct {
	app     *app
	cmd     *cobra.Command
	p       *progress
	list    []finding
	cfg     *config.Server
	secrets secret.Resolvers
}

func (d *doctor) ok(check, format string, args ...any) {
	d.list = append(d.list, finding{Check: check, State: "ok", Found: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(check, mend, format string, args ...any) {
	d.list = append(d.list, finding{Check: check, State: "warning", Found: fmt.Sprintf(format, args...), Mend: mend})
}

func (d *doctor) fail(check, mend, format string, args ...any) {
	d.list = append(d.list, finding{Check: check, State: "failed", Found: fmt.Sprintf(format, args...), Mend: mend})
}

func (d *doctor) all(ctx context.Context) {
	d.git(ctx)
	path := d.app.configPath()
	if path == "" {
		d.fail("configuration", "name it with --config, or write one with trueup init", "there is none")
		return
	}
	cfg, diags := d.app.load(path)
	for _, x := range diags.Errors() {
		d.fail("configuration", x.Mend, "%s", plan.Diagnostic{Severity: x.Severity, Source: x.Source, Field: x.Field, Message: x.Message}.Error())
	}
	if cfg == nil || diags.Err() != nil {
		return
	}
	d.cfg, d.secrets = cfg, resolvers(cfg)
	d.ok("configuration", "%s: %d repositories, %d environments", path, len(cfg.Repositories), len(cfg.Environments))
	d.permissions(path)
	d.store(ctx)
	d.repositories(ctx)
	d.environments(ctx)
}

var gitVersion = regexp.MustCompile(`(\d+)\.(\d+)`)

// git checks the version: from 2.34 on a mirror can be read without contents
// and SSH signatures can be verified.
func (d *doctor) git(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		d.fail("git", "install git 2.34 or later", "git does not run: %v", err)
		return
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(out), "git version "))
	m := gitVersion.FindStringSubmatch(text)
	if m == nil {
		d.warn("git", "install git 2.34 or later", "version %q is not understood", text)
		return
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < 2 || major == 2 && minor < 34 {
		d.fail("git", "install git 2.34 or later", "version %s is too old", text)
		return
	}
	d.ok("git", "version %s", text)
}

func (d *doctor) permissions(path string) {
	check := func(what, path string, bad os.FileMode, mend string) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			d.fail(what, "run doctor as the account that trueup runs as", "%v", err)
		case info.Mode().Perm()&bad != 0:
			d.fail(what, fmt.Sprintf("chmod %s %s", mend, path), "%s has mode %04o", path, info.Mode().Perm())
		default:
			d.ok(what, "%s has mode %04o", path, info.Mode().Perm())
		}
	}
	check("configuration file", path, 0o022, "go-w")
	if !exists(d.cfg.DataDir) {
		d.warn("data directory", "it is made by the first `trueup serve` or `trueup apply`", "%s is not there", d.cfg.DataDir)
	}
	check("data directory", d.cfg.DataDir, 0o077, "700")
	check("encryption key", filepath.Join(d.cfg.DataDir, keyFile), 0o077, "600")
	check("socket", d.cfg.Listen.Socket, 0o077, "600")
	if d.cfg.Listen.TLSKey != "" {
		key := d.cfg.Listen.TLSKey
		if !filepath.IsAbs(key) {
			key = filepath.Join(d.cfg.Dir, key)
		}
		check("TLS key", key, 0o037, "640")
	}
}

// maxSkew is how far clocks may be apart: leases and signatures (TSIG allows
// five minutes) depend on them.
const maxSkew = 5 * time.Second

func (d *doctor) store(ctx context.Context) {
	d.p.set("asking the store")
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if c, err := api.Dial(d.cfg.Listen.Socket, noToken); err == nil && exists(d.cfg.Listen.Socket) {
		defer c.Close()
		st, err := c.Status(ctx)
		if err == nil {
			d.ok("server", "answers on %s, version %s", d.cfg.Listen.Socket, st.Version)
			d.skew("the store's clock", st.Now)
			return
		}
		if !errors.Is(err, api.ErrNoServer) {
			d.fail("server", "see the server's log", "%v", err)
			return
		}
		d.warn("server", "start it with trueup serve; a socket that is left over is replaced", "nobody answers on %s", d.cfg.Listen.Socket)
	}
	if !exists(d.cfg.DataDir) && d.cfg.Database == "" {
		return
	}
	st, err := openStore(ctx, d.cfg)
	if errors.Is(err, store.ErrLocked) {
		d.warn("store", "wait for the other process, or ask the server", "%v", err)
		return
	}
	if err != nil {
		d.fail("store", "check `database:` and that the database runs", "%v", err)
		return
	}
	defer st.Close()
	t, err := st.Now(ctx)
	if err != nil {
		d.fail("store", "check that the database runs", "%v", err)
		return
	}
	d.ok("store", "opens")
	d.skew("the store's clock", t)
}

func (d *doctor) skew(what string, t time.Time) {
	apart := time.Since(t).Abs().Round(time.Millisecond)
	if apart > maxSkew {
		d.fail("clock", "synchronise both clocks (chrony, systemd-timesyncd)", "%s is %s apart from this machine's", what, apart)
		return
	}
	d.ok("clock", "%s agrees with this machine's within %s", what, max(apart, time.Millisecond))
}

// secretRef checks that a secret can be had, and never shows it.
func (d *doctor) secretRef(ctx context.Context, check string, ref secret.Ref) {
	v, err := d.secrets.Resolve(ctx, ref)
	switch {
	case err != nil:
		d.fail(check, "set it where the reference points, for the account that trueup runs as", "%v", err)
	case v.Empty():
		d.fail(check, "give it a value", "%s is empty", ref)
	default:
		d.ok(check, "%s resolves", ref)
	}
}

// minWebhookSecret is how short a webhook secret may be.
const minWebhookSecret = 16

func (d *doctor) repositories(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(d.cfg.Repositories)) {
		r := d.cfg.Repositories[name]
		check := "repository " + name
		d.p.set(check)
		for _, ref := range []secret.Ref{r.Credentials.Password, r.Credentials.Token, r.Credentials.SSHKey} {
			if ref != "" {
				d.secretRef(ctx, check+" credentials", ref)
			}
		}
		for _, ref := range r.WebhookSecrets {
			d.secretRef(ctx, check+" webhook", ref)
			if v, err := d.secrets.Resolve(ctx, ref); err == nil && !v.Empty() && len(v.Reveal()) < minWebhookSecret {
				d.warn(check+" webhook", "use 16 or more random characters", "%s is short", ref)
			}
		}
		if len(r.WebhookSecrets) == 0 {
			d.ok(check+" webhook", "no secret is configured, so there is no endpoint; polled every %s", r.Poll)
		} else if d.cfg.Listen.HTTP == "" {
			d.warn(check+" webhook", "set listen.http", "secrets are configured, but the server does not listen on TCP")
		}
		if r.Forge != nil {
			d.forge(ctx, r)
		}
	}
}

func (d *doctor) environments(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(d.cfg.Environments)) {
		env := d.cfg.Environments[name]
		check := "environment " + name
		d.p.set("reaching " + name)
		if env.Retired {
			d.ok(check, "is retired")
			continue
		}
		if err := d.reach(ctx, name); err != nil {
			mend := "check `connect:` and that the environment runs"
			if driver.IsPermanent(err) {
				mend = "correct `connect:`"
			}
			d.fail(check, mend, "%v", err)
			continue
		}
		d.ok(check, "the driver %s connects", env.Driver)
	}
}

// reach opens the environment, and reads it where the driver can do so
// without a target.
func (d *doctor) reach(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	s, drv, err := openEnvironment(ctx, d.cfg, name)
	if err != nil {
		return err
	}
	defer s.Close()
	im, ok := s.(driver.Importer)
	if !ok {
		return nil
	}
	_, err = im.Import(ctx, driver.Input{Target: "doctor", Spec: drv.Info().Spec(), Scope: drv.Info().Scope(), Mode: plan.Apply, Now: now(), Log: quiet()}, nil)
	return err
}

func (d *doctor) report() error {
	failed := 0
	for _, f := range d.list {
		if f.State == "failed" {
			failed++
		}
	}
	if !d.app.table() {
		if err := d.app.print(d.cmd, struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{failed == 0, d.list}); err != nil {
			return err
		}
	} else {
		w, s := d.cmd.OutOrStdout(), style(d.cmd)
		for _, f := range d.list {
			fmt.Fprintf(w, "%s%s %s: %s\n", s.Word(f.State), strings.Repeat(" ", len("warning")-len(f.State)), f.Check, render.Line(f.Found))
			if f.Mend != "" {
				fmt.Fprintf(w, "        %s\n", s.Faint("→ "+render.Line(f.Mend)))
			}
		}
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}
