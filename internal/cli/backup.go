package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
	storesql "trueup.dev/trueup/internal/store/sql"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{Use: "backup [FILE]", Short: "Write a consistent copy of the store, also while the server runs", Args: cobra.MaximumNArgs(1),
		Long:    "Write a consistent copy of everything trueup remembers, to a file or to stdout.\nA running server is asked for it; without one the store is opened directly. The\nkey file in the data directory is not in it: keep a copy of that elsewhere.",
		Example: "  trueup backup trueup.backup\n  trueup backup --config server.yaml > trueup.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "-" {
				if render.IsTerminal(cmd.OutOrStdout()) {
					return errors.New("a backup is not for a terminal: give a file, or redirect the output")
				}
				return a.backup(cmd, cmd.OutOrStdout())
			}
			return writeWhole(args[0], func(w io.Writer) error { return a.backup(cmd, w) })
		}}
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".trueup-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (a *app) backup(cmd *cobra.Command, w io.Writer) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Backup(cmd.Context(), w)
	if !errors.Is(err, api.ErrNoServer) || a.server != "" {
		return err
	}
	cfg, err := a.operator(cmd)
	if err != nil {
		return err
	}
	st, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	return errors.Join(st.Backup(cmd.Context(), w), st.Close())
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{Use: "restore [FILE]", Short: "Read a backup into an empty store, with the server stopped", Args: cobra.MaximumNArgs(1),
		Long:    "Read a backup into the store that the configuration names. The store must be\nempty. Afterwards trueup plans and shows, but writes nothing until\n`trueup freeze --lift-restore`: the world may have moved on since the backup.",
		Example: "  trueup restore --config server.yaml trueup.backup\n  trueup restore --config server.yaml < trueup.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return a.restore(cmd, in)
		}}
}

func (a *app) restore(cmd *cobra.Command, in io.Reader) error {
	ctx := cmd.Context()
	cfg, err := a.operator(cmd)
	if err != nil {
		return err
	}
	if answers(ctx, cfg.Listen.Socket) {
		return fmt.Errorf("a server runs on %s: stop it first", cfg.DataDir)
	}
	url, err := databaseURL(ctx, cfg)
	if err != nil {
		return err
	}
	// The store's own hold keeps everything from being written until lifted.
	if err := storesql.Restore(ctx, in, storesql.Options{URL: url, Dir: cfg.DataDir}); err != nil {
		return err
	}
	if err := a.recordRestore(ctx, cfg); err != nil {
		return err
	}
	sayf(cmd, "Restored. Start the server, look at the plans, then: trueup freeze --lift-restore")
	return nil
}

func (a *app) recordRestore(ctx context.Context, cfg *config.Server) error {
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(st.AddEvent(ctx, store.Event{Actor: auth.Local().Actor, Kind: "restore"}), st.Close())
}
