package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// idleClose is how long a connection is kept that nobody uses.
const idleClose = 15 * time.Minute

// Pool keeps one connection to each host. It is safe for concurrent use.
type Pool struct {
	ctx    context.Context // ends dials when the pool is closed
	cancel context.CancelFunc
	// now is the clock that idle connections are measured by.
	now  func() time.Time
	idle time.Duration

	mu    sync.Mutex
	conns map[string]*pooled
	timer *time.Timer
}

// pooled is a connection, or the attempt to make one.
type pooled struct {
	ready chan struct{} // closed when conn and err are set
	conn  *Conn
	err   error
	// over is the connection it runs through; it is in use as long as this one
	// is open.
	over *Conn
}

// NewPool makes an empty pool.
func NewPool() *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{ctx: ctx, cancel: cancel, now: time.Now, idle: idleClose, conns: map[string]*pooled{}}
}

// ErrClosed says that the pool was closed.
var ErrClosed = errors.New("the connections were closed")

// Get gives the connection to a host: the one that is open, or a new one.
// Several that ask at once get the same.
func (p *Pool) Get(ctx context.Context, t *Target) (*Conn, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	for {
		pc := p.entry(t)
		select {
		case <-pc.ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", t, ctx.Err())
		}
		if pc.err != nil {
			return nil, pc.err
		}
		if pc.conn.alive() {
			pc.conn.hold(0)
			return pc.conn, nil
		}
		p.drop(t.key(), pc)
	}
}

// Run runs a command on a host. A connection that turns out to be dead before
// anything was sent on it is made anew, once.
func (p *Pool) Run(ctx context.Context, t *Target, cmd Command) error {
	in := cmd.Stdin
	if closer, ok := in.(io.Closer); ok {
		defer closer.Close()
		cmd.Stdin = onlyReader{in}
	}
	for again := true; ; again = false {
		c, err := p.Get(ctx, t)
		if err != nil {
			return err
		}
		if err = c.Run(ctx, cmd); again && errors.Is(err, errNotBegun) {
			_ = c.Close()
			<-c.gone
			continue
		}
		return err
	}
}

// entry gives the host's entry and starts to connect if there is none.
func (p *Pool) entry(t *Target) *pooled {
	key := t.key()
	p.mu.Lock()
	defer p.mu.Unlock()
	if pc := p.conns[key]; pc != nil {
		return pc
	}
	pc := &pooled{ready: make(chan struct{})}
	p.conns[key] = pc
	if p.timer == nil && p.ctx.Err() == nil {
		p.timer = time.AfterFunc(p.idle/2, p.sweep)
	}
	// The attempt does not end with the first who asked: others may wait for it.
	go p.connect(t, key, pc)
	return pc
}

func (p *Pool) connect(t *Target, key string, pc *pooled) {
	defer close(pc.ready)
	if t.Jump != nil {
		if pc.over, pc.err = p.Get(p.ctx, t.Jump); pc.err != nil {
			pc.err = fmt.Errorf("jump host: %w", pc.err)
		} else {
			pc.over.hold(1)
		}
	}
	if pc.err == nil {
		pc.conn, pc.err = dial(p.ctx, t, pc.over)
	}
	if p.ctx.Err() != nil {
		if pc.conn != nil {
			_ = pc.conn.Close()
		}
		pc.conn, pc.err = nil, fmt.Errorf("%s: %w", t, ErrClosed)
	}
	if pc.err != nil {
		p.drop(key, pc)
		return
	}
	if pc.over != nil {
		go func() {
			<-pc.conn.gone
			pc.over.hold(-1)
		}()
	}
}

// hold counts the connections that run through this one.
func (c *Conn) hold(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held += n
	c.used = time.Now()
}

// drop forgets an entry.
func (p *Pool) drop(key string, pc *pooled) {
	p.mu.Lock()
	if p.conns[key] == pc {
		delete(p.conns, key)
	}
	p.mu.Unlock()
	if pc.err != nil && pc.over != nil {
		pc.over.hold(-1)
	}
}

// sweep closes connections that nobody has used for long.
func (p *Pool) sweep() {
	p.mu.Lock()
	now := p.now()
	var old []*Conn
	for key, pc := range p.conns {
		select {
		case <-pc.ready:
		default:
			continue
		}
		if pc.conn == nil || !pc.conn.alive() || pc.conn.idle(now) >= p.idle {
			delete(p.conns, key)
			if pc.conn != nil {
				old = append(old, pc.conn)
			}
		}
	}
	p.timer = nil
	if len(p.conns) > 0 && p.ctx.Err() == nil {
		p.timer = time.AfterFunc(p.idle/2, p.sweep)
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// Close ends all connections. Attempts under way end as well.
func (p *Pool) Close() error {
	p.cancel()
	p.mu.Lock()
	conns := p.conns
	p.conns = map[string]*pooled{}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, pc := range conns {
		<-pc.ready // bounded: the attempt ends with the pool's context
		if pc.conn != nil {
			_ = pc.conn.Close()
		}
	}
	return nil
}
