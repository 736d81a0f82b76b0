package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/source"
)

const manifestName = "trueup.yaml"

func (a *app) validateCommand() *cobra.Command {
	var dir, ref, repository string
	cmd := &cobra.Command{Use: "validate", Short: "Check a checkout's trueup.yaml, and with --config the operator's side as well", Args: cobra.NoArgs,
		Long:    "Check every trueup.yaml of a checkout: fields, types, names, paths. With\n--config also the operator's configuration, whether the environments exist and\nare granted, and what the drivers say about the files (zone files, say).\nAll mistakes are shown at once, with file and line. No connection is made.",
		Example: "  trueup validate\n  trueup validate --config server.yaml\n  trueup validate --ref v1.2.0 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := &validation{app: a, cmd: cmd, repository: repository}
			return v.run(cmd.Context(), dir, ref)
		}}
	cmd.Flags().StringVar(&dir, "dir", ".", "directory in the checkout")
	cmd.Flags().StringVar(&ref, "ref", "", "commit, branch or tag to take instead of the working tree")
	cmd.Flags().StringVar(&repository, "repository", "", "the checkout's name in the configuration")
	return cmd
}

type validation struct {
	app        *app
	cmd        *cobra.Command
	repository string
	cfg        *config.Server
	diags      plan.Diagnostics
	files      int
	targets    int
}

func (v *validation) run(ctx context.Context, dir, ref string) error {
	if v.app.config != "" {
		cfg, diags := v.app.load(v.app.config)
		v.diags = append(v.diags, diags...)
		if diags.Err() == nil {
			v.cfg = cfg
		}
		v.files++
	}
	co, err := openCheckout(ctx, dir, ref)
	switch {
	case err == nil:
		if err := v.checkout(ctx, co); err != nil {
			return err
		}
	case v.app.config == "":
		return err
	}
	return v.report()
}

func (v *validation) checkout(ctx context.Context, co *checkout) error {
	found, err := co.snapshot.Find(ctx, manifestName)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if v.app.config == "" {
			return fmt.Errorf("there is no %s here; `trueup init` writes one", manifestName)
		}
		return nil
	}
	if v.cfg != nil {
		if v.repository, err = repositoryName(v.cfg, v.repository, co.remote); err != nil {
			return err
		}
	}
	all, err := v.resolve(ctx, co)
	if err != nil {
		return err
	}
	v.targets = len(all)
	v.diags = append(v.diags, config.Check(all)...)
	if v.cfg != nil {
		v.prepare(ctx, co.snapshot, all)
	}
	return nil
}

// resolve gives the targets of every trueup.yaml of a checkout.
func (v *validation) resolve(ctx context.Context, co *checkout) ([]config.Resolved, error) {
	found, err := co.snapshot.Find(ctx, manifestName)
	if err != nil {
		return nil, err
	}
	rc := config.Context{Repository: v.repository, Server: v.cfg, Drivers: registry(), Tree: co.snapshot.View(".", []string{"**"})}
	if v.cfg == nil {
		rc.Server, rc.Alone = &config.Server{}, true
	}
	var all []config.Resolved
	for _, f := range found {
		body, err := co.snapshot.ReadFile(ctx, f.Path)
		if err != nil {
			return nil, err
		}
		v.files++
		m, d := config.ParseManifest(f.Path, body)
		v.diags = append(v.diags, d...)
		if d.Err() != nil {
			continue
		}
		resolved, d := config.Resolve(rc, f.Path, m)
		v.diags = append(v.diags, d...)
		all = append(all, resolved...)
	}
	return all, nil
}

// unknownValues stands for the outputs of other targets.
func unknownValues(r config.Resolved) map[string]plan.Output {
	values := map[string]plan.Output{}
	for name := range r.Values {
		values[name] = plan.Output{Unknown: true}
	}
	return values
}

// prepare lets the drivers read the files of each target.
func (v *validation) prepare(ctx context.Context, snap *source.Snapshot, all []config.Resolved) {
	for _, r := range all {
		env := v.cfg.Environments[r.Environment]
		if env == nil {
			continue
		}
		d, err := registry().Get(env.Driver)
		if err != nil {
			continue
		}
		p, err := d.Prepare(ctx, driver.Input{Target: r.ID, Tree: snap.View(r.Path, r.Reads()), Path: r.Path, Spec: r.Spec, Scope: r.Scope,
			Values: unknownValues(r), Mode: r.Mode, Now: now(), Log: quiet()})
		if err != nil {
			v.diags.Errorf(r.Source, "", "", "target %s: %v", r.Name, err)
			continue
		}
		v.diags = append(v.diags, p.Diagnostics...)
	}
}

func (v *validation) report() error {
	if !v.app.table() {
		out := struct {
			Valid       bool             `json:"valid"`
			Diagnostics plan.Diagnostics `json:"diagnostics"`
		}{v.diags.Err() == nil, notNil(v.diags)}
		if err := v.app.print(v.cmd, out); err != nil {
			return err
		}
	} else if err := render.Diagnostics(v.cmd.ErrOrStderr(), render.For(v.cmd.ErrOrStderr()), dedupe(v.diags)); err != nil {
		return err
	}
	if n := len(v.diags.Errors()); n > 0 {
		if v.app.table() {
			return fmt.Errorf("%d %s", n, map[bool]string{true: "mistake", false: "mistakes"}[n == 1])
		}
		return errSilent
	}
	if v.app.table() {
		fmt.Fprintf(v.cmd.OutOrStdout(), "valid: %d files, %d targets\n", v.files, v.targets)
	}
	return nil
}

func dedupe(ds plan.Diagnostics) plan.Diagnostics {
	var out plan.Diagnostics
	for _, d := range ds {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}
