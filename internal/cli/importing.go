package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
)

func (a *app) importCommand() *cobra.Command {
	var out, name string
	var force bool
	cmd := &cobra.Command{Use: "import ENVIRONMENT [WHAT...]", Short: "Write the live state of an environment as desired files", Args: cobra.MinimumNArgs(1),
		Long:    "Read an environment and write its state as files that a repository can hold,\nwith the target to put into trueup.yaml. Nothing is written to the environment.\nApplying them afterwards adopts what is there: it changes nothing.",
		Example: "  trueup import dns --config server.yaml --out dns\n  trueup import site index.html css/",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importing(cmd, args[0], args[1:], out, name, force)
		}}
	cmd.Flags().StringVar(&out, "out", ".", "directory to write to")
	cmd.Flags().StringVar(&name, "name", "", "name of the target (default: the environment's)")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that are there")
	cmd.AddCommand(a.importAtlantisCommand())
	for _, p := range predecessors() {
		cmd.AddCommand(a.importFromCommand(p))
	}
	return cmd
}

func (a *app) importing(cmd *cobra.Command, env string, what []string, out, name string, force bool) error {
	ctx := cmd.Context()
	cfg, err := a.operator(cmd)
	if err != nil {
		return err
	}
	s, d, err := openEnvironment(ctx, cfg, env)
	if err != nil {
		return err
	}
	defer s.Close()
	im, ok := s.(driver.Importer)
	if !ok {
		return fmt.Errorf("the driver %s can't import", d.Info().Name)
	}
	p := newProgress(cmd.ErrOrStderr())
	p.set("reading " + env)
	got, err := im.Import(ctx, driver.Input{Target: "import", Spec: d.Info().Spec(), Scope: d.Info().Scope(), Mode: plan.Apply, Now: now(), Log: quiet()}, what)
	p.stop()
	if err != nil {
		return err
	}
	if err := render.Diagnostics(cmd.ErrOrStderr(), render.For(cmd.ErrOrStderr()), got.Warnings); err != nil {
		return err
	}
	if len(got.Files) == 0 {
		return errors.New("there is nothing to import")
	}
	if err := writeImported(cmd, out, got.Files, force); err != nil {
		return err
	}
	return a.targetFor(cmd, cfg, env, out, name, got)
}

// openEnvironment opens a read session.
func openEnvironment(ctx context.Context, cfg *config.Server, name string) (driver.Session, driver.Driver, error) {
	env := cfg.Environments[name]
	if env == nil {
		return nil, nil, fmt.Errorf("there is no environment %q; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(cfg.Environments)), ", "))
	}
	d, err := registry().Get(env.Driver)
	if err != nil {
		return nil, nil, err
	}
	rs := resolvers(cfg)
	s, err := d.Open(ctx, driver.Environment{Name: name, Connect: env.Connect, Dir: cfg.Dir, Log: quiet(),
		Secret: rs.Resolve}, driver.Read)
	return s, d, err
}

func writeImported(cmd *cobra.Command, out string, files map[string][]byte, force bool) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return err
	}
	defer root.Close()
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !force {
		flags |= os.O_EXCL
	}
	for _, n := range slices.Sorted(maps.Keys(files)) {
		if err := root.MkdirAll(filepath.Dir(filepath.FromSlash(n)), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(filepath.FromSlash(n), flags, 0o644)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already: --force overwrites", filepath.Join(out, n))
		}
		if err != nil {
			return err
		}
		_, err = f.Write(files[n])
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		sayf(cmd, "wrote %s", filepath.Join(out, n))
	}
	return nil
}

// targetFor prints the target to put into trueup.yaml.
func (a *app) targetFor(cmd *cobra.Command, _ *config.Server, env, out, name string, got driver.Imported) error {
	if name == "" {
		name = env
	}
	path := filepath.ToSlash(filepath.Clean(out))
	if len(got.Files) == 1 {
		path = filepath.ToSlash(filepath.Join(out, slices.Collect(maps.Keys(got.Files))[0]))
	}
	t := yaml.MapSlice{{Key: "name", Value: name}, {Key: "environment", Value: env}, {Key: "path", Value: path}}
	if got.Spec != nil {
		t = append(t, yaml.MapItem{Key: "spec", Value: got.Spec})
	}
	doc := yaml.MapSlice{{Key: "targets", Value: []yaml.MapSlice{t}}}
	body, err := yaml.MarshalWithOptions(doc, yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	sayf(cmd, "\nPut this into %s:", manifestName)
	_, err = cmd.OutOrStdout().Write(body)
	return err
}
