package ssh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/driver"
)

const (
	// maxSessions is how many sessions run on one connection at a time; sshd
	// allows ten where nobody said otherwise.
	maxSessions = 8
	keepAlive   = 15 * time.Second
	keepMissed  = 2
	openTimeout = 30 * time.Second
)

// Conn is a connection to one host. It is safe for concurrent use.
type Conn struct {
	target  *Target
	client  *ssh.Client
	hostKey ssh.PublicKey
	near    bool
	keys    []ssh.PublicKey
	slots   chan struct{}
	gone    chan struct{} // closed when the connection ended

	mu   sync.Mutex
	busy int       // sessions
	held int       // connections that run through this one
	used time.Time // when it was last in use
	// free is closed and replaced whenever a session ends.
	free chan struct{}
}

func newConn(t *Target, client *ssh.Client, key ssh.PublicKey) *Conn {
	c := &Conn{target: t, client: client, hostKey: key, slots: make(chan struct{}, maxSessions),
		gone: make(chan struct{}), used: time.Now(), free: make(chan struct{})}
	go func() {
		_ = client.Wait()
		close(c.gone)
	}()
	go c.keep()
	return c
}

// HostKey gives the fingerprint of the key that the host showed, SHA256:….
// Of a certificate it is the certified key's.
func (c *Conn) HostKey() string {
	if cert, ok := c.hostKey.(*ssh.Certificate); ok {
		return ssh.FingerprintSHA256(cert.Key)
	}
	return ssh.FingerprintSHA256(c.hostKey)
}

// Keys gives the keys that were offered to log in with; none where there is
// also a password, or a certificate, that lets us in without them.
func (c *Conn) Keys() []ssh.PublicKey { return c.keys }

// Near tells that the host is so close that compressing what is sent to it
// costs more than it saves.
func (c *Conn) Near() bool { return c.near }

// nearby is the round trip below which a host is near.
const nearby = 3 * time.Millisecond

// Target gives what the connection leads to.
func (c *Conn) Target() *Target { return c.target }

// Close ends the connection and every session on it.
func (c *Conn) Close() error { return c.client.Close() }

func (c *Conn) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// keep asks the host now and then whether it is still there. A host that
// went away without a word would otherwise hold its sessions for ever.
func (c *Conn) keep() {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	answers := make(chan error, 1)
	missed, waiting := 0, false
	for {
		select {
		case <-c.gone:
			return
		case err := <-answers:
			waiting, missed = false, 0
			if err != nil {
				_ = c.client.Close()
				return
			}
		case <-tick.C:
			if waiting {
				if missed++; missed >= keepMissed {
					_ = c.client.Close()
					return
				}
				continue
			}
			waiting = true
			go func() {
				_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
				answers <- err
			}()
		}
	}
}

// errNotBegun says that the connection was gone before anything was sent.
var errNotBegun = errors.New("before a session was opened")

// lost words the end of a connection.
func (c *Conn) lost(err error) error {
	return fmt.Errorf("%s: %w: the connection was lost: %w", c.target, driver.ErrUnreachable, err)
}

// session opens a session. done must be called when it is over.
func (c *Conn) session(ctx context.Context) (s *ssh.Session, done func(), err error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.gone:
		return nil, nil, c.lost(errNotBegun)
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	c.mu.Lock()
	c.busy++
	c.mu.Unlock()
	done = sync.OnceFunc(func() {
		c.mu.Lock()
		c.busy--
		c.used = time.Now()
		close(c.free)
		c.free = make(chan struct{})
		c.mu.Unlock()
		<-c.slots
	})
	if s, err = c.open(ctx); err != nil {
		done()
		return nil, nil, err
	}
	return s, done, nil
}

// open asks for a session. A host that allows fewer of them than we run is
// asked again when one of ours has ended.
func (c *Conn) open(ctx context.Context) (*ssh.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for lonely := 0; ; {
		c.mu.Lock()
		free, alone := c.free, c.busy <= 1
		c.mu.Unlock()
		s, err := c.tryOpen(ctx)
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) {
			return s, err
		}
		// A host may need a moment to see that our last session has ended.
		if lonely++; alone && lonely > 5 {
			return nil, fmt.Errorf("%s: the host refuses a session: %w", c.target, err)
		}
		select {
		case <-free:
		case <-time.After(time.Duration(lonely) * 50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", c.target, err)
		}
	}
}

func (c *Conn) tryOpen(ctx context.Context) (*ssh.Session, error) {
	type opened struct {
		s   *ssh.Session
		err error
	}
	ch := make(chan opened, 1)
	go func() {
		s, err := c.client.NewSession()
		ch <- opened{s, err}
	}()
	select {
	case o := <-ch:
		var refused *ssh.OpenChannelError
		if o.err != nil && !errors.As(o.err, &refused) {
			return nil, c.lost(fmt.Errorf("%w: %w", errNotBegun, o.err))
		}
		return o.s, o.err
	case <-ctx.Done():
		go func() {
			if o := <-ch; o.err == nil {
				_ = o.s.Close()
			}
		}()
		return nil, fmt.Errorf("%s: a session does not open: %w", c.target, ctx.Err())
	}
}

// idle tells how long no session has run; 0 while one does.
func (c *Conn) idle(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy > 0 || c.held > 0 {
		return 0
	}
	return now.Sub(c.used)
}

// SFTP opens the host's file transfer subsystem. Closing the client ends the
// session; so does the end of the context.
func (c *Conn) SFTP(ctx context.Context, opts ...sftp.ClientOption) (*sftp.Client, error) {
	s, done, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*sftp.Client, error) {
		_ = s.Close()
		done()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: sftp: %w", c.target, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	w, err := s.StdinPipe()
	if err != nil {
		return fail(err)
	}
	r, err := s.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		return fail(fmt.Errorf("the host has no sftp subsystem: %w", err))
	}
	client, err := sftp.NewClientPipe(r, w, opts...)
	if err != nil {
		return fail(err)
	}
	go func() {
		_ = client.Wait()
		stop()
		_ = s.Close()
		done()
	}()
	return client, nil
}
