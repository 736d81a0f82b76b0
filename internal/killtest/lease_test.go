//go:build real

package killtest

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/postgres"
	"trueup.dev/trueup/internal/store"
)

// wire is a TCP connection to a database that can go silent: nothing is
// refused, nothing arrives.
type wire struct {
	mu     sync.Mutex // held while silent
	l      net.Listener
	server string
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{l: l, server: server}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	return w
}

func (w *wire) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(w.gate(client), server) }()
	_, _ = io.Copy(w.gate(server), client)
}

// gate is a writer that waits while the wire is silent.
func (w *wire) gate(to io.Writer) io.Writer { return gated{w, to} }

type gated struct {
	w  *wire
	to io.Writer
}

func (g gated) Write(b []byte) (int, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	return g.to.Write(b)
}

// TestHolderStopsBeforeItsLeaseEnds lets the database go silent in the middle
// of an update: the run must be over before anybody else may take over.
func TestHolderStopsBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pg, err := postgres.Start(ctx, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	direct, err := pg.NewDatabase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	line := newWire(t, u.Host)
	u.Host = line.l.Addr().String()

	w := newWorld(t, 1)
	p := newProxy(t, w.dns.Addr, w.rng)
	s := newServer(t, w.dir, "one", w.config(p.addr(), "database: "+u.String()))
	s.start()
	s.ready()
	w.ledger = openLedger(t, "pgx", direct)
	w.settle(60 * time.Second)
	w.midApply(p, s, false)

	line.mu.Lock()
	// What was on its way has arrived when the lease stays as it is.
	until, before := 0, -1
	for until != before {
		before = until
		time.Sleep(300 * time.Millisecond)
		until = w.ledger.number("SELECT lease_until FROM work WHERE kind = 'reconcile' AND key = 'infra/z0'")
	}
	eventually(t, 20*time.Second, "the update is given up", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.gone.IsZero()
	})
	if end := time.UnixMicro(int64(until)); p.gone.After(end) {
		t.Errorf("the update was given up %s after the lease's end", p.gone.Sub(end))
	} else {
		t.Logf("the update was given up %s before the lease's end", end.Sub(p.gone))
	}
	line.mu.Unlock()
	p.release()
	w.settle(60 * time.Second)
	w.converged()
	if n := w.states()[store.RunAbandoned]; n != 1 {
		t.Errorf("%d runs are recorded as abandoned, the lost one should be", n)
	}
}
