package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/all"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
)

// Where things are when nobody says otherwise.
const (
	localConfig  = "server.yaml"
	systemConfig = "/etc/trueup/server.yaml"
	socketName   = "trueup.sock"
	// systemDataDir is the data directory of a configuration that names none.
	systemDataDir = "/var/lib/trueup"
)

// registry gives all drivers.
func registry() driver.Registry { return all.Registry() }

// configPath finds the operator's configuration; "" when there is none.
func (a *app) configPath() string {
	if a.config != "" {
		return a.config
	}
	for _, p := range []string{localConfig, systemConfig} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

// errNoConfig says that a configuration is needed.
var errNoConfig = errors.New("no operator's configuration: name it with --config server.yaml (`trueup init` writes one)")

// operator reads the operator's configuration. Warnings go to stderr.
func (a *app) operator(cmd *cobra.Command) (*config.Server, error) {
	path := a.configPath()
	if path == "" {
		return nil, errNoConfig
	}
	cfg, diags := a.load(path)
	if err := diags.Err(); err != nil {
		return nil, diags
	}
	if len(diags) > 0 {
		if err := render.Diagnostics(cmd.ErrOrStderr(), render.For(cmd.ErrOrStderr()), diags); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// load reads a configuration and lets the flags count.
func (a *app) load(path string) (*config.Server, plan.Diagnostics) {
	cfg, diags := config.LoadServer(path, registry())
	if cfg != nil {
		a.place(cfg)
	}
	return cfg, diags
}

// place makes the paths of the data directory and the socket absolute.
func (a *app) place(cfg *config.Server) {
	switch {
	case a.dataDir != "":
		cfg.DataDir = absolute(a.dataDir)
	case cfg.DataDir == "":
		cfg.DataDir = systemDataDir
	case !filepath.IsAbs(cfg.DataDir):
		cfg.DataDir = filepath.Join(cfg.Dir, cfg.DataDir)
	}
	switch {
	case cfg.Listen.Socket == "":
		cfg.Listen.Socket = filepath.Join(cfg.DataDir, socketName)
	case !filepath.IsAbs(cfg.Listen.Socket):
		cfg.Listen.Socket = filepath.Join(cfg.Dir, cfg.Listen.Socket)
	}
}

// address finds the server: the flag, the data directory's socket, that of
// the configuration, or the system's.
func (a *app) address() (string, error) {
	if a.server != "" {
		return a.server, nil
	}
	if a.dataDir != "" {
		return filepath.Join(a.dataDir, socketName), nil
	}
	path := a.configPath()
	if path == "" {
		return filepath.Join(systemDataDir, socketName), nil
	}
	cfg, diags := a.load(path)
	if cfg == nil {
		return "", fmt.Errorf("the server's socket stands in %s, which can't be read: %w", path, diags)
	}
	return cfg.Listen.Socket, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
