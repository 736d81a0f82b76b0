package engine

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

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

// pooled is a session with its users. Its fields but s, err and stop belong to
// the pool's lock.
type pooled struct {
	once  sync.Once
	s     driver.Session
	err   error
	stop  context.CancelFunc // of its watch
	users int
	gone  bool
	secrets
}

// secrets are the credentials that a session was opened with, by a keyed hash,
// so that a rotated one is noticed.
type secrets struct {
	mu      sync.Mutex
	hashes  map[secret.Ref]string
	checked time.Time
}

func (s *secrets) add(ref secret.Ref, hash string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hashes == nil {
		s.hashes, s.checked = map[secret.Ref]string{}, now
	}
	s.hashes[ref] = hash
}

// rotationCheck is how often it is looked whether credentials have changed.
const rotationCheck = time.Minute

func newSessionPool(e *Engine) *sessionPool {
	return &sessionPool{e: e, m: map[sessionKey]*pooled{}}
}

// get opens a session, or gives the one that is open. release must be called
// once when err is nil.
func (p *sessionPool) get(ctx context.Context, d driver.Driver, env *config.Environment, purpose driver.Purpose) (s driver.Session, release func(), err error) {
	k := sessionKey{env.Name, env.ConnectDigest, purpose}
	ps := p.use(k)
	if p.rotated(ctx, ps) {
		p.drop(func(_ sessionKey, x *pooled) bool { return x == ps })
		p.give(ps)
		ps = p.use(k)
	}
	ps.once.Do(func() {
		if ps.s, ps.err = d.Open(ctx, p.e.environment(env, &ps.secrets), purpose); ps.err == nil && purpose == driver.Write {
			ps.stop = p.e.watch(ps.s, env)
		}
	})
	if ps.err != nil {
		p.give(ps)
		p.drop(func(sk sessionKey, x *pooled) bool { return x == ps })
		return nil, nil, fmt.Errorf("environment %s: %w", env.Name, ps.err)
	}
	var once sync.Once
	return ps.s, func() { once.Do(func() { p.give(ps) }) }, nil
}

// use takes a session that is open, or makes room for a new one.
func (p *sessionPool) use(k sessionKey) *pooled {
	p.mu.Lock()
	defer p.mu.Unlock()
	ps := p.m[k]
	if ps == nil {
		ps = &pooled{}
		p.m[k] = ps
	}
	ps.users++
	return ps
}

// rotated tells that a credential of an open session has another value by now.
// One that can't be had changes nothing: the session still works.
func (p *sessionPool) rotated(ctx context.Context, ps *pooled) bool {
	s := &ps.secrets
	s.mu.Lock()
	now := p.e.clock()
	if len(s.hashes) == 0 || now.Sub(s.checked) < rotationCheck {
		s.mu.Unlock()
		return false
	}
	s.checked = now
	refs := maps.Clone(s.hashes)
	s.mu.Unlock()
	for ref, hash := range refs {
		v, err := p.e.resolvers.Resolve(ctx, ref)
		if err != nil {
			p.e.log.Warn("it can't be told whether a secret was rotated; the session goes on", "secret", string(ref), "error", err)
			continue
		}
		if p.e.keyed([]byte(v.Reveal())) != hash {
			return true
		}
	}
	return false
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
	if ps.stop != nil {
		ps.stop()
	}
	if ps.s != nil {
		_ = ps.s.Close()
	}
}

// environment is what a driver gets to see of an environment. The secrets that
// it asks for are noted down; nil notes nothing.
func (e *Engine) environment(env *config.Environment, note *secrets) driver.Environment {
	return driver.Environment{Name: env.Name, Connect: env.Connect, Dir: e.cfg.Load().Dir, HashKey: e.maskKey, Agents: e.agents, Log: e.log,
		Secret: func(ctx context.Context, ref secret.Ref) (secret.Value, error) {
			v, err := e.resolvers.Resolve(ctx, ref)
			if err == nil && note != nil && ref != "" {
				note.add(ref, e.keyed([]byte(v.Reveal())), e.clock())
			}
			return v, err
		}}
}
