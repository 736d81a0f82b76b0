package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
	storesql "trueup.dev/trueup/internal/store/sql"
)

var noToken secret.Value

// databaseURL resolves where the database is; "" is SQLite.
func databaseURL(ctx context.Context, cfg *config.Server) (string, error) {
	db := cfg.Database
	if db == "" || strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://") {
		return db, nil
	}
	v, err := resolvers(cfg).Resolve(ctx, secret.Ref(db))
	if err != nil {
		return "", fmt.Errorf("database: %w", err)
	}
	return v.Reveal(), nil
}

// openStore opens the store that the configuration names.
func openStore(ctx context.Context, cfg *config.Server) (store.Store, error) {
	url, err := databaseURL(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return storesql.Open(ctx, storesql.Options{URL: url, Dir: cfg.DataDir})
}

// managedError says that a server manages what was to be changed past it.
func managedError(cfg *config.Server) error {
	names := make([]string, 0, len(cfg.Environments))
	for n := range cfg.Environments {
		names = append(names, n)
	}
	slices.Sort(names)
	return fmt.Errorf("a running server manages the environments %s (it holds %s): push, and let the server do it; in an emergency --break-glass REASON goes past it",
		strings.Join(names, ", "), cfg.DataDir)
}

// open opens the store for local work, and the engine on it. Where a server
// manages the environments it refuses, or goes past it with a reason.
func (s *session) open(ctx context.Context, breakGlass string) (func(), error) {
	s.print.set("opening the store")
	url, err := databaseURL(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	managed := answers(ctx, s.cfg.Listen.Socket)
	if managed && breakGlass == "" {
		return nil, managedError(s.cfg)
	}
	if managed {
		if err := s.recordBreakGlass(ctx, breakGlass); err != nil {
			return nil, err
		}
	}
	dir, tidy := s.cfg.DataDir, func() {}
	if managed {
		// Also where the database could be shared: what is asked for here must
		// not become the server's work.
		if dir, tidy, err = s.copyStore(ctx); err != nil {
			return nil, err
		}
		url = ""
	}
	st, err := storesql.Open(ctx, storesql.Options{URL: url, Dir: dir})
	if errors.Is(err, store.ErrLocked) {
		return nil, managedError(s.cfg)
	}
	if err != nil {
		tidy()
		return nil, err
	}
	closeAll := func() {
		_ = st.Close()
		tidy()
	}
	s.store = st
	if err := s.start(ctx, url != "", dir); err != nil {
		closeAll()
		return nil, err
	}
	return closeAll, nil
}

// start makes the engine. In a database that others use, the configuration
// must be the one in force: a new one would stop the replicas.
func (s *session) start(ctx context.Context, shared bool, dir string) error {
	if shared {
		version, digest, err := s.store.CurrentConfig(ctx)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil && version > 0 && digest != s.cfg.Digest {
			return fmt.Errorf("the database's configuration is another one than %s: use the file that the servers have", s.app.configPath())
		}
	}
	e, err := engine.New(ctx, engine.Options{Store: s.store, Drivers: registry(), Config: s.cfg, DataDir: dir,
		Resolvers: resolvers(s.cfg), Log: quiet()})
	if err != nil {
		return err
	}
	s.engine = e
	return nil
}

// recordBreakGlass tells the server, so that its history knows.
func (s *session) recordBreakGlass(ctx context.Context, reason string) error {
	c, err := api.Dial(s.cfg.Listen.Socket, noToken)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Do(ctx, auth.BreakGlass, api.Action{Reason: reason, Key: strings.Join(s.flags.targets, ",")}); err != nil {
		return fmt.Errorf("the server has to know of it first: %w", err)
	}
	s.print.clear()
	sayf(s.cmd, "Recorded on the server: %s\nThe server goes on to enforce what Git says; `trueup suspend` keeps it from doing so.", reason)
	return nil
}

// copyStore works on a copy of the server's store, so that what is owned is
// known without taking the store from the server.
func (s *session) copyStore(ctx context.Context) (string, func(), error) {
	dir, err := os.MkdirTemp(s.cfg.DataDir, "break-glass-")
	if err != nil {
		return "", nil, err
	}
	tidy := func() { _ = os.RemoveAll(dir) }
	if err := s.fillCopy(ctx, dir); err != nil {
		tidy()
		return "", nil, fmt.Errorf("a copy of the server's store: %w", err)
	}
	return dir, tidy, nil
}

func (s *session) fillCopy(ctx context.Context, dir string) error {
	c, err := api.Dial(s.cfg.Listen.Socket, noToken)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := os.Create(filepath.Join(dir, "backup"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.Backup(ctx, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	return restoreCopy(ctx, s.cfg.DataDir, dir, f)
}

// keyFile is the store's file with its encryption keys.
const keyFile = "encryption.keys"

// restoreCopy makes a store in dir of a backup of the one in from.
func restoreCopy(ctx context.Context, from, dir string, backup io.Reader) error {
	keys, err := os.ReadFile(filepath.Join(from, keyFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), keys, 0o600); err != nil {
		return err
	}
	o := storesql.Options{Dir: dir}
	if err := storesql.Restore(ctx, backup, o); err != nil {
		return err
	}
	st, err := storesql.Open(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(st.DropHold(ctx, "restore", ""), st.Close())
}
