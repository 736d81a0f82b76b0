package engine

import (
	"context"
	"fmt"
	"sync"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// sessionPool keeps one session per environment and purpose between runs.
// Sessions are safe for concurrent use; one that is given up is closed when
// its last user is done.
type sessionPool struct {
	e  *Engine
	mu sync.Mutex
	m  map[sessionKey]*pooled
}

type sessionKey struct {
	environment, digest string
	purpose             driver.Purpose
}

// pooled is a session with its users. Its fields but s and err belong to the
// pool's lock.
type pooled struct {
	once  sync.Once
	s     driver.Session
	err   error
	users int
	gone  bool
}

func newSessionPool(e *Engine) *sessionPool {
	return &sessionPool{e: e, m: map[sessionKey]*pooled{}}
}

// get opens a session, or gives the one that is open. release must be called
// once when err is nil.
func (p *sessionPool) get(ctx context.Context, d driver.Driver, env *config.Environment, purpose driver.Purpose) (s driver.Session, release func(), err error) {
	k := sessionKey{env.Name, env.ConnectDigest, purpose}
	p.mu.Lock()
	ps := p.m[k]
	if ps == nil {
		ps = &pooled{}
		p.m[k] = ps
	}
	ps.users++
	p.mu.Unlock()
	ps.once.Do(func() { ps.s, ps.err = d.Open(ctx, p.e.environment(env), purpose) })
	if ps.err != nil {
		p.give(ps)
		p.drop(func(sk sessionKey, x *pooled) bool { return x == ps })
		return nil, nil, fmt.Errorf("environment %s: %w", env.Name, ps.err)
	}
	var once sync.Once
	return ps.s, func() { once.Do(func() { p.give(ps) }) }, nil
}

// give ends one use.
func (p *sessionPool) give(ps *pooled) {
	p.mu.Lock()
	ps.users--
	last := ps.gone && ps.users == 0
	p.mu.Unlock()
	if last {
		closeSession(ps)
	}
}

// drop gives up the sessions chosen.
func (p *sessionPool) drop(which func(sessionKey, *pooled) bool) {
	p.mu.Lock()
	var idle []*pooled
	for k, ps := range p.m {
		if !which(k, ps) {
			continue
		}
		delete(p.m, k)
		ps.gone = true
		if ps.users == 0 {
			idle = append(idle, ps)
		}
	}
	p.mu.Unlock()
	for _, ps := range idle {
		closeSession(ps)
	}
}

// forget gives up an environment's sessions after they failed, so that the
// next run connects anew and resolves its credentials anew.
func (p *sessionPool) forget(env *config.Environment) {
	p.drop(func(k sessionKey, _ *pooled) bool { return k.environment == env.Name })
}

func (p *sessionPool) closeAll() { p.drop(func(sessionKey, *pooled) bool { return true }) }

func closeSession(ps *pooled) {
	if ps.s != nil {
		_ = ps.s.Close()
	}
}

// environment is what a driver gets to see of an environment.
func (e *Engine) environment(env *config.Environment) driver.Environment {
	return driver.Environment{Name: env.Name, Connect: env.Connect, Dir: e.cfg.Load().Dir, HashKey: e.maskKey, Agents: e.agents, Log: e.log,
		Secret: func(ctx context.Context, ref secret.Ref) (secret.Value, error) { return e.resolvers.Resolve(ctx, ref) }}
}
