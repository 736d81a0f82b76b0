package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/agent/mailbox"
	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

const serveLong = `Run the server: poll repositories, take webhooks, apply what Git says, correct
drift, and answer the API on a Unix socket (and on TCP, when listen.http is
set).

The configuration is read again on SIGHUP and when its file changes; one with
mistakes is refused and the one before stays in force. SIGTERM and SIGINT stop
the server: it takes no more work and lets runs come to a safe end.`

func (a *app) serveCommand() *cobra.Command {
	var level, format string
	cmd := &cobra.Command{Use: "serve", Short: "Run the server", Long: serveLong, Args: cobra.NoArgs,
		Example: "  trueup serve --config /etc/trueup/server.yaml\n  trueup serve --config server.yaml --log-format text --log-level debug",
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(cmd, level, format)
			if err != nil {
				return err
			}
			return a.serve(cmd, log)
		}}
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "json", "json or text")
	return cmd
}

func newLog(cmd *cobra.Command, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: use debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), o)), nil
	}
	return nil, fmt.Errorf("--log-format %s: use json or text", format)
}

func (a *app) serve(cmd *cobra.Command, log *slog.Logger) error {
	ctx := cmd.Context()
	cfg, err := a.operator(cmd)
	if err != nil {
		return err
	}
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if err := st.Close(); err != nil {
			log.Error("the store was not closed cleanly", "error", err)
		}
	}()
	stores, err := newStores(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if err := stores.close(); err != nil {
			log.Warn("leases of secrets could not be given back; they end by themselves", "error", err)
		}
	}()
	rs := stores.all()
	ag := &agents{}
	if ag.Office, err = mailbox.New(ctx, mailbox.Options{Store: st, Alone: ag.alone, Log: log}); err != nil {
		return err
	}
	e, err := engine.New(ctx, engine.Options{Store: st, Drivers: registry(), Config: cfg, DataDir: cfg.DataDir, Resolvers: rs, Forges: forges(), Registries: openRegistries, Agents: ag, Log: log, Lease: cfg.Limits.Lease,
		Configured: stores.use,
		Parse:      func(name string, body []byte) (*config.Server, plan.Diagnostics) { return a.parse(cfg, name, body) }})
	if err != nil {
		return err
	}
	ag.engine = e
	listeners, err := listen(cfg)
	if err != nil {
		return err
	}
	srv := api.New(api.Options{Store: st, Actions: actionsOf(e), Config: e.Config,
		Resolve: func(ctx context.Context, ref secret.Ref) (secret.Value, error) { return rs.Resolve(ctx, ref) },
		Forge:   e.Forge, Agents: ag, Ready: e.Ready, Blame: blamerOf(e), Collectors: []prometheus.Collector{e}, Log: log, Version: Version})
	log.Info("trueup starts", "version", Version, "socket", cfg.Listen.Socket, "http", cfg.Listen.HTTP, "dataDir", cfg.DataDir, "config", cfg.Digest)
	return a.runAll(ctx, log, e, srv, listeners)
}

// parse reads a configuration from the control repository: relative paths in
// it start where those of the first one do.
func (a *app) parse(boot *config.Server, name string, body []byte) (*config.Server, plan.Diagnostics) {
	cfg, diags := config.ParseServer(name, body, boot.Dir, registry())
	if cfg != nil {
		cfg.DataDir, cfg.Listen = boot.DataDir, boot.Listen
	}
	return cfg, diags
}

func listen(cfg *config.Server) ([]net.Listener, error) {
	socket := cfg.Listen.Socket
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	l, err := api.Socket(socket)
	if err != nil {
		return nil, fmt.Errorf("the socket %s: %w", socket, err)
	}
	listeners := []net.Listener{l}
	if cfg.Listen.HTTP == "" {
		return listeners, nil
	}
	abs := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(cfg.Dir, p)
	}
	t, err := api.TCP(cfg.Listen.HTTP, abs(cfg.Listen.TLSCert), abs(cfg.Listen.TLSKey))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", cfg.Listen.HTTP, err), l.Close())
	}
	return append(listeners, t), nil
}

// runAll runs the engine and the API until one ends or the process is asked
// to stop; then both come to their end.
func (a *app) runAll(ctx context.Context, log *slog.Logger, e *engine.Engine, srv *api.Server, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- e.Run(ctx) }()
	go func() { ended <- srv.Serve(ctx, listeners...) }()
	go a.reload(ctx, log, e)
	err := <-ended
	cancel()
	err = errors.Join(err, <-ended)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	log.Info("trueup has stopped", "error", err)
	return err
}

// reload puts a changed configuration in force: on SIGHUP, and when the file
// changes.
func (a *app) reload(ctx context.Context, log *slog.Logger, e *engine.Engine) {
	path := absolute(a.configPath())
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	w, err := config.NewWatcher(path, e.Config(), registry(), func(cfg *config.Server, diags plan.Diagnostics) {
		a.takeConfig(ctx, log, e, cfg, diags)
	})
	if err != nil {
		log.Error("the configuration is not watched; restart after a change", "file", path, "error", err)
		return
	}
	go func() {
		if err := w.Run(ctx); err != nil && ctx.Err() == nil {
			log.Error("the configuration file is no longer watched; send SIGHUP after a change", "error", err)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			w.Reload()
		}
	}
}

// takeConfig puts a configuration that was read in force, or refuses it.
func (a *app) takeConfig(ctx context.Context, log *slog.Logger, e *engine.Engine, cfg *config.Server, diags plan.Diagnostics) {
	if err := diags.Err(); err != nil || cfg == nil {
		log.Error("the new configuration is refused, the one in force stays", "error", diags)
		return
	}
	a.place(cfg)
	if e.Config().Control != nil && cfg.Control != nil {
		log.Info("the configuration lives in its control repository; the file is read at the start alone")
		return
	}
	if err := e.Reload(ctx, cfg, "system:reload"); err != nil {
		log.Error("the new configuration is refused, the one in force stays", "error", err)
		return
	}
	log.Info("the configuration is in force", "config", cfg.Digest)
}
