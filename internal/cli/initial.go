package cli

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

//go:embed starter
var starter embed.FS

func (a *app) initCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{Use: "init [DIRECTORY]", Short: "Write a commented trueup.yaml and server.yaml to start from", Args: cobra.MaximumNArgs(1),
		Long:    "Write a commented trueup.yaml (the repository's side), a server.yaml (the\noperator's side) and a directory of sample files. They work at once: the files\ndriver copies www/ to site/.",
		Example: "  trueup init\n  trueup plan\n  trueup apply",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return writeStarter(cmd, dir, force)
		}}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that are there")
	return cmd
}

func writeStarter(cmd *cobra.Command, dir string, force bool) error {
	sub, err := fs.Sub(starter, "starter")
	if err != nil {
		return err
	}
	var names []string
	err = fs.WalkDir(sub, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	var there []error
	for _, n := range names {
		if !force && exists(filepath.Join(dir, filepath.FromSlash(n))) {
			there = append(there, fmt.Errorf("%s is there already", filepath.Join(dir, n)))
		}
	}
	if len(there) > 0 {
		return errors.Join(append(there, errors.New("nothing was written; --force overwrites"))...)
	}
	for _, n := range names {
		body, err := fs.ReadFile(sub, n)
		if err != nil {
			return err
		}
		body = bytes.ReplaceAll(body, []byte("@DIR@"), []byte(filepath.ToSlash(absolute(dir))))
		path := filepath.Join(dir, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), "wrote", path)
	}
	if err := os.MkdirAll(filepath.Join(dir, "site"), 0o755); err != nil {
		return err
	}
	sayf(cmd, "\nNext: trueup validate, trueup plan, trueup apply. They read server.yaml beside trueup.yaml.")
	return nil
}
