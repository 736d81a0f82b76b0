package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

// ParseConfig reads an operator's configuration. Relative paths in it start
// where those of the first one do.
type ParseConfig func(name string, body []byte) (*config.Server, plan.Diagnostics)

// startConfig gives the configuration to start with. When it is kept in a
// control repository, that is the one last taken in from there: the file that
// the server was started with only says where to look.
func (e *Engine) startConfig(ctx context.Context, boot *config.Server) (*config.Server, error) {
	if boot.Control == nil || e.parse == nil {
		return boot, nil
	}
	version, _, err := e.store.CurrentConfig(ctx)
	if errors.Is(err, store.ErrNotFound) || err == nil && version == 0 {
		return boot, nil
	}
	if err != nil {
		return nil, err
	}
	body, err := e.store.Config(ctx, version)
	if err != nil {
		return nil, err
	}
	c, diags := e.parse("server.yaml of the control repository", body)
	if diags.Err() != nil || c.Control == nil {
		e.log.Warn("the stored configuration is not used", "version", version, "errors", diags)
		return boot, nil
	}
	return c, nil
}

// takeControl puts a new configuration from the control repository in force.
// A bad one is refused, and the old one stays.
func (e *Engine) takeControl(ctx context.Context, cfg *active, snap *source.Snapshot, rev source.Revision) error {
	body, err := snap.ReadFile(ctx, cfg.Control.Path)
	if err != nil {
		return fmt.Errorf("the configuration in the control repository: %w", err)
	}
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) == cfg.Digest {
		return nil
	}
	c, diags := e.parse(cfg.Control.Path, body)
	if err := diags.Err(); err != nil {
		return fmt.Errorf("the configuration at commit %.12s is refused, the one in force stays: %w", rev.Commit, err)
	}
	if c.Control == nil || *c.Control != *cfg.Control || c.Repositories[cfg.Control.Repository] == nil {
		return fmt.Errorf("the configuration at commit %.12s is refused: it would cut itself off from its own control repository %s", rev.Commit, cfg.Control.Repository)
	}
	return e.Reload(ctx, c, store.Actor("control:"+rev.Commit))
}
