package api

import (
	"net"
	"sync"
)

// limited bounds how many connections a listener has open at once; further
// ones wait in the kernel's queue.
func limited(l net.Listener, n int) net.Listener {
	return &limiter{Listener: l, slots: make(chan struct{}, n), done: make(chan struct{})}
}

type limiter struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

// Accept waits for a free slot, then for a connection.
func (l *limiter) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &tracked{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close ends the listener.
func (l *limiter) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// tracked is a connection that gives its slot back.
type tracked struct {
	net.Conn
	free func()
}

// Close gives the slot back.
func (c *tracked) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}
