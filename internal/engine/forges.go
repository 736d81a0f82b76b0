package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// OpenForge makes the forge of a repository from its configuration, with its
// secrets resolved. It does not connect. A repository without a forge gives an
// error that wraps store.ErrNotFound.
func OpenForge(ctx context.Context, kinds forge.Registry, secrets secret.Resolvers, dir string, r *config.Repository, log *slog.Logger) (forge.Forge, error) {
	c, ok := r.ForgeConnection()
	if !ok {
		return nil, fmt.Errorf("repository %s has no forge: %w", r.Name, store.ErrNotFound)
	}
	o := forge.Options{BaseURL: c.URL, Project: c.Project, Log: log, Credentials: forge.Credentials{Username: c.Username}}
	var err error
	if c.Token != "" {
		if o.Token, err = secrets.Resolve(ctx, c.Token); err != nil {
			return nil, fmt.Errorf("repository %s: forge: token: %w", r.Name, err)
		}
	}
	if c.Key != "" {
		o.App = &forge.App{ID: c.AppID, InstallationID: c.Installation}
		if o.App.Key, err = secrets.Resolve(ctx, c.Key); err != nil {
			return nil, fmt.Errorf("repository %s: forge: key: %w", r.Name, err)
		}
	}
	if o.CA, err = readText(dir, c.CA); err != nil {
		return nil, fmt.Errorf("repository %s: forge: ca: %w", r.Name, err)
	}
	f, err := kinds.Open(ctx, c.Kind, o)
	if err != nil {
		return nil, fmt.Errorf("repository %s: forge: %w", r.Name, err)
	}
	return f, nil
}

// forgePool keeps one open forge per repository, under the configuration that
// it was made from.
type forgePool struct {
	e  *Engine
	mu sync.Mutex
	m  map[string]pooledForge
}

type pooledForge struct {
	f    forge.Forge
	conf *config.Repository
}

func newForgePool(e *Engine) *forgePool { return &forgePool{e: e, m: map[string]pooledForge{}} }

// Forge gives the forge of a repository.
func (e *Engine) Forge(ctx context.Context, repository string) (forge.Forge, error) {
	conf, ok := e.cfg.Load().Repositories[repository]
	if !ok {
		return nil, fmt.Errorf("repository %q: %w", repository, store.ErrNotFound)
	}
	p := e.forges
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.m[repository]; ok && have.conf == conf {
		return have.f, nil
	}
	f, err := OpenForge(ctx, e.forgeKinds, e.resolvers, e.cfg.Load().Dir, conf, e.log)
	if err != nil {
		return nil, err
	}
	p.m[repository] = pooledForge{f, conf}
	return f, nil
}

// forget closes nothing: a forge holds no more than its credentials, and the
// next call resolves them anew.
func (p *forgePool) forget(repository string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, repository)
}
